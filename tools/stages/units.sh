# shellcheck shell=bash
# shellcheck disable=SC2034 # log is read by tools/run_stage.sh
# Scoring as array jobs. To be sourced by tools/stages.sh. A unit is a whole command, mostly a trial list scored in one way,
# and the units are dealt to at most --nj jobs. Shares of a list's lines would be smaller units, but each would read the
# training embeddings again for the mean and the cohort, which takes longer than most lists, and matrix products over other
# shapes round differently: so the scores are the same for any --nj, and by --cmd local no process starts that need not.

units=()
num_units=0

add_unit() { # the command of words $@
  if [ "$num_units" -gt 0 ]; then
    units+=(:::)
  fi
  units+=("$@")
  num_units=$((num_units + 1))
}

unit_threads() { # of each job: by --cmd local all cores are shared out, whatever --nj is, so that it changes no rounding
  local cores
  if [ "$cmd" != local ]; then
    printf '%s' "$threads"
    return
  fi
  cores=$(nproc)
  printf '%s' "$((cores > num_units ? cores / num_units : 1))"
}

said_by() { # what is in the logs $@ but for the submitter's own lines, such as warnings
  grep -hsv '^# ' "$@" || true
}

run_units() { # the commands added, as jobs that log to $home/log/$1.N.log
  local job jobs=$((num_units < nj ? num_units : nj)) words=("${units[@]}") logs=() width
  width=$(unit_threads)
  units=() num_units=0
  log="$home/log/$1.*.log"
  run "${submit[@]}" --num-threads "$width" WESPK_JOB=1:"$jobs" "$home/log/$1.WESPK_JOB.log" \
    bash "$WESPK_ROOT/tools/submit/share_of.sh" WESPK_JOB "$jobs" "${words[@]}"
  for ((job = 1; job <= jobs; job++)); do
    logs+=("$home/log/$1.$job.log")
  done
  said_by "${logs[@]}"
}
