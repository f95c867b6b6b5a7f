# shellcheck shell=bash
# How one stage is run: is it to be done, and did it work? To be sourced by stages.sh, which holds the stages
# themselves. For stage N there are plan_N, which sets
#
#     title reads writes      for the line that announces it
#     options                 array of "name=value" words that decide its result
#     inputs outputs          arrays of files and folders
#     marks                   array of the files by which a stage that was stopped goes on from jobs that are done
#     beyond                  array of beginnings of options and inputs: the stage may have been done with more of those
#
# check_N, which stops unless what it needs is there; vet_N, if need be, which looks at the options once the stage is
# known to have work to do; forget_N, if need be, by which a stage that is to be done by force loses what it would go on
# from, and stale_N beside it, which says whether that is worthless though the stage was begun and not finished; and
# work_N, the commands. Until work_N nothing is written, so that a stage refused for its
# options stays as done as it was. The accounts are kept by stage_mark.py in DATA/.stages, EXP/.stages and, of evaluations
# elsewhere, EXP/on/NAME/.stages, where the locks are too, and the file "forced": the words of a command with --force
# ($command_words) and the stages that it has done, so that the same command goes on when it was stopped.

die() {
  printf '%s: error: %s\n' "$(basename "$0")" "$1" >&2
  exit 1
}

say() {
  printf '%s %s\n' "$(date '+%H:%M:%S')" "$1"
}

# A command of a stage runs in a process group of its own, and a signal that asks us to stop is passed on to it as
# SIGTERM, so that training can write a checkpoint and array jobs can be ended. Its exit status becomes ours.
child=
stopped=
pass_on() {
  stopped=$1
  if [ -z "$child" ]; then
    exit 143
  fi
  kill -TERM "$child" 2>/dev/null || true
}
for signal in INT TERM HUP USR1 USR2; do
  # shellcheck disable=SC2064 # the name now, not later
  trap "pass_on $signal" "$signal"
done

run() {
  local status=0 again=0
  set -m
  "$@" </dev/null &
  child=$!
  set +m
  wait "$child" || status=$?
  while kill -0 "$child" 2>/dev/null; do # wait was cut short by a signal
    status=0
    wait "$child" || status=$?
  done
  if [ -n "$stopped" ]; then
    wait "$child" 2>/dev/null || again=$?
    if [ "$again" -ne 127 ]; then
      status=$again
    fi
    if [ "$status" -eq 0 ]; then
      status=143
    fi
  fi
  child=
  return "$status"
}

more_in_log() { # the log that may say more, if there is one; $log may hold one * for the number of a job
  local logs=("$log")
  if [[ $log == *\** ]]; then
    logs=("${log%\**}"*"${log##*\*}")
  fi
  if [ -e "${logs[0]}" ]; then
    printf ', more in %s' "$log"
  fi
}

current=
title=
log=
at_exit() {
  local status=$?
  if [ "$status" -eq 85 ]; then
    say "stage $current was interrupted after a checkpoint; the same command goes on from there (exit status 85)" >&2
  elif [ -n "$stopped" ] && [ -n "$current" ]; then
    say "stage $current ($title) was stopped by $([ "$stopped" = INT ] && echo Ctrl-C || echo "SIG$stopped"); the same \
command goes on" >&2
  elif [ "$status" -ne 0 ] && [ -n "$current" ]; then
    say "stage $current ($title) FAILED with exit status $status; the reason stands above$(more_in_log)" >&2
  fi
}
trap at_exit EXIT

add_flags() { # append to the array named $1 each of the words from $3 on, with the option $2 before it
  local -n flag_list=$1
  local word
  for word in "${@:3}"; do
    flag_list+=("$2" "$word")
  done
}

marks_of() { # the folder with the accounts of stage $1
  if [ "$1" -le 2 ]; then
    printf '%s' "$data/.stages"
  elif [ "$1" -eq 3 ]; then
    printf '%s' "$exp/.stages"
  else
    printf '%s' "$home/.stages"
  fi
}

account() { # stage_mark.py's command $2 for stage $1; the rest are its words
  python "$WESPK_ROOT/tools/stage_mark.py" "$2" "$(marks_of "$1")/$1.json" "${@:3}"
}

need() { # stop unless file $2 is there, which stage $1 makes
  if [ ! -e "$2" ]; then
    die "stage $current needs $2, which stage $1 makes: run --stage $1 first"
  fi
}

