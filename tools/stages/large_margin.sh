# shellcheck shell=bash
# shellcheck disable=SC2034 # title and expected are read elsewhere
# Stage 8: large-margin fine-tuning. The average of an experiment goes on training by an overlay to the experiment's own
# configuration, in EXP-lm, and stages 3 to 7 do that as they do everything else. To be sourced by tools/stages.sh.

lm_conf() { # the configuration of the fine-tuning of what the words $@ describe; stops if the overlay does not fit it
  local words=("$@" --lm-overlay "$lm_overlay")
  if [ -n "$lm_set" ]; then
    words+=(--lm-set "$lm_set")
  fi
  python "$WESPK_ROOT/tools/fine_tuning_conf.py" "${words[@]}"
}

check_fine_tuning() { # before the first stage: does the overlay fit the configuration?
  local text words=("${conf_words[@]}")
  if [ "${#words[@]}" -eq 0 ]; then
    words=(--config "$exp/config.yaml")
  fi
  text=$(lm_conf "${words[@]}")
  python -m wespk.bin.check_config --config /dev/stdin <<<"$text" >/dev/null
}

fine_tuning_words() { # $conf_words: what describes the fine-tuning of experiment $1 to an entry point
  local start
  start=$(set_word train.init_from "$1/checkpoints/average.pt")
  conf_words=(--config "$1/config.yaml" --overlay "$lm_overlay" --set "$start${lm_set:+ $lm_set}")
}

fine_tuning() { # stage 8
  local base=$exp beyond=()
  current=8 title="large-margin fine-tuning" log=
  say "stage 8, $title: $base/checkpoints/average.pt -> $base-lm, by stages 3 to 7"
  need 4 "$base/checkpoints/average.pt"
  build_on 4 "$base/checkpoints/average.pt"
  lock shared "$base"
  lm_conf --config "$base/config.yaml" >/dev/null
  exp=$base-lm home=$base-lm
  fine_tuning_words "$base"
  if [ "$stage" -lt 8 ]; then
    expected= # recorded of the experiment itself
  fi
  train_and_test
}
