#!/usr/bin/env bash
# The VoxCeleb recipe, stages 1 to 7, on speech that is synthesised on the spot (egs/mini/corpus): a few minutes on
# two cores, no GPU, no data to download. Options are those of the recipe (bash run.sh --help).
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
exec bash "$here/../voxceleb/supervised/run.sh" \
  --recipe "$here" \
  --default-config "$here/conf/mini.yaml" \
  --corpus-script "$here/make_corpus.sh" \
  --voxceleb1 "$here/corpus/voxceleb1" \
  --musan "$here/corpus/musan" \
  --rirs "$here/corpus/rirs" \
  --dev-speakers 12 \
  --default-top-n 50 \
  --gpus 0 \
  "$@"
