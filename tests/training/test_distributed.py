"""Two processes (gloo, through torchrun) do what one does."""

import shutil
import subprocess
import sys
from pathlib import Path

import torch

from wespk.training import checkpoint

ROOT = Path(__file__).resolve().parents[2]


def run(folder, processes, sets="", mode="frozen"):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    if processes == 1:
        command = [sys.executable]
    done = subprocess.run([*command, str(ROOT / "tests/training/ddp_run.py"), str(folder), sets, mode], cwd=ROOT, check=False,
                          capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]
    return checkpoint.load(checkpoint.newest(folder / "checkpoints"))


def test_a_failing_process_ends_the_others_and_says_why(tmp_path):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run([*command, str(ROOT / "tests/training/ddp_run.py"), str(tmp_path / "exp"), "", "fail"], cwd=ROOT,
                          check=False, capture_output=True, text=True, timeout=100)
    assert done.returncode != 0
    assert "rank 1: InputError: utt-broken cannot be read" in done.stderr


def assert_weights_close(a, b, **tolerance):
    for part in ("model", "loss"):
        for name in a[part]:
            torch.testing.assert_close(a[part][name], b[part][name], **tolerance)


def test_two_processes_equal_one_on_the_same_batches(tmp_path):
    sets = "optimizer.lr=0.01 train.num_epochs=2 train.batch_size=9"
    # float32 sums in another order: 1e-5 relative a step, a few steps
    assert_weights_close(run(tmp_path / "one", 1, sets), run(tmp_path / "two", 2, sets), rtol=1e-4, atol=1e-6)


def test_two_processes_resume_to_the_same_weights(tmp_path):
    whole = run(tmp_path / "whole", 2, "train.num_epochs=2", "normal")
    shutil.copytree(tmp_path / "whole", tmp_path / "cut")
    (tmp_path / "cut" / "checkpoints" / "epoch_0002.pt").unlink()
    rest = run(tmp_path / "cut", 2, "train.num_epochs=2", "normal")
    assert rest["step"] == whole["step"] == 6
    assert_weights_close(whole, rest, rtol=0, atol=0)
