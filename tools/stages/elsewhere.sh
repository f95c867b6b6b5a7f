# shellcheck shell=bash
# shellcheck disable=SC2034 # tested and home are read elsewhere
# Stages 4 to 7 on the evaluation set of another data folder (--eval-data). To be sourced by tools/stages.sh. $tested is
# the data folder whose evaluation set is tested and $home the folder that embeddings of it, scores and results go to;
# they are $data and $exp but here, where home is EXP/on/NAME. The network, the mean that is subtracted and the cohort
# are the experiment's own in any case.

name_elsewhere() { # $eval_name from $eval_data: egs/CORPUS/RECIPE/data is CORPUS, another .../NAME[/data] is NAME
  if [ -n "$eval_name" ]; then
    return
  elif [[ $eval_data =~ /egs/([^/]+)(/[^/]+)?/data$ ]]; then
    eval_name=${BASH_REMATCH[1]}
  elif [ "$(basename "$eval_data")" = data ]; then
    eval_name=$(basename "$(dirname "$eval_data")")
  else
    eval_name=$(basename "$eval_data")
  fi
}

check_elsewhere() { # the options; $eval_name
  if [ -z "$eval_data" ]; then
    if [ -n "$eval_name" ]; then
      die "--eval-name names what --eval-data is tested on, which is not given"
    fi
    return
  fi
  if [ ! -d "$eval_data" ]; then
    die "--eval-data: no such folder: $eval_data (it takes one data folder, as stages 1 and 2 of a recipe make it)"
  fi
  if [ "$eval_data" -ef "$data" ]; then
    die "--eval-data $eval_data is the experiment's own data folder: leave it out (or, of another recipe's experiment, \
give --data as well: the data folder that it was trained on)"
  fi
  name_elsewhere
  if [[ ! $eval_name =~ ^[A-Za-z0-9][A-Za-z0-9._+-]*$ ]]; then
    die "'$eval_name' cannot name a folder in $exp/on: give --eval-name, of letters, digits and ._+-"
  fi
}

# Is $tested of another corpus than $data? Then a name in both need not be one speaker: VoxCeleb1 and CN-Celeb2 have an
# id10001 each. Stage 1 notes the corpus; of a folder that was brought along, without such a note, the file $tested/corpus
# may name it. Of a folder that does not say, it is taken for the same, so that equal names are refused and not overlooked.
is_other_corpus() {
  local reason named=$corpus
  if [ "$home" = "$exp" ]; then
    return 1
  fi
  if [ -e "$tested/corpus" ]; then
    named=$(<"$tested/corpus")
    if [[ ! $named =~ ^[A-Za-z0-9][A-Za-z0-9._+-]*$ ]]; then
      die "$tested/corpus does not hold one word, the name of a corpus such as $corpus"
    fi
  fi
  if ! reason=$(data=$tested account 1 ready --option "corpus=$named") && [[ $reason == "option corpus was "* ]]; then
    if [ -e "$tested/corpus" ]; then
      die "$tested/corpus says $named, but stage 1 noted there: ${reason%%;*}; remove the file"
    fi
    return 0
  fi
  [ "$named" != "$corpus" ]
}

evaluate_elsewhere() { # the stages asked for, on $eval_data
  local number
  if [ "$stage" -eq 4 ]; then
    say "the experiment's own stage 4 first: its average, and its training embeddings for the mean and the cohort"
    force=false run_stage 4
  fi
  tested=$eval_data home=$exp/on/$eval_name
  for ((number = stage; number <= stop_stage; number++)); do
    run_stage "$number"
  done
}
