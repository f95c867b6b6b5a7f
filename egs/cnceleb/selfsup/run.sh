#!/usr/bin/env bash
# Speaker verification on CN-Celeb without labels: train on CN-Celeb1's dev.lst and CN-Celeb2, test on CN-Celeb1's trials.
#
#   1 data                  corpus folders -> data/{train,dev,eval,musan,rirs}, trial lists; everything is validated
#   2 features              log-mel filterbanks (and what copies the configuration asks for) -> data/*/feats.scp
#   3 training              -> exp/NAME/checkpoints; goes on where it was stopped
#   4 embeddings            average of the last checkpoints -> exp/NAME/embeddings/{train,eval}
#   5 scoring               cosine after subtraction of the training mean -> exp/NAME/scores/LIST.cosine
#   6 score normalisation   against the training utterances, no labels needed -> exp/NAME/scores/LIST.cosine.asnorm
#   7 metrics and report    -> exp/NAME/results, and the table at the end
#   8 pseudo-labels         clusters of the training embeddings, SphereFace2 on them, 3 to 7 -> exp/NAME-pl1, -pl2, ...
#
#   bash run.sh --cnceleb1 DIR --cnceleb2 DIR --musan DIR --rirs DIR               all of it, with conf/ecapa1024_sdpn.yaml
#   bash run.sh --help                                                             all options
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
. "$here/../../../tools/stages.sh" \
  --recipe "$here" \
  --corpus cnceleb \
  --default-cohort utterance \
  --refine pseudo-labels \
  --default-config "$here/conf/ecapa1024_sdpn.yaml" \
  "$@"
