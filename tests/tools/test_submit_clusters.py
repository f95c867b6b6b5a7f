"""tools/submit/{slurm,sge}.py with a real Slurm and a real Grid Engine: one command line, one account of what happened."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT
from tests.schedulers import wait_for
from tests.tools.test_local import alive

pytestmark = pytest.mark.slow
QUICK = {"poll_seconds": 0.3, "queue_seconds": 2, "settle_seconds": 1}
WORDS = ["a  b", "", "$HOME", "`id`", "it's", '"q"', "*", "back\\slash", "new\nline", "--flag=x y", "ü"]
SHOW = (
    "import os, sys; e = os.environ; "
    "print(ascii([sys.argv[1:], os.getcwd(), e['MARK'], e['OMP_NUM_THREADS'], e.get('CUDA_VISIBLE_DEVICES')]))"
)
ODD = "a folder's $HOME, %A:ü"
# 1 sleeps the first time and says so by a file, the others and the second attempt end at once
ONCE = "if [ JOB != 1 ] || [ -e '{0}/begun' ]; then exit {1}; fi; touch '{0}/begun'; exec sleep 300"
ALONE = "mkdir '{0}/busy' || exit 9; sleep 1.5; rmdir '{0}/busy'"


class Scenarios:
    """Several submitters at once, as schedulers are slow; each in a folder of its own, named after what it shows."""

    def __init__(self, name, cluster, folder):
        self.name, self.cluster, self.folder, self.running = name, cluster, folder, {}

    def start(self, title, *words, site=None, **environment):
        folder = self.folder / title
        folder.mkdir(exist_ok=True)
        settings = folder / "site.yaml"
        settings.write_text(yaml.safe_dump({self.name: {**QUICK, **(site or {})}}))
        line = [sys.executable, ROOT / "tools" / "submit" / f"{self.name}.py", *map(str, words)]
        with open(folder / "out", "w") as out, open(folder / "err", "w") as err:
            self.running[title] = subprocess.Popen(
                line, cwd=folder, stdout=out, stderr=err,
                env={**self.cluster.environment, "WESPK_SITE": str(settings), "MARK": "x y\nz", **environment},
            )  # fmt: skip
        return folder

    def ids(self, title):
        return re.findall(r"id (\d+)$", (self.folder / title / "out").read_text(), re.MULTILINE)

    def cancel(self, title, position):
        wait_for(lambda: self.ids(title), f"the id of {title}")
        words = {"slurm": ["scancel", f"{self.ids(title)[0]}_{position}"]}
        self.cluster.command(*words.get(self.name, ["qdel", self.ids(title)[0], "-t", str(position)]))

    def done(self, title):
        """(exit status, errors) once it has ended."""
        status = self.running[title].wait(timeout=240)
        return status, (self.folder / title / "err").read_text()

    def log(self, title, name):
        return (self.folder / title / name).read_text()

    def queued(self):
        """The ids of all jobs there are."""
        words = {"slurm": ["squeue", "-h", "-o", "%F"], "sge": ["qstat", "-u", "*"]}[self.name]
        return {line.split()[0] for line in self.cluster.command(*words).splitlines() if line.strip()}


@pytest.fixture(scope="module", params=["slurm", "sge"])
def scenarios(request, tmp_path_factory):
    """All scenarios, under way at the same time."""
    cluster = request.getfixturevalue({"slurm": "slurm", "sge": "grid_engine"}[request.param])
    all_of_them = Scenarios(request.param, cluster, tmp_path_factory.mktemp("jobs"))
    start, folder = all_of_them.start, all_of_them.folder
    start("killed", "JOB=1:2", "log/x.JOB.log", "bash", "-c", ONCE.format(folder / "killed", 0))
    start("interrupted", "x.log", "bash", "-c", f"[ -e '{folder}/half' ] || {{ touch '{folder}/half'; exit 85; }}")
    start("stopped", "JOB=1:3", "x.JOB.log", "bash", "-c", f"echo $$ >'{folder}/stopped/begun.JOB'; exec sleep 300")
    start("dequeued", "--retries", 0, "--max-jobs-run", 1, "JOB=1:2", "x.JOB.log", "bash", "-c",
          f"until [ -e '{folder}/dequeued/go' ]; do sleep 0.1; done")
    start("exact", "--num-threads", 2, "JOB=1:4", f"{ODD}/x.JOB.log", sys.executable, "-c", SHOW, "JOB", *WORDS)
    start("failing", "JOB=1:3", "x.JOB.log", "bash", "-c", "echo reason JOB; [ JOB != 2 ] || exit 7")
    start("late", "--time", "0:00:08", "--grace", 4, "x.log", "sleep", 60)
    start("limited", "--max-jobs-run", 1, "JOB=1:4", "x.JOB.log", "bash", "-c", ALONE.format(folder / "limited"))
    start("refused", "x.log", "true", site={{"slurm": "partition", "sge": "queue"}[request.param]: "nowhere"})
    wait_for((folder / "killed" / "begun").exists, "the job to kill")
    all_of_them.cancel("killed", 1)
    all_of_them.cancel("dequeued", 2)
    yield all_of_them
    for process in all_of_them.running.values():
        process.terminate()
    for process in all_of_them.running.values():
        process.wait(timeout=60)


def test_arguments_environment_and_paths_arrive_exactly_in_arrays_that_are_not_too_large(scenarios):
    assert scenarios.done("exact") == (0, "")
    assert len(scenarios.ids("exact")) == 2  # of three jobs and of one
    for job in "1234":
        lines = scenarios.log("exact", f"{ODD}/x.{job}.log").splitlines()
        expected = [[job, *WORDS], str(scenarios.folder / "exact"), "x y\nz", "2", ""]
        assert lines[-2] == ascii(expected)
        assert lines[-1].startswith("# Ended (code 0)")
    assert sorted(os.listdir(scenarios.folder / "exact" / ODD)) == [f"x.{job}.log" for job in "1234"]


def test_the_failing_job_is_named_with_the_end_of_its_log_and_the_others_run(scenarios):
    status, errors = scenarios.done("failing")
    assert status == 7
    assert f"{scenarios.name}.py: 1 of 3 jobs failed: 2\n" in errors
    assert "job 2 exited with status 7 on " in errors and "    reason 2\n" in errors and "reason 1" not in errors
    assert [f"reason {job}\n" in scenarios.log("failing", f"x.{job}.log") for job in "123"] == [True] * 3
    assert len(scenarios.ids("failing")) == 1  # what failed by itself is not run again


def test_a_job_killed_while_it_runs_is_run_again(scenarios):
    status, errors = scenarios.done("killed")
    assert status == 0 and "job 1 was lost" in errors and "; again\n" in errors
    assert "# Started again (attempt 2) at " in scenarios.log("killed", "log/x.1.log")
    assert "again" not in scenarios.log("killed", "log/x.2.log")


def test_a_job_cancelled_while_it_waits_is_reported(scenarios):
    (scenarios.folder / "dequeued" / "go").touch()
    status, errors = scenarios.done("dequeued")
    assert status == 1
    assert "1 of 2 jobs failed: 2\n" in errors and "job 2 was lost (" in errors


def test_a_job_that_stopped_after_a_checkpoint_goes_on(scenarios):
    assert scenarios.done("interrupted") == (0, "")
    assert len(scenarios.ids("interrupted")) == 2


def test_a_job_over_its_time_is_stopped_and_said_to_be(scenarios):
    status, errors = scenarios.done("late")
    assert status == 143 and "was stopped at its time limit (--time 0:00:08) on " in errors
    assert len(scenarios.ids("late")) == 1


def test_max_jobs_run_holds_across_arrays(scenarios):
    assert scenarios.done("limited") == (0, "")
    assert len(scenarios.ids("limited")) == 2


def test_a_refused_job_stops_at_once_and_leaves_nothing(scenarios):
    status, errors = scenarios.done("refused")
    assert status == 1 and len(errors.splitlines()) == 1 and " refused the job: " in errors
    assert sorted(os.listdir(scenarios.folder / "refused")) == ["err", "out", "site.yaml"]


def test_a_signal_cancels_all_jobs(scenarios):
    folder = scenarios.folder / "stopped"
    wait_for(lambda: len([path for path in folder.glob("begun.*") if path.read_text()]) == 3, "the jobs to stop")
    scenarios.running["stopped"].send_signal(signal.SIGINT)
    status, errors = scenarios.done("stopped")
    assert status == 130 and "stopped by SIGINT" in errors
    assert not set(scenarios.ids("stopped")) & scenarios.queued()
    assert not list(folder.glob(".submit-*"))
    wait_for(lambda: not any(alive(path.read_text().strip()) for path in folder.glob("begun.*")), "the end of the jobs")


@pytest.mark.parametrize("name, cluster", [("slurm", "slurm"), ("sge", "grid_engine")])
def test_a_check_has_an_answer_without_a_job(request, tmp_path, name, cluster):
    scenarios = Scenarios(name, request.getfixturevalue(cluster), Path(tmp_path))
    scenarios.start("check", "--check", "x.log", "touch", "ran")
    assert scenarios.done("check") == (0, "")
    assert sorted(os.listdir(tmp_path / "check")) == ["err", "out", "site.yaml"]


def test_gpus_are_those_that_the_scheduler_gives(slurm, tmp_path):
    scenarios = Scenarios("slurm", slurm, Path(tmp_path))
    scenarios.start("gpus", "--gpus", 1, "JOB=1:2", "x.JOB.log", "bash", "-c", "echo [$CUDA_VISIBLE_DEVICES]; sleep 1",
                    CUDA_VISIBLE_DEVICES="7")
    assert scenarios.done("gpus") == (0, "")
    seen = [scenarios.log("gpus", f"x.{job}.log").splitlines()[2] for job in "12"]
    assert set(seen) <= {"[0]", "[1]"}


def test_a_job_whose_node_dies_is_run_again_on_another(slurm, tmp_path):
    scenarios = Scenarios("slurm", slurm, Path(tmp_path))
    begun = tmp_path / "node" / "begun"
    # the shell, the program that runs it and Slurm's own process above that: what goes with the machine
    first = f"echo $SLURMD_NODENAME $$ $PPID $(ps -o ppid= -p $PPID) >'{begun}.new'; mv '{begun}.new' '{begun}'; sleep 300"
    scenarios.start("node", "x.log", "bash", "-c", f"if [ -e '{begun}' ]; then echo $SLURMD_NODENAME; else {first}; fi")
    wait_for(begun.exists, "the job on the node")
    node, *processes = begun.read_text().split()
    slurm.fail_node(node, [int(process) for process in reversed(processes)])
    try:
        status, errors = scenarios.done("node")
    finally:
        slurm.restore_node(node)
    assert status == 0 and f"the job was lost (Slurm: NODE_FAIL on {node})" in errors
    other = scenarios.log("node", "x.log").splitlines()[-2]
    assert other in slurm.nodes and other != node
