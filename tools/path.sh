# shellcheck shell=bash
# The environment of every command; to be sourced. Makes tools/venv if it is not whole, then sets WESPK_ROOT
# (absolute), PATH and PYTHONPATH.

WESPK_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
bash "$WESPK_ROOT/tools/setup.sh" || exit 1
PATH="$WESPK_ROOT/tools/venv/bin:$PATH"
PYTHONPATH="$WESPK_ROOT${PYTHONPATH:+:$PYTHONPATH}"
export WESPK_ROOT PATH PYTHONPATH
export LC_ALL=C # Kaldi's tables are sorted bytewise
export PYTHONUNBUFFERED=1 # logs can be followed
