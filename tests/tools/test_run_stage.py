"""tools/run_stage.sh: stages are skipped, redone with a reason, refused without inputs, and stopped by signals."""

import os
import signal
import subprocess
import sys
import time

import pytest

from tests.conftest import ROOT

# two stages: 2 copies in -> middle, 3 copies middle -> out; they share the option "kind"
SCRIPT = f"""
set -euo pipefail
export WESPK_ROOT='{ROOT}'
here=$(cd "$(dirname "$0")" && pwd)
data="$here/the data" exp="$here/exp" home="$here/exp" force="${{FORCE:-false}}" kind=$1 command=$2 command_words="$*"
mkdir -p "$data"
. "$WESPK_ROOT/tools/run_stage.sh"
plan_2() {{ title=first reads=in writes=middle options=("kind=$kind") inputs=("$here/in") outputs=("$data/middle"); }}
check_2() {{ need 1 "$here/in"; }}
work_2() {{ run cp "$here/in" "$data/middle"; }}
plan_3() {{ marks=("$exp"/job.*.json) title=second reads=middle writes=out
  options=("$command") inputs=("$data/middle") outputs=("$exp/out"); }}
check_3() {{ need 2 "$data/middle"; build_on 2 "kind=$kind"; }}
work_3() {{ log="$here/x.*.log"; run bash -c "$command"; cp "$data/middle" "$exp/out"; }}
stale_3() {{ [ -e "$here/stale" ]; }}
forget_3() {{ rm -f "$exp/half"; }}
for number in ${{@:3}}; do run_stage "$number"; done
end_of_command
"""


@pytest.fixture
def stages(tmp_path):
    folder = tmp_path / "a folder"
    folder.mkdir()
    (folder / "run.sh").write_text(SCRIPT)
    (folder / "in").write_text("one\n")
    env = {**os.environ, "PATH": f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"}

    def call(*words, kind="k", command="true"):
        line = ["bash", str(folder / "run.sh"), kind, command, *map(str, words)]
        done = subprocess.run(line, capture_output=True, text=True, env=env, cwd="/", check=False)
        said = [text.partition(" ")[2] for text in done.stdout.splitlines()]  # without the time
        return done.returncode, said, done.stderr

    call.folder, call.env = folder, env
    return call


def test_a_second_run_does_nothing(stages):
    status, said, _ = stages(2, 3)
    assert (status, said[1], said[3]) == (0, "stage 2 runs: not done yet", "stage 3 runs: not done yet")
    before = {path: path.stat().st_mtime_ns for path in stages.folder.rglob("*")}
    assert stages(2, 3)[1][1::2] == ["stage 2 is done already and current", "stage 3 is done already and current"]
    assert {path: path.stat().st_mtime_ns for path in stages.folder.rglob("*")} == before


def test_a_changed_input_runs_what_depends_on_it(stages):
    stages(2, 3)
    (stages.folder / "in").write_text("two\n")
    _, said, _ = stages(2, 3)
    assert said[1] == f"stage 2 runs: input {stages.folder}/in has changed"
    assert said[3] == f"stage 3 runs: input {stages.folder}/the data/middle has changed"
    assert (stages.folder / "exp" / "out").read_text() == "two\n"


def test_a_stage_without_its_inputs_names_the_stage_that_makes_them(stages):
    status, _, errors = stages(3)
    assert status == 1
    assert f"stage 3 needs {stages.folder}/the data/middle, which stage 2 makes: run --stage 2 first" in errors


def test_a_stage_refuses_to_build_on_other_options(stages):
    stages(2, 3)
    status, _, errors = stages(3, kind="other")
    assert status == 1 and "stage 2, which is out of date (option kind was 'k', is 'other')" in errors


def test_a_failing_command_fails_the_script_and_is_not_taken_for_done(stages):
    status, _, errors = stages(2, 3, command="echo it broke >&2; exit 7")
    assert status == 7
    assert "it broke" in errors and "stage 3 (second) FAILED with exit status 7; the reason stands above\n" in errors
    (stages.folder / "x.3.log").touch()
    assert f"the reason stands above, more in {stages.folder}/x.*.log\n" in stages(3, command="exit 7")[2]
    assert stages(3)[1][1] == "stage 3 runs: was begun and not finished"


def test_files_brought_along_without_an_account_will_do(stages):
    (stages.folder / "the data").mkdir()
    (stages.folder / "the data" / "middle").write_text("mine\n")
    assert stages(3)[0] == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2])
