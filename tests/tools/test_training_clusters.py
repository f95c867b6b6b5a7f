"""Training as a job of a real Slurm: stopped, on two nodes, it goes on to the same weights; a killed process ends it."""

import os
import re
import signal
import subprocess
import sys

import pytest
import torch
import yaml

from tests.conftest import ROOT
from tests.schedulers import wait_for
from wespk.training import checkpoint

pytestmark = pytest.mark.slow
# where the site's options have --export=NONE, Slurm sets this for srun (and asks a login shell for half a minute)
JOB = ["env", "SLURM_EXPORT_ENV=NONE", sys.executable, ROOT / "tools" / "submit" / "training_job.py"]
TRAINING = str(ROOT / "tests" / "training" / "job_run.py")
QUICK = {"poll_seconds": 0.3, "queue_seconds": 1, "settle_seconds": 2}
# it waits for the signal when it is first run, and stops as a trainer does
STOPS_ONCE = """
import signal, sys, time
from pathlib import Path
exp = Path(sys.argv[1])
def stop(*_):
    (exp / "requeue").write_text("stopped by a signal after step 4\\n")
    sys.exit(85)
signal.signal(signal.SIGUSR1, stop)
if not (exp / "begun").exists():
    (exp / "begun").touch()
    time.sleep(600)
"""


def job_of(exp, nodes, processes, *words):
    return [*JOB, "--exp", exp, "--nodes", nodes, "--processes", processes, "--", *words]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder of an uninterrupted training by two processes of this machine."""
    exp = tmp_path_factory.mktemp("whole")
    words = job_of(exp, 1, 2, TRAINING, exp, "plain")
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True, check=False,
                          timeout=500, env={**os.environ, "OMP_NUM_THREADS": "1"})  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return exp


def submitted(slurm, exp, nodes, options, *words):
    """A training by one process on each node; its output goes to EXP/out."""
    (exp / "site.yaml").write_text(yaml.safe_dump({"slurm": QUICK}))
    submitter = [sys.executable, ROOT / "tools" / "submit" / "slurm.py", "--nodes", nodes, *options]
    words = [*submitter, exp / "log" / "training.log", *job_of(exp, nodes, 1, *words)]
    with open(exp / "out", "w") as out:
        return subprocess.Popen(list(map(str, words)), stdout=out, stderr=out,
                                env={**slurm.environment, "WESPK_SITE": str(exp / "site.yaml")})  # fmt: skip


def wait_unless_ended(process, condition, what):
    wait_for(lambda: condition() or process.poll() is not None, what, seconds=500)


def ended(process, exp):
    """(exit status, what the submitter said, the job's log)."""
    try:
        process.wait(timeout=500)
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(timeout=60)
    return process.returncode, (exp / "out").read_text(), (exp / "log" / "training.log").read_text()


def check_stopped_once(said, log):
    assert re.findall("1 job (submitted.*), id", said) == ["submitted", "submitted again"]
    assert log.count("SIGTERM: asking the training to write a checkpoint and leave") == 1
    assert log.count("stopped by a signal after step 4; to be run again, when it goes on from there") == 1


def test_a_training_warned_of_its_preemption_goes_on_to_the_weights_of_an_uninterrupted_one(slurm, whole, tmp_path):
    process = submitted(slurm, tmp_path, 2, [], TRAINING, tmp_path, "hold")
    waiting = [tmp_path / f"waiting.{rank}" for rank in (0, 1)]
    wait_unless_ended(process, lambda: all(path.exists() for path in waiting), "step 4 on both nodes")
    if process.poll() is None:
        job = re.search(r"1 job submitted, id (\d+)", (tmp_path / "out").read_text())[1]
        slurm.command("scancel", "--batch", "--signal=TERM", job)
    status, said, log = ended(process, tmp_path)
    assert status == 0, said + log
    check_stopped_once(said, log)
    a, b = (checkpoint.load(checkpoint.newest(folder / "checkpoints")) for folder in (whole, tmp_path))
    assert a["step"] == b["step"] == 6
    for part in ("model", "loss"):
        assert all(torch.equal(value, b[part][name]) for name, value in a[part].items())


def test_a_job_at_its_time_limit_is_stopped_and_another_goes_on(slurm, tmp_path):
    process = submitted(slurm, tmp_path, 1, ["--time", "0:00:20", "--grace", 10], "-c", STOPS_ONCE, tmp_path)
    status, said, log = ended(process, tmp_path)
    assert status == 0, said + log
    check_stopped_once(said, log)


def test_a_killed_process_ends_the_training_on_all_nodes_and_is_named(slurm, tmp_path):
    process = submitted(slurm, tmp_path, 2, [], TRAINING, tmp_path, "hang")
    number = tmp_path / "pid"
    wait_unless_ended(process, lambda: number.exists() and number.read_text().endswith("\n"), "step 4")
    pid = number.read_text().strip()
    os.kill(int(pid), signal.SIGKILL)
    status, said, _ = ended(process, tmp_path)  # where one hung, gloo would wait for half an hour, which is too long there
    assert status == 1, said
    assert f"training process 1 (on n2, process id {pid}) was killed by SIGKILL, from outside or for want of memory" in said
    wait_for(lambda: not slurm.command("squeue", "-h").strip(), "an empty queue")
