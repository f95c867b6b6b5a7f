# shellcheck shell=bash
# shellcheck disable=SC2034 # variables are read elsewhere
# Which configuration an experiment has, from the options and from what it was trained with. To be sourced by
# tools/stages.sh.

conf_lines_of() { # $conf_lines: the options that the words $@ describe; $trained_on: the training data of an experiment
  local text
  text=$(python "$WESPK_ROOT/tools/conf_lines.py" "$@")
  mapfile -t conf_lines <<<"$text"
  trained_on=
  if [[ ${conf_lines[0]} == derived.train_data=* ]]; then
    trained_on=${conf_lines[0]#*=}
    conf_lines=("${conf_lines[@]:1}")
  fi
}

# Stages 4 to 8 take the mean, the cohort and what they cluster from the training set in $data, so it has to be the one
# that the experiment was trained on; with another recipe's they would silently do its embeddings and results again. If
# that folder has gone, $data may be where it lies now, unless nobody said so and the experiment is not of this recipe.
check_training_set() {
  local name real
  real=$(realpath -m -- "$trained_on")
  for name in train train_aug; do
    if [ "$trained_on" -ef "$data/$name" ] || [ "$real" = "$(realpath -m -- "$data/$name")" ]; then
      return
    fi
  done
  if [ -e "$trained_on" ]; then
    die "$exp was trained on $trained_on, and here $(training_data) would be taken for its training set: use the run.sh of \
the recipe that trained it, or give --data $(dirname "$trained_on"), with --eval-data DIR to test on another data folder's \
evaluation set; if $data is a copy, first --stage 3 --stop-stage 3 with it (the same data are not trained on again)"
  elif [[ $given != *" data "* && $exp/ != "$recipe"/exp/* ]]; then
    die "$exp was trained on $trained_on, which is not there any more, and is not of the recipe in $recipe: use the run.sh of \
the recipe that trained it, or say by --data where its data folder lies now"
  fi
  say "$exp was trained on $trained_on, which is not there any more; $(training_data) is taken for the same (stage 3 \
would make sure and note it)"
}

need_experiment() { # stop unless $exp is one, naming those that there are
  local path others=()
  if [ ! -e "$exp/config.yaml" ]; then
    existing others "$(dirname "$exp")"/*/config.yaml
    printf -v path ' %s' "${others[@]%/config.yaml}"
    die "$exp/config.yaml does not exist: train the experiment first (stage 3), or name its folder with --exp; there \
$(if [ "${#others[@]}" -gt 0 ]; then printf 'is%s' "$path"; else printf 'is none beside it'; fi)"
  fi
}

describe_conf() { # the words that describe the configuration to an entry point in $conf_words
  local words changes=$overlay$set$epochs$seed
  if [ -z "$config$changes" ] && [ "$stage" -eq 3 ] && [[ $given == *" exp "* ]] && [ -e "$exp/config.yaml" ]; then
    config=$exp/config.yaml
  elif [ -z "$config" ] && { [ "$stage" -le 3 ] || [ -n "$changes" ]; }; then
    config=$default_config
  fi
  conf_words=()
  if [ -n "$config" ]; then
    conf_words+=(--config "$config")
  fi
  if [ -n "$overlay" ]; then
    conf_words+=(--overlay "$overlay")
  fi
  if [ -n "$epochs" ]; then
    words=$(python "$WESPK_ROOT/tools/fit_epochs.py" --epochs "$epochs" "${conf_words[@]}" --set "$set")
    set=$words${set:+ $set}
  fi
  feature_words=("${conf_words[@]}")
  if [ -n "$set" ]; then
    feature_words+=(--set "$set")
  fi
  if [ -n "$set$seed" ]; then
    conf_words+=(--set "$set${seed:+ seed=$seed}")
  fi
}

read_conf() { # that, and its options in $conf_lines
  local words
  describe_conf
  if [ "$stage" -le 3 ]; then
    conf_lines_of "${feature_words[@]}" # --seed is the training's alone: the copies of stage 2 serve several trainings
    copies_seed=$(conf seed)
  fi
  conf_vetted= # by building the network; stage 3 alone does it when it has to train
  if [ "$stage" -le 2 ]; then
    python -m wespk.bin.check_config "${conf_words[@]}" >/dev/null
    conf_vetted=true
  fi
  words=("${conf_words[@]}")
  if [ "$stage" -gt 3 ] || { [ "$stop_stage" -ge 3 ] && [ -e "$exp/config.yaml" ]; }; then
    need_experiment
    words+=(--exp "$exp") # what it was trained with; the same must be asked for now
  fi
  conf_lines_of "${words[@]}"
  if [ "$stage" -gt 3 ] && [ -n "$trained_on" ]; then
    check_training_set
  fi
  check_noises
  check_scoring_conf
  if [ "$stop_stage" -eq 8 ] && [ "$refine" = pseudo-labels ]; then
    check_pseudo_labels
  elif [ "$stage" -lt 8 ] && [ "$stop_stage" -eq 8 ]; then
    check_fine_tuning
  fi
}

set_word() { # the option $1 with the text $2 as its value, whatever that holds, for --set
  python -c '
import json, shlex, sys
print(shlex.quote(f"{sys.argv[1]}=" + json.dumps(sys.argv[2], ensure_ascii=False)))' "$1" "$2"
}

train_and_test() { # for stage 8: stages 3 to 7 of $exp, which $conf_words describe
  local words=("${conf_words[@]}") number
  if [ -e "$exp/config.yaml" ]; then
    words+=(--exp "$exp") # what it was begun with; the same must be asked for now
  fi
  conf_lines_of "${words[@]}"
  conf_vetted=
  for number in 3 4 5 6 7; do
    run_stage "$number"
  done
}
