# shellcheck shell=bash
# shellcheck disable=SC2034 # log is read by tools/run_stage.sh
# Scoring as array jobs. To be sourced by tools/stages.sh. A unit is a whole command, mostly a trial list scored in
# one way, and the units are dealt to at most --nj jobs. Shares of a list's lines would be smaller units, but each
# would read the training embeddings again for the mean and the cohort, which takes longer than most lists, and matrix
# products over other shapes round differently. So the scores are the same for any --nj, and a list costs one process.

units=()
num_units=0

add_unit() { # the command of words $@
  if [ "$num_units" -gt 0 ]; then
    units+=(:::)
  fi
  units+=("$@")
  num_units=$((num_units + 1))
}

# The threads of each job. Matrix products round differently by another number, so it hangs on neither --nj nor the
# lists: by --cmd local it is all cores (one job is at work at a time) or OMP_NUM_THREADS, which nproc knows (then
# several are).
unit_threads() {
  if [ "$cmd" = local ]; then
    nproc
  else
    printf '%s' "$threads"
  fi
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
