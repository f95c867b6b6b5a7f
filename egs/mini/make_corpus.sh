#!/usr/bin/env bash
# Makes egs/mini/corpus unless it is there. The synthesiser (espeakng-loader, which carries eSpeak NG under GPL-3) is
# installed for this alone and never shipped.
# The last command takes the script's place, so that a signal for the script reaches it.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
bash "$here/../../tools/setup.sh" synthetic
. "$here/../../tools/path.sh"
if command -v flock >/dev/null; then # of two at once the second waits, and finds the corpus made
  exec 9<"$here"
  flock 9
fi
exec python -m wespk.bin.make_synthetic --out "$here/corpus"
