# shellcheck shell=bash
# Command-line options for the shell scripts; to be sourced, and the arguments are those of the script that sources
# it:
#
#     stage=1
#     exp=
#     help_message="usage: bash run.sh [--option value ...]
#       --stage N     first stage to run
#       --exp DIR     experiment folder"
#     . tools/parse_options.sh
#
# The options are the names that stand behind -- at the start of a line of $help_message, after at most four blanks
# (what has more goes on with the help of the option above); each needs a variable of that name (dashes become
# underscores) that holds the default. Both "--name value" and "--name=value" are taken; of
# repeated options the last one counts. Where the default is an integer or true/false, the value must be one too. A
# value that starts with -- must be given as --name=value. An option whose line names no value (two blanks or nothing
# behind its name) is a switch: it stands alone and means true. Anything else stops the script with status 2; --help
# prints the text with the present defaults, each behind the last line of its option's help.

_option_error() {
  printf '%s: error: %s\n' "$(basename "$0")" "$1" >&2
  exit 2
}

_option_help() {
  local line name default='' number lines=() ends=()
  while IFS= read -r line; do
    if [[ $line =~ ^\ {0,4}--([a-z0-9][a-z0-9-]*) ]]; then
      name=${BASH_REMATCH[1]//-/_}
      default=${!name:+ (default: ${!name})}
    elif [[ $line != '     '* ]]; then
      default=
    elif [ -n "$default" ]; then # a further line of the option's help: the default goes behind the last
      ends[${#ends[@]}-1]=
    fi
    lines+=("$line") ends+=("$default")
  done <<<"$help_message"
  for number in "${!lines[@]}"; do
    printf '%s%s\n' "${lines[number]}" "${ends[number]}"
  done
}

_option_unknown() { # stop, naming the known option closest to $1
  local hint
  # shellcheck disable=SC2086 # one word a name
  hint=$(python3 -c '
import difflib, sys
found = difflib.get_close_matches(sys.argv[1], sys.argv[2:], n=1, cutoff=0.5)
print(f"did you mean --{found[0]}?" if found else "--help lists all")' "$1" $_option_known) || hint="--help lists all"
  _option_error "unknown option --$1 ($hint)"
}

_option_set() { # name (with dashes), value
  local variable=${1//-/_} integer='^-?(0|[1-9][0-9]*)$' truth='^(true|false)$'
  if [ -z "${!variable+set}" ]; then
    _option_error "option --$1 is in the help text but the script has no variable $variable"
  fi
  if [[ ${!variable} =~ $integer && ! $2 =~ $integer ]]; then
    _option_error "--$1 takes an integer, not '$2'"
  fi
  if [[ ${!variable} =~ $truth && ! $2 =~ $truth ]]; then
    _option_error "--$1 takes true or false, not '$2'"
  fi
  printf -v "$variable" '%s' "$2"
}

_option_values() { # which values --$1 takes, where its default tells
  local variable=${1//-/_}
  if [[ ${!variable-} =~ ^(true|false)$ ]]; then
    printf ': true or false'
  fi
}

_option_parse() {
  local name
  while [ $# -gt 0 ]; do
    case $1 in
      --help | -h)
        _option_help
        exit 0
        ;;
      --?*) ;;
      *) _option_error "unexpected word '$1'; options are given as --name value" ;;
    esac
    name=${1%%=*}
    name=${name#--}
    name=${name//_/-}
    if [[ -z $name || $name == *[[:space:]]* || $_option_known != *" $name "* ]]; then
      _option_unknown "$name"
    fi
    if [[ $1 == *=* ]]; then
      _option_set "$name" "${1#*=}"
      shift
    elif [[ $_option_switches == *" $name "* ]]; then
      _option_set "$name" true
      shift
    elif [ $# -lt 2 ] || [[ $2 == --* ]]; then
      _option_error "option --$name needs a value$(_option_values "$name")"
    else
      _option_set "$name" "$2"
      shift 2
    fi
  done
}

_option_known=" $(sed -n 's/^ \{0,4\}--\([a-z0-9][a-z0-9-]*\).*/\1/p' <<<"$help_message" | tr '\n' ' ')"
_option_switches=" $(sed -n 's/^ \{0,4\}--\([a-z0-9][a-z0-9-]*\)\(  .*\)\{0,1\}$/\1/p' <<<"$help_message" | tr '\n' ' ')"
_option_parse "$@"
unset -f _option_values _option_error _option_help _option_unknown _option_set _option_parse
unset _option_known _option_switches
