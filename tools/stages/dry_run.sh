# shellcheck shell=bash
# shellcheck disable=SC2034,SC2329 # arrays are filled by name; functions replace those of a real run
# What run.sh would do (--dry-run): the plans and checks are those of a real run, and each command is told instead of
# run. To be sourced by tools/stages.sh; see tools/run_stage.sh for what plan_N, check_N and work_N are. While stages are
# rehearsed, $ahead is the first stage that would run: what it and later ones write need not be there yet.

ahead=

there() { # is file $1 there, or would it be, as stage $2, which makes it, would run before?
  [ -e "$1" ] || { [ -n "$ahead" ] && [ "$ahead" -le "$2" ]; }
}

array_size() { # how many jobs share the lines of file $1, of at most $2; all if nobody knows the lines yet
  local lines=$2
  if [ -e "$1" ] || [ -z "$ahead" ]; then
    lines=$(count "$1")
  fi
  printf '%s' "$((lines < $2 ? lines : $2))"
}

quoted() { # the words as a shell would read them
  local text
  printf -v text ' %q' "$@"
  printf '%s' "${text# }"
}

tell() { # the command of words $@, or the array job that it submits
  local word apart asked settings=() given=() jobs=1 index='//'
  if [ "${*:1:${#submit[@]}}" != "${submit[*]}" ]; then
    word=run
    if [[ $* == *" --check true" || ${3-} == wespk.bin.check_config ]]; then
      word=check
    fi
    printf '  %-7s %s\n' "$word" "$(quoted "$@")" >&"$told"
    return
  fi
  shift "${#submit[@]}"
  while [[ $1 == --* ]]; do
    settings+=("${1#--} $2")
    given+=("$1" "$2")
    shift 2
  done
  if [[ $1 =~ ^([A-Za-z_]+)=1:([0-9]+)$ ]]; then
    index=${BASH_REMATCH[1]} jobs=${BASH_REMATCH[2]}
    shift
  fi
  if [ "$jobs" -gt 1 ]; then
    jobs="$jobs jobs, N = 1 to $jobs"
  else
    jobs="1 job"
  fi
  for word in "${settings[@]}"; do
    jobs+=", $word"
  done
  asked=$(asked_for "${given[@]}" "${1//$index/N}") || exit 1
  printf '  submit  %s: %s, log %s\n' "$cmd" "$jobs" "${1//$index/N}" >&"$told"
  shift
  word=$(quoted "${@//$index/N}")
  printf -v apart ' ::: \\\n            '
  printf '          %s\n' "${word// ::: /$apart}" >&"$told"
  if [ -n "$asked" ]; then
    printf '          each asks for: %s\n' "$asked" >&"$told"
  fi
}

asked_for() { # what a job with the submitter's options and log $@ asks the scheduler for, by the site's settings
  local said
  if [ "$cmd" != local ]; then
    said=$(would_be_taken --dry-run "$@") || return 1
    sed -n 's/^each asks for: //p' <<<"$said"
  fi
}

rehearse_stage() { # number
  local reason flags=() extra=()
  plan "$1"
  printf 'stage %s, %s: %s -> %s\n' "$1" "$title" "$reads" "$writes"
  if [ -z "$ahead" ]; then
    "check_$1"
  fi
  add_flags flags --option "${options[@]}"
  add_flags flags --input "${inputs[@]}"
  add_flags extra --beyond "${beyond[@]}"
  reason=$(account "$1" check "${flags[@]}" "${extra[@]}") || true
  if [ -z "$reason" ] && [ "$force" = false ]; then
    if [ -z "$ahead" ]; then
      printf '  nothing: done already and current\n'
      current=
      return
    fi
    reason="if what stage $ahead writes comes out different"
  fi
  printf '  because: %s\n' "${reason:-current, but --force}"
  if [ -z "$ahead" ] && declare -F "vet_$1" >/dev/null; then
    "vet_$1"
  fi
  if [ "$force" = true ]; then
    forget "$1" "$reason"
  fi
  ahead=${ahead:-$current}
  "work_$1"
  current=
}

rehearse() { # from here on commands are told, wherever their output goes, and nothing is written
  exec {told}>&1
  count() {
    if [ -e "$1" ]; then
      grep -c '' "$1" || true
    else
      printf 0
    fi
  }
  run() {
    tell "$@"
  }
  rm() {
    local path found=()
    existing found "$@"
    for path in "${found[@]}"; do
      printf '  remove  %s\n' "$(quoted "$path")"
    done
  }
  run_stage() {
    rehearse_stage "$1"
  }
  lock() { :; }
  agree() { :; }
  said_by() { :; }
  note_data() { :; }
  end_of_command() { :; }
}

rehearse_8() { # what is not there yet cannot be told in full
  if [ "$stop_stage" -lt 8 ]; then
    return
  elif [ "$refine" = pseudo-labels ]; then
    printf 'stage 8, pseudo-labels: %s -> %s, by clustering and stages 3 to 7\n' "$exp/embeddings/train" "$exp-pl1, ..."
  elif [ -z "$ahead" ] && [ -e "$exp/checkpoints/average.pt" ]; then
    fine_tuning
  else
    printf 'stage 8, large-margin fine-tuning: %s -> %s, by stages 3 to 7\n' "$exp/checkpoints/average.pt" "$exp-lm"
  fi
}
