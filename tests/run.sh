#!/usr/bin/env bash
# Runs the tests on the CPU; makes the environment first if it is missing. Arguments are handed to pytest: bash tests/run.sh
# tests/io -k ark. Real speech for the tests that want some is found through WESPK_TEST_DATA; without it they skip and say so.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
bash "$root/tools/setup.sh" test synthetic
. "$root/tools/path.sh"
if [ -n "${WESPK_TEST_DATA:-}" ]; then
  WESPK_TEST_DATA=$(cd "$WESPK_TEST_DATA" && pwd)
  export WESPK_TEST_DATA
fi
export OMP_NUM_THREADS=1 MPLBACKEND=Agg
cd "$root"
exec python -m pytest -q -n 2 -rs "$@"
