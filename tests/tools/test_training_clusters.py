"""Training on two nodes of a real Slurm: stopped by its time limit it goes on to the same weights; a killed process ends it."""

import os
import signal
import subprocess
import sys
import time

import pytest
import torch
import yaml

from tests.conftest import ROOT
from wespk.training import checkpoint

pytestmark = pytest.mark.slow
JOB = [sys.executable, str(ROOT / "tools" / "submit" / "training_job.py")]
TRAINING = str(ROOT / "tests" / "training" / "job_run.py")
QUICK = {"poll_seconds": 0.3, "queue_seconds": 1, "settle_seconds": 2}


def words_of(exp, behaviour, nodes, processes):
    return [*JOB, "--exp", exp, "--nodes", nodes, "--processes", processes, "--", TRAINING, exp, behaviour]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder of an uninterrupted training by two processes of this machine, and how many seconds it took."""
    exp, began = tmp_path_factory.mktemp("whole"), time.monotonic()
    done = subprocess.run(list(map(str, words_of(exp, "plain", 1, 2))), capture_output=True, text=True, check=False,
                          timeout=500, env={**os.environ, "OMP_NUM_THREADS": "1"})  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return exp, time.monotonic() - began


def submitted(slurm, exp, behaviour, *options):
    """A training by one process on each of two nodes; its output goes to EXP/out."""
    (exp / "site.yaml").write_text(yaml.safe_dump({"slurm": QUICK}))
    words = [sys.executable, ROOT / "tools" / "submit" / "slurm.py", "--nodes", 2, *options, exp / "log" / "training.log"]
    with open(exp / "out", "w") as out:
        return subprocess.Popen(list(map(str, words + words_of(exp, behaviour, 2, 1))), stdout=out, stderr=out,
                                env={**slurm.environment, "WESPK_SITE": str(exp / "site.yaml")})  # fmt: skip


def ended(process, exp):
    """(exit status, what the submitter said, the job's log)."""
    try:
        process.wait(timeout=500)
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(timeout=60)
    return process.returncode, (exp / "out").read_text(), (exp / "log" / "training.log").read_text()


def test_a_training_stopped_by_its_time_limit_goes_on_to_the_weights_of_an_uninterrupted_one(slurm, whole, tmp_path):
    exp, seconds = whole
    grace = max(15, round(1.5 * seconds))  # on a busy machine it must at least get to step 4 in this time
    limit = f"{2 * grace // 3600}:{2 * grace // 60 % 60:02d}:{2 * grace % 60:02d}"
    status, said, log = ended(submitted(slurm, tmp_path, "hold", "--time", limit, "--grace", grace), tmp_path)
    assert status == 0, said + log
    assert "1 job submitted again" in said
    assert "SIGTERM: asking the training to write a checkpoint and leave" in log
    assert "stopped by a signal after step 4; to be run again, when it goes on from there" in log
    assert sum("1 job submitted" in line for line in said.splitlines()) == 1 + log.count("to be run again")
    a, b = (checkpoint.load(checkpoint.newest(folder / "checkpoints")) for folder in (exp, tmp_path))
    assert a["step"] == b["step"] == 6
    for part in ("model", "loss"):
        assert all(torch.equal(value, b[part][name]) for name, value in a[part].items())


def test_a_killed_process_ends_the_training_on_all_nodes_and_is_named(slurm, tmp_path):
    process = submitted(slurm, tmp_path, "hang")
    number = tmp_path / "pid"
    while not (number.exists() and number.read_text().endswith("\n")) and process.poll() is None:
        time.sleep(0.1)
    pid = number.read_text().strip()
    os.kill(int(pid), signal.SIGKILL)
    killed = time.monotonic()
    status, said, _ = ended(process, tmp_path)
    assert status == 1 and time.monotonic() - killed < 120, said  # where it hung, gloo would wait for half an hour
    assert f"training process 1 (on n2, process id {pid}) was killed by SIGKILL, from outside or for want of memory" in said
    assert not slurm.command("squeue", "-h").strip()