# Stop if stage $1 is unfinished or out of date. The words that follow are options "name=value" that it must have been
# done with and, beginning with /, files that its last run must have left as they are now; $beyond is as in a plan, and
# $foreign, if it is set, a data folder of other training data, which does not follow from this command's options.
build_on() {
  local reason flags=() word
  add_flags flags --beyond "${beyond[@]}"
  for word in "${@:2}"; do
    if [[ $word == /* ]]; then
      flags+=(--input "$word")
    else
      flags+=(--option "$word")
    fi
  done
  if ! reason=$(account "$1" ready "${flags[@]}"); then
    if [ -n "${foreign-}" ]; then
      reason+=" in $foreign): run --stage $1 there, with the 'features' section of $exp/config.yaml"
    elif [[ $reason == option* ]]; then
      reason+="): give the options that it was run with, or run --stage $1 first"
    else
      reason+="): run --stage $1 first"
    fi
    die "stage $current builds on stage $1, which is out of date ($reason"
  fi
}

# Two runs that write to one folder would spoil each other's files, so a stage that has work to do locks the folder that
# it writes to for itself, and the data that it reads against those who would write it; a stage that is current locks
# nothing. The locks are held until the end. Commands inherit them on purpose: should this script be killed alone, the
# training that it leaves behind still keeps others out of its folder.
declare -A lock_fds=()
lock() { # exclusive|shared, folder
  local file=$2/.stages/lock fd status=0
  if ! command -v flock >/dev/null; then
    say "flock is not installed, so nothing keeps a second run out of $2" >&2
    return
  fi
  if [ -z "${lock_fds[$2]-}" ]; then
    mkdir -p "$2/.stages" 2>/dev/null || true
    if [ "$1" = exclusive ]; then
      exec {fd}>>"$file"
    elif (: >>"$file") 2>/dev/null || [ -r "$file" ]; then
      exec {fd}<"$file"
    else
      return # a folder where we may not write, and where nobody has ever locked anything
    fi
    lock_fds[$2]=$fd
  fi
  flock --wait 1 "--$1" "${lock_fds[$2]}" || status=$? # a moment's patience: --status tries whether it is free
  if [ "$status" -eq 1 ]; then
    die "another run is at work in $2: wait for its end, or give this one a folder of its own (--exp, --data); \
$(head -n 1 "$file" 2>/dev/null)"
  elif [ "$status" -ne 0 ]; then
    say "flock cannot lock $file, so nothing keeps a second run out of $2" >&2
  elif [ "$1" = exclusive ]; then
    printf 'stage %s, process %s on %s since %s\n' "$current" "$$" "$(hostname)" "$(date '+%F %T')" >"$file"
  fi
}

lock_folders() { # for stage $1
  if [ "$1" -le 2 ]; then
    lock exclusive "$data"
  else
    lock exclusive "$home"
    lock shared "$data"
    if [ "$home" != "$exp" ]; then
      lock shared "$exp"
      lock shared "$tested"
    fi
  fi
}

finish() { # mark stage $1 done, with the outputs that are there now
  local flags=()
  "plan_$1"
  add_flags flags --output "${outputs[@]}"
  account "$1" "done" "${flags[@]}"
}

# What this command has done by force, if it was begun and stopped before. The list of another command is worth nothing
# once there is work in its folder.
forced_lists=()
is_ours() { # is the list $1 of this very command?
  local words
  [ "$force" = true ] && [ -e "$1" ] && IFS= read -r words <"$1" && [ "$words" = "$command_words" ]
}

is_redone() { # has this command done stage $1 by force already?
  local list
  list=$(marks_of "$1")/forced
  is_ours "$list" && grep -qx -e "$1" "$list"
}

remember() { # that this command has done stage $1
  local list
  list=$(marks_of "$1")/forced
  if ! is_ours "$list"; then
    printf '%s\n' "$command_words" >"$list"
  fi
  printf '%s\n' "$1" >>"$list"
}

end_of_command() { # all is done: the same command begins anew the next time
  local list
  for list in "${forced_lists[@]}"; do
    if is_ours "$list"; then
      rm -f "$list"
    fi
  done
}

forget() { # by force: what stage $1, which is to be run because of $2, would go on from, unless that is half its work
  if [ "$2" != "not done yet" ] && declare -F "forget_$1" >/dev/null; then
    if [ "$2" != "was begun and not finished" ] || "stale_$1"; then
      "forget_$1"
    fi
  fi
}

plan() { # stage $1, which is the current one from now on, afresh
  current=$1 log='' options=() inputs=() outputs=() beyond=() marks=()
  "plan_$1"
}

run_stage() { # number
  local reason flags=() extra=() list
  plan "$1"
  say "stage $1, $title: $reads -> $writes"
  "check_$1"
  add_flags flags --option "${options[@]}"
  add_flags flags --input "${inputs[@]}"
  add_flags extra --beyond "${beyond[@]}"
  list=$(marks_of "$1")/forced
  forced_lists+=("$list")
  if reason=$(account "$1" check "${flags[@]}" "${extra[@]}") && [ "$force" = false ]; then
    say "stage $1 is done already and current"
  elif [ -z "$reason" ] && is_redone "$1"; then
    say "stage $1 is done already by this command, which goes on (without $list it would begin anew)"
  else
    if declare -F "vet_$1" >/dev/null; then
      "vet_$1"
    fi
    lock_folders "$1"
    say "stage $1 runs: ${reason:-current, but --force}"
    if ! is_ours "$list"; then
      rm -f "$list"
    fi
    if [ "$force" = true ]; then
      forget "$1" "$reason"
    fi
    if [ "$reason" != "was begun and not finished" ]; then
      rm -f "${marks[@]}"
    fi
    account "$1" begin "${flags[@]}"
    "work_$1"
    finish "$1"
    if [ "$force" = true ]; then
      remember "$1"
    fi
  fi
  current=
}
