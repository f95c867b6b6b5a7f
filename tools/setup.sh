#!/usr/bin/env bash
#     bash tools/setup.sh [test] [synthetic]
# Makes tools/venv with what requirements.txt names, and the extras of setup.py that are given. Does nothing, silently,
# when that is there already. A venv found without our record (made by hand, or by a run that was stopped) is completed
# if its python works and made anew if not. Without a network, "python3 -m venv --system-site-packages tools/venv"
# beforehand lets it use what the machine has.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
venv=$root/tools/venv
record=$venv/wespk-installed # a line "SET HASH" for base and for each extra that was installed whole
log=$root/tools/venv.log

fail() {
  printf 'setup.sh: error: %s\n' "$1" >&2
  exit 1
}

complete() { # are all of the sets $@ recorded with the present hash, and is there a python?
  local name
  [ -x "$venv/bin/python" ] && [ -f "$record" ] || return 1
  for name in "$@"; do
    grep -qxF -e "$name $hash" "$record" || return 1
  done
}

recent_python() { # print the first python on PATH that is 3.10 or later
  local candidate
  for candidate in python3 python3.12 python3.11 python3.10; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
      printf '%s\n' "$candidate"
      return
    fi
  done
  fail "needs Python 3.10 or later, found $(python3 --version 2>&1 || true); on Debian or Ubuntu: \
apt-get install python3 python3-venv"
}

make_venv() {
  local python
  python=$(recent_python)
  if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    fail "$python cannot make virtual environments; on Debian or Ubuntu: apt-get install \
python$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')-venv"
  fi
  "$python" -m venv --clear "$venv" || fail "$python -m venv $venv failed"
}

requirements_of() { # the requirement lines of set $1
  if [ "$1" = base ]; then
    sed 's/#.*//; /^ *$/d' "$root/requirements.txt"
  else
    "$venv/bin/python" - "$root/setup.py" "$1" <<'PYTHON'
import ast, sys
tree = ast.parse(open(sys.argv[1]).read())
table = next(n.value for n in tree.body if isinstance(n, ast.Assign) and n.targets[0].id == "EXTRAS")
extras = ast.literal_eval(table)
if sys.argv[2] not in extras:
    sys.exit(f"setup.sh: error: no extra '{sys.argv[2]}' in setup.py; there is: {', '.join(extras)}")
print("\n".join(extras[sys.argv[2]]))
PYTHON
  fi
}

pip_install() {
  if ! "$venv/bin/python" -m pip install --disable-pip-version-check --no-input "$@" >>"$log" 2>&1; then
    tail -n 15 "$log" >&2
    fail "pip could not install $*; whole log: $log"
  fi
}

install() { # sets
  local name wanted=() lines broken
  for name in "$@"; do
    lines=$(requirements_of "$name")
    mapfile -t -O "${#wanted[@]}" wanted <<<"$lines"
  done
  printf 'setup.sh: installing %s into %s (the first time some minutes and 5 GB; log: %s)\n' "$*" "$venv" "$log" >&2
  : >"$log"
  pip_install "${wanted[@]}"
  broken=$("$venv/bin/python" "$root/tools/venv_defects.py")
  if [ -n "$broken" ]; then # left by a run that was killed: pip believes they are there
    mapfile -t wanted <<<"$broken"
    pip_install --force-reinstall --no-deps "${wanted[@]}"
    broken=$("$venv/bin/python" "$root/tools/venv_defects.py")
    if [ -n "$broken" ]; then
      fail "$venv is damaged beyond repair (${broken//$'\n'/ }); remove it and run this again"
    fi
  fi
}

write_record() { # sets just installed; the other sets stay recorded if their hash is still right
  local name
  {
    for name in "$@"; do
      printf '%s %s\n' "$name" "$hash"
    done
    if [ -f "$record" ]; then
      grep -F -e " $hash" "$record" || true
    fi
  } | sort -u >"$record.tmp"
  mv "$record.tmp" "$record"
}

sets=(base "$@")
hash=$(cat "$root/requirements.txt" "$root/setup.py" | sha256sum | cut -d ' ' -f 1)
if complete "${sets[@]}"; then
  exit 0
fi
if command -v flock >/dev/null; then
  exec 9>"$root/tools/.venv.lock"
  flock 9 # another run may be at it; when it is through, look again
  if complete "${sets[@]}"; then
    exit 0
  fi
fi
if ! "$venv/bin/python" -c 'import sys, pip; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then
  make_venv
fi
install "${sets[@]}"
write_record "${sets[@]}"
