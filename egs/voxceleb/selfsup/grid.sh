#!/usr/bin/env bash
# Trains a table of systems x seeds and compares the systems; grids/*.yaml are such tables, tools/run_grid.py says how.
#
#   bash grid.sh grids/NAME.yaml --jobs 2 -- --voxceleb1 DIR --musan DIR --rirs DIR    -> exp/NAME/COMPARISON.md
#   bash grid.sh --help
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
. "$here/../../../tools/path.sh"
exec python "$WESPK_ROOT/tools/run_grid.py" --recipe "$here" "$@"
