# shellcheck shell=bash
# shellcheck disable=SC2034 # title, expected and the plan's variables are read elsewhere
# Stage 8 of recipes without labels: rounds of pseudo-labels. The training embeddings of an experiment are clustered, and a
# network is trained on the clusters, in EXP-pl1, by stages 3 to 7 as they do everything else; its training embeddings are
# clustered in turn for EXP-pl2, and so on. To be sourced by tools/stages.sh; see tools/run_stage.sh for what plan_N,
# check_N and work_N are.

check_round_epochs() { # --epochs is the experiment's own, --pl-epochs the rounds'
  if [ -n "$epochs" ] && [ "$stage" -ge 4 ] && [ "$stop_stage" -eq 8 ] && [ -n "$exp" ] && [ -z "$config" ]; then
    die "--epochs $epochs is of the experiment itself, and stage 8 goes on from $exp as it was trained: leave it \
out$(if [ "$refine" = pseudo-labels ]; then printf '; --pl-epochs %s is of the training of the rounds' "$epochs"; fi)"
  fi
  if [[ ! $pl_epochs =~ ^([1-9][0-9]*)?$ ]]; then
    die "--pl-epochs takes a number, 1 or more, not '$pl_epochs'"
  fi
}

read_pseudo_labels() { # $pl_lines: the options of stage 8; stops if they do not fit what the words $@ describe
  local text words=("$@" --pl-conf "$pl_conf") number=0
  if [ -n "$pl_set" ]; then
    words+=(--pl-set "$pl_set")
  fi
  if [ -n "$pl_train_set" ]; then
    words+=(--pl-train-set "$pl_train_set")
  fi
  if [ -n "$pl_epochs" ]; then
    words+=(--pl-epochs "$pl_epochs")
  fi
  if [ "$stage" -gt 1 ] && [ -e "$data/train/wav.scp" ]; then
    number=$(count "$data/train/wav.scp")
  fi
  text=$(python "$WESPK_ROOT/tools/pseudo_label_conf.py" "${words[@]}" --utterances "$number")
  mapfile -t pl_lines <<<"$text"
}

pl_option() { # the value of an option of stage 8
  local conf_lines=("${pl_lines[@]}")
  conf "$1"
}

round_words() { # $conf_words: what describes a training on the labels of the folder $1, with seed $2, to an entry point
  local file
  file=$(set_word labels.file "$1/utt2spk")
  conf_words=(--config "$(pl_option training.config)" --set "seed=$2 $(pl_option training.set) $file")
}

check_pseudo_labels() { # before the first stage: do the options of stage 8 fit the configuration and the noises?
  local pl_lines conf_lines conf_words=("${conf_words[@]}") stage=$((stage < 3 ? stage : 3))
  if [ "${#conf_words[@]}" -eq 0 ]; then
    conf_words=(--config "$exp/config.yaml")
  fi
  read_pseudo_labels "${conf_words[@]}" --tell true
  round_words none 0
  python -m wespk.bin.check_config "${conf_words[@]}" >/dev/null
  conf_lines_of "${conf_words[@]}"
  check_noises
}

plan_8() {
  local line
  title="pseudo-labels, round $round of $(pl_option rounds)" reads="$base/embeddings/train" writes="$home/pseudo_labels"
  options=("seed=$pl_seed") inputs=("$base"/embeddings/train/xvector.{scp,ark})
  outputs=("$home"/pseudo_labels/{utt2spk,clusters.json})
  for line in "${pl_lines[@]}"; do
    if [[ $line == clusters.* ]]; then
      options+=("$line")
    fi
  done
  existing inputs "$data/train/utt2spk"
}

check_8() {
  local path
  for path in "$base"/embeddings/train/xvector.{scp,ark}; do
    need 4 "$path"
  done
  exp=$base home=$base build_on 4 "$base"/embeddings/train/xvector.{scp,ark}
}

work_8() {
  local line name words=() launcher
  find_single_launcher "$home/pseudo_labels/log/cluster.log"
  if [ "$cmd" != local ]; then
    log=$home/pseudo_labels/log/cluster.log
  fi
  for line in "${pl_lines[@]}"; do
    if [[ $line == clusters.* ]]; then
      name=${line%%=*}
      name=${name#clusters.}
      words+=("--${name//_/-}" "${line#*=}")
    fi
  done
  if [ -e "$data/train/utt2spk" ]; then # who really speaks, for a report
    words+=(--speakers "$data/train/utt2spk")
  fi
  run "${launcher[@]}" -m wespk.bin.cluster_embeddings --embeddings "$base/embeddings/train/xvector.scp" \
    --out "$home/pseudo_labels" --seed "$pl_seed" --device "$(device)" "${words[@]}"
}

one_round() { # of the training embeddings of $base, in $exp
  run_stage 8
  round_words "$home/pseudo_labels" "$pl_seed"
  train_and_test
}

pseudo_labels() { # stage 8
  local first=$exp base=$exp pl_lines pl_seed round rounds last=$expected experiments=$exp beyond=()
  current=8 title=pseudo-labels log=
  need 4 "$base/embeddings/train/xvector.scp"
  build_on 4 "$base"/embeddings/train/xvector.{scp,ark}
  read_pseudo_labels --config "$base/config.yaml"
  rounds=$(pl_option rounds) pl_seed=$(conf seed)
  say "stage 8, pseudo-labels: $base/embeddings/train -> $base-pl1 to -pl$rounds, by stages 3 to 7"
  for ((round = 1; round <= rounds; round++)); do
    lock shared "$base"
    expected= # recorded of the last round, or with earlier stages of the experiment itself
    if [ "$round" -eq "$rounds" ] && [ "$stage" -eq 8 ]; then
      expected=$last
    fi
    exp=$first-pl$round home=$first-pl$round
    one_round
    base=$exp experiments+=,$exp
  done
  current=8 title="pseudo-labels, comparison of rounds"
  python -m wespk.bin.report_rounds --experiments "$experiments" --out "$home/results/ROUNDS.md" >/dev/null
  current=
}
