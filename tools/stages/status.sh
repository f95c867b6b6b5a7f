# shellcheck shell=bash
# shellcheck disable=SC2034 # arrays are filled by name, and variables read elsewhere
# A table of what is done (--status), which writes nothing. To be sourced by tools/stages.sh; the plans and accounts are
# those of a real run, so that "stale" is what a run would do again, and why.

read_conf_as_recorded() { # $conf_lines, as read_conf does, but nothing is checked and no experiment need be there
  if [ -z "$config$overlay$set$epochs$seed" ] && [[ $given == *" exp "* ]] && [ -e "$exp/config.yaml" ]; then
    conf_lines_of_trained
  else
    describe_conf
    if [ -n "$seed" ]; then # the copies of stage 2 have a seed of their own
      conf_lines_of "${feature_words[@]}"
      copies_seed=$(conf seed)
    fi
    conf_lines_of "${conf_words[@]}"
  fi
  if [ -z "$seed" ]; then
    copies_seed=$(conf seed)
  fi
}

conf_lines_of_trained() { # $conf_lines: the options that the experiment was trained with
  local line kept=()
  conf_lines_of --exp "$exp"
  if grep -qs '"model.feat_dim"' "$exp/.stages/3.json"; then
    return
  fi # else it was not asked for, and follows from the features
  for line in "${conf_lines[@]}"; do
    if [[ $line != model.feat_dim=* ]]; then
      kept+=("$line")
    fi
  done
  conf_lines=("${kept[@]}")
}

holder_of() { # who has locked file $1 for itself, as it says; nothing if nobody has
  if [ -r "$1" ] && command -v flock >/dev/null && ! flock --nonblock --shared "$1" true; then
    head -n 1 "$1"
  fi
}

how_far() { # the last sign of life of training
  if [ -e "$exp/requeue" ]; then
    head -n 1 "$exp/requeue"
  elif [ -e "$exp/metrics.jsonl" ]; then
    tail -n 1 "$exp/metrics.jsonl" | sed -n 's/.*"step": \([0-9]*\).*/training was at step \1/p'
  fi
}

# $state of stage $1, and $why. A stage is running if its folder is locked by a run that says it is at that stage.
find_state() {
  local flags=() extra=() mark holder job=
  mark=$(marks_of "$1")/$1.json
  holder=$(holder_of "${mark%/*}/lock")
  if [ "$1" -eq 3 ]; then
    job=$(holder_of "$exp/.stages/training.lock")
  fi
  state=whole why=
  if [[ $holder == "stage $1, "* ]]; then
    state=running why=${holder#*, }${job:+; $job}
  elif [ -n "$job" ]; then
    state=running why="$job, left behind by a run that has ended"
  elif [ -e "$mark" ]; then
    plan "$1"
    if [ "$1" -eq 1 ]; then # its options need not be given again, as for later stages
      given_to_1
      add_flags flags --input "${outputs[@]}"
    else
      add_flags flags --input "${inputs[@]}"
    fi
    add_flags flags --option "${options[@]}"
    add_flags extra --beyond "${beyond[@]}"
    why=$(account "$1" "$(if [ "$1" -eq 1 ]; then echo ready; else echo check; fi)" "${flags[@]}" "${extra[@]}") || state=stale
    if [[ $why == 'option '* ]]; then # named first; inputs that come or go with them follow
      by_options=true
    fi
    current=
  elif [ -e "$mark.begun" ]; then
    state=interrupted
    if [ "$1" -eq 3 ]; then
      why=$(how_far)
    fi
  else
    state=missing
  fi
}

show_stages() { # numbers, after the words to put before them
  local number state why before='' titles=('' data features training embeddings scoring 'score normalisation' 'metrics and report')
  for number in "${@:2}"; do
    find_state "$number"
    if [ "$state" = whole ] && [ -n "$before" ]; then
      why="but not so stage $before, which comes before it"
    elif [ "$state" != whole ]; then
      before=${before:-$number}
    fi
    printf '%-6s %-20s %-12s %s\n' "$1$number" "${titles[number]}" "$state" "$why"
  done
}

show_rounds() { # of pseudo-labels, those that were begun: stages 3 to 7 of each, with what they were trained with
  local base=$exp round
  for ((round = 1; ; round++)); do
    exp=$base-pl$round home=$base-pl$round
    if [ ! -e "$exp/config.yaml" ]; then
      if [ -e "$exp/pseudo_labels/utt2spk" ]; then
        printf 'round %s     %s, where training has not begun\n' "$round" "$exp"
      fi
      return
    fi
    printf 'round %s     %s\n' "$round" "$exp"
    conf_lines_of_trained
    show_stages 8/ 3 4 5 6 7
  done
}

show_status() {
  local base=$exp by_options=false
  printf 'data        %s\nexperiment  %s\n' "$data" "$exp"
  if [ -n "$eval_data" ]; then
    show_stages '' 1 2 3 4
    tested=$eval_data home=$exp/on/$eval_name
    printf 'evaluated   %s, in %s\n' "$tested/eval" "$home"
    show_stages '' 4 5 6 7
  else
    show_stages '' 1 2 3 4 5 6 7
  fi
  if [ -z "$eval_data" ] && [ -e "$exp-lm/config.yaml" ]; then
    exp=$base-lm home=$base-lm
    printf 'fine-tuned  %s\n' "$exp"
    fine_tuning_words "$base"
    conf_lines_of "${conf_words[@]}"
    show_stages 8/ 3 4 5 6 7
  fi
  if [ -z "$eval_data" ] && [ "$refine" = pseudo-labels ]; then
    exp=$base
    show_rounds
  fi
  if [ "$by_options" = true ]; then
    echo "(judged by the options given: ask about an experiment with those that it was run with)"
  fi
}
