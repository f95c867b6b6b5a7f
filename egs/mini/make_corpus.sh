#!/usr/bin/env bash
# Makes egs/mini/corpus unless it is there. The synthesiser (espeakng-loader, which carries eSpeak NG under GPL-3) is
# installed for this alone and never shipped.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
bash "$here/../../tools/setup.sh" synthetic
. "$here/../../tools/path.sh"
python -m wespk.bin.make_synthetic --out "$here/corpus"
