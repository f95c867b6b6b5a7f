# shellcheck shell=bash
# Where array jobs run; to be sourced after the options are parsed. The only shell file that knows of schedulers: $cmd
# (local, slurm, sge) names tools/submit/WORD.py, or it is one of Kaldi's own scripts (run.pl, queue.pl, slurm.pl, by path
# or found by PATH) with options of its, all in one word. "${submit[@]}" is what to put before "[--gpus n] ...
# WESPK_JOB=1:N LOG command" (a word that no user's path holds, as it is replaced wherever it stands).

submit=()
if [[ $cmd =~ ^[a-z]+$ ]]; then
  if [ -f "$WESPK_ROOT/tools/submit/$cmd.py" ]; then
    submit=(python "$WESPK_ROOT/tools/submit/$cmd.py")
  fi
elif [ -x "$cmd" ] && [ -f "$cmd" ]; then
  submit=(python "$WESPK_ROOT/tools/submit/kaldi_script.py" "$(realpath -s -- "$cmd")" --)
else
  read -ra submit <<<"$cmd"
  if script=$(type -P -- "${submit[0]-}"); then
    submit=(python "$WESPK_ROOT/tools/submit/kaldi_script.py" "$(realpath -s -- "$script")" "${submit[@]:1}" --)
  else
    submit=()
  fi
fi
if [ "${#submit[@]}" -eq 0 ]; then
  printf '%s: error: --cmd %s: there is no tools/submit/%s.py; there is:' "$(basename "$0")" "$cmd" "$cmd" >&2
  for backend in "$WESPK_ROOT"/tools/submit/*.py; do
    backend=$(basename "$backend" .py)
    if [[ $backend =~ ^[a-z]+$ ]]; then # the others, such as array_job.py, are what they share
      printf ' %s' "$backend" >&2
    fi
  done
  printf '; nor is there such a script\n' >&2
  exit 2
fi