def test_a_signal_reaches_the_command_and_its_status_comes_back(stages, number):
    stages(2)
    ready = stages.folder / "ready"
    command = f"trap 'exit 85' TERM; touch '{ready}'; for i in $(seq 600); do sleep 0.05; done"
    line = ["bash", str(stages.folder / "run.sh"), "k", command, "3"]
    process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=stages.env)
    while not ready.exists():
        time.sleep(0.02)
    process.send_signal(number)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 85
    assert "interrupted after a checkpoint" in errors


@pytest.mark.parametrize("number, by", [(signal.SIGINT, "Ctrl-C"), (signal.SIGTERM, "SIGTERM")])
def test_a_stage_that_the_user_stops_has_not_failed(stages, number, by):
    stages(2)
    ready = stages.folder / "ready"
    command = f"touch '{ready}'; for i in $(seq 600); do sleep 0.05; done"
    line = ["env", "--default-signal", "bash", str(stages.folder / "run.sh"), "k", command, "3"]
    process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=stages.env,
                               start_new_session=True)
    while not ready.exists():
        time.sleep(0.02)
    process.send_signal(number)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 143
    assert f"stage 3 (second) was stopped by {by}; the same command goes on\n" in errors and "FAILED" not in errors


def test_by_force_a_stage_is_done_again_and_again(stages):
    stages(2, 3)
    stages.env["FORCE"] = "true"
    for _ in range(2):
        assert stages(2)[1][1] == "stage 2 runs: current, but --force"
    stages.env["FORCE"] = "false"
    assert stages(2, 3)[1][1::2] == ["stage 2 is done already and current", "stage 3 is done already and current"]


def test_what_the_jobs_of_a_stopped_stage_have_done_is_kept_and_that_of_a_whole_stage_is_not(stages):
    mark = stages.folder / "exp" / "job.1.json"
    keep = "mkdir -p exp; [ -e exp/job.1.json ] || exit 7"  # a job that leaves a mark, and another that fails
    command = f"cd '{stages.folder}'; {keep}"
    stages(2)
    assert stages(3, command=command)[0] == 7
    mark.touch()
    assert stages(3, command=command)[0] == 0 and mark.exists()
    assert stages(3, command=command + "; true")[0] == 7 and not mark.exists()


@pytest.mark.parametrize("change, kept", [("", False), ("data", False), ("stop", True), ("stop and data", False)])
def test_by_force_a_stage_forgets_what_it_would_go_on_from_unless_it_was_stopped(stages, change, kept):
    half = stages.folder / "exp" / "half"
    stages(2, 3)
    if "stop" in change:
        stages(3, command="exit 85")
    if "data" in change:
        (stages.folder / "stale").touch()
        (stages.folder / "in").write_text("two\n")
        stages(2)
    half.touch()
    stages.env["FORCE"] = "true"
    assert stages(3, command="exit 85" if "stop" in change else "true")[0] in (0, 85) and half.exists() == kept


def test_a_forced_command_that_was_stopped_goes_on_and_begins_anew_after_its_end(stages):
    stop, by_force = stages.folder / "stop", stages.folder / "the data" / ".stages" / "forced"
    command = f"[ ! -e '{stop}' ] || exit 85"
    stages(2, 3, command=command)
    stages.env["FORCE"] = "true"
    stop.touch()
    assert stages(2, 3, command=command)[0] == 85
    _, said, _ = stages(2, 3, command=command)
    assert said[1] == f"stage 2 is done already by this command, which goes on (without {by_force} it would begin anew)"
    assert stages(2, command=command)[1][1] == "stage 2 runs: current, but --force"  # another command
    assert stages(2, 3, command=command)[1][1] == "stage 2 runs: current, but --force"  # of whose work the first knows nothing
    stop.unlink()
    assert "is done already by this command" in stages(2, 3, command=command)[1][1] and not by_force.exists()
    assert stages(2, 3, command=command)[1][1::2] == [f"stage {n} runs: current, but --force" for n in (2, 3)]
