#!/usr/bin/env bash
# A job's share of some commands, every JOBS-th from the JOB-th on, one after the other up to the first that fails:
#
#     bash tools/submit/share_of.sh JOB JOBS COMMAND [ARGUMENT ...] [::: COMMAND [ARGUMENT ...]] ...
set -euo pipefail

job=$1 jobs=$2 number=0
shift 2
while [ "$#" -gt 0 ]; do
  command=()
  while [ "$#" -gt 0 ] && [ "$1" != ::: ]; do
    command+=("$1")
    shift
  done
  if [ "$#" -gt 0 ]; then
    shift
  fi
  number=$((number + 1))
  if [ $(((number - job) % jobs)) -eq 0 ]; then
    "${command[@]}"
  fi
done
