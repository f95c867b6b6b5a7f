# shellcheck shell=bash
# Where array jobs run; to be sourced after the options are parsed. The only shell file that knows of schedulers: the
# word in $cmd (local, slurm, sge) names tools/submit/WORD.py, and "${submit[@]}" is what to put before "[--gpus n]
# ... WESPK_JOB=1:N LOG command" (a word that no user's path holds, as it is replaced wherever it stands).

if [[ ! $cmd =~ ^[a-z]+$ ]] || [ ! -f "$WESPK_ROOT/tools/submit/$cmd.py" ]; then
  printf '%s: error: --cmd %s: there is no tools/submit/%s.py; there is:' "$(basename "$0")" "$cmd" "$cmd" >&2
  for backend in "$WESPK_ROOT"/tools/submit/*.py; do
    backend=$(basename "$backend" .py)
    if [[ $backend =~ ^[a-z]+$ ]]; then # array_job.py is what they share
      printf ' %s' "$backend" >&2
    fi
  done
  printf '\n' >&2
  exit 2
fi
# shellcheck disable=SC2034 # used by the script that sources this
submit=(python "$WESPK_ROOT/tools/submit/$cmd.py")
