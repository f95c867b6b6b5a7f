"""tools/parse_options.sh: declared names only, no evaluation, nothing dropped silently."""

import subprocess

import pytest

from tests.conftest import ROOT

SCRIPT = f"""
set -euo pipefail
stage=1
exp=
seed_set=none
verbose=false
dry=false
help_message="usage: bash run.sh [--option value]
  --stage N      first stage
  --exp DIR      folder
  --seed-set X   which seeds
  --verbose B    talk
  --dry          act as if
                 nothing were there; see
                 --stage for more
and that is all"
. '{ROOT}/tools/parse_options.sh'
printf '%s|' "$stage" "$exp" "$seed_set" "$verbose" "$dry" "$#"
"""


def call(tmp_path, *words):
    script = tmp_path / "run me.sh"
    script.write_text(SCRIPT)
    return subprocess.run(["bash", str(script), *words], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "words, printed",
    [
        ([], "1||none|false|false|"),
        (["--stage", "3", "--exp", "a b"], "3|a b|none|false|false|"),
        (["--stage=4", "--exp=a=b c"], "4|a=b c|none|false|false|"),
        (["--seed-set", "x", "--verbose", "true"], "1||x|true|false|"),
        (["--seed_set=y"], "1||y|false|false|"),
        (["--stage", "-1"], "-1||none|false|false|"),
        (["--exp=--odd"], "1|--odd|none|false|false|"),
        (["--exp", ""], "1||none|false|false|"),
        (["--stage", "2", "--stage", "5"], "5||none|false|false|"),
        (["--dry", "--stage", "3"], "3||none|false|true|"),
        (["--stage", "3", "--dry"], "3||none|false|true|"),
        (["--dry", "--dry=false"], "1||none|false|false|"),
    ],
)
def test_options_reach_their_variables(tmp_path, words, printed):
    done = call(tmp_path, *words)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(printed)


@pytest.mark.parametrize(
    "words, message",
    [
        (["--stge", "3"], "unknown option --stge (did you mean --stage?)"),
        (["--zzzz=1"], "unknown option --zzzz (--help lists all)"),
        (["--PATH", "x"], "unknown option --PATH"),
        (["--help_message", "x"], "unknown option --help-message"),
        (["--stage"], "option --stage needs a value"),
        (["--verbose", "--stage", "3"], "option --verbose needs a value: true or false"),
        (["--exp", "--stage", "3"], "option --exp needs a value"),
        (["--stage", "abc"], "--stage takes an integer, not 'abc'"),
        (["--stage", "08"], "--stage takes an integer, not '08'"),
        (["--stage", ""], "--stage takes an integer, not ''"),
        (["--stage", "1+1"], "--stage takes an integer, not '1+1'"),
        (["--dry", "true"], "unexpected word 'true'"),
        (["--verbose", "yes"], "--verbose takes true or false, not 'yes'"),
        (["foo", "--stage", "2"], "unexpected word 'foo'"),
        (["--stage", "2", ""], "unexpected word ''"),
        (["--stage", "2", "--"], "unexpected word '--'"),
        (["-stage", "2"], "unexpected word '-stage'"),
        (["--=3"], "unknown option --"),
        (["--stage exp", "3"], "unknown option --stage exp"),
    ],
)
def test_anything_else_stops_with_status_two(tmp_path, words, message):
    done = call(tmp_path, *words)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith(f"run me.sh: error: {message}")
    assert done.stderr.count("\n") == 1


def test_values_are_never_evaluated(tmp_path):
    bait = tmp_path / "bait"
    value = f"$(touch '{bait}')`touch '{bait}'`;touch '{bait}'"
    assert call(tmp_path, "--exp", value).stdout.split("|")[1] == value
    call(tmp_path, f"--x$(touch '{bait}')", "1")
    assert not bait.exists()


def test_help_lists_the_options_with_their_present_defaults(tmp_path):
    done = call(tmp_path, "--stage", "3", "--help", "--nonsense")
    assert done.returncode == 0
    assert "  --stage N      first stage (default: 3)" in done.stdout.splitlines()
    assert "  --exp DIR      folder" in done.stdout.splitlines()


def test_the_default_stands_behind_the_last_line_of_an_options_help(tmp_path):
    lines = call(tmp_path, "--stage", "3", "--help").stdout.splitlines()
    assert lines[-4:] == ["  --dry          act as if", "                 nothing were there; see",
                          "                 --stage for more (default: false)", "and that is all"]  # fmt: skip


def test_the_parser_leaves_no_function_behind(tmp_path):
    script = tmp_path / "s.sh"
    script.write_text(SCRIPT + "declare -F; compgen -v | grep _option || true")
    assert "_option" not in subprocess.run(["bash", str(script)], capture_output=True, text=True, check=True).stdout
