"""Checkpoints written beside the training: what the files hold, in which order they appear, and how a failure is told."""

import os
import signal
import threading
import time

import pytest
import torch

from tests.training.conftest import MemorySource
from wespk.training import checkpoint, trainer
from wespk.training.writer import CheckpointWriter
from wespk.utils.errors import InputError


class Training:
    """A small network with batch norm, one weight in another order of memory, and an optimiser with a state."""

    def __init__(self, name="sgd"):
        torch.manual_seed(0)
        self.model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4)).to(memory_format=torch.channels_last)
        kinds = {"sgd": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9), "adamw": torch.optim.AdamW}
        self.optimizer = kinds[name](self.model.parameters())
        self.done = 0

    def step(self):
        self.model(torch.randn(2, 3, 8, 8)).square().mean().backward()
        self.optimizer.step()
        self.done += 1

    def state(self):
        return {"config": {"a": [1, {"b": None}]}, "speakers": ["x", "y"], "fingerprint": "f", "step": self.done,
                "steps_per_epoch": 4, "model": self.model.state_dict(), "loss": {}, "optimizer": self.optimizer.state_dict()}


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_a_file_is_that_of_waiting_for_it_though_training_went_on(tmp_path, name):
    training, go_on = Training(name), threading.Event()

    def write(state):
        assert go_on.wait(20)
        checkpoint.save(tmp_path / f"{state['step']}.pt", state)

    with CheckpointWriter() as writer:
        for _ in range(2):  # the second goes through the memory of the first
            training.step()
            checkpoint.save(tmp_path / "waited.pt", training.state())
            writer.submit(training.state(), write)
            training.step()
            go_on.set()
            writer.wait()
            go_on.clear()
            written = tmp_path / f"{training.done - 1}.pt"
            assert written.read_bytes() == (tmp_path / "waited.pt").read_bytes()


def test_copies_lie_in_memory_of_their_own_that_is_used_again():
    training, seen = Training(), []
    with CheckpointWriter() as writer:
        for _ in range(3):
            training.step()
            writer.submit(training.state(), lambda state: seen.append([t.data_ptr() for t in tensors(state)]))
    assert seen[0] == seen[1] == seen[2] and not set(seen[0]) & {t.data_ptr() for t in tensors(training.state())}


def tensors(state):
    moments = [v for of in state["optimizer"]["state"].values() for v in of.values() if torch.is_tensor(v)]
    return [*state["model"].values(), *moments]


def test_a_state_is_not_copied_before_the_one_before_is_written():
    ended = []

    def write(state):
        time.sleep(0.05)
        ended.append(state["step"])

    with CheckpointWriter() as writer:
        for step in range(3):
            writer.submit({"step": step}, write)
            assert ended[:step] == list(range(step))
    assert ended == [0, 1, 2]


@pytest.mark.parametrize("tell", [CheckpointWriter.check, CheckpointWriter.wait,
                                  lambda writer: writer.submit({}, print), lambda writer: writer.__exit__()])  # fmt: skip
def test_what_a_write_raises_is_raised_by_the_next_call_once(tell):
    writer, ended = CheckpointWriter(), threading.Event()

    def fail(state):
        try:
            raise OSError(28, "No space left on device", "x.pt")
        finally:
            ended.set()

    writer.submit({}, fail)
    assert ended.wait(20)
    while tell is CheckpointWriter.check and not writer._running.done():
        time.sleep(0.001)
    with pytest.raises(OSError, match="No space left"):
        tell(writer)
    writer.__exit__()


def test_a_kill_in_the_middle_of_a_write_leaves_the_checkpoint_before(tmp_path, monkeypatch):
    path, training = tmp_path / "latest.pt", Training()
    checkpoint.save(path, training.state())

    def half(data, file):
        file.write(b"half a file")
        file.flush()
        os.kill(os.getpid(), signal.SIGKILL)

    child = os.fork()
    if child == 0:
        try:
            monkeypatch.setattr(torch, "save", half)
            writer = CheckpointWriter()
            writer.submit({**training.state(), "step": 1}, lambda state: checkpoint.save(path, state))
            writer.wait()
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert checkpoint.load(path)["step"] == 0 and checkpoint.newest(tmp_path) == path
    assert len(list(tmp_path.iterdir())) == 2  # the half file, under a name that nobody reads


class Slow:
    """In place of the module ``checkpoint`` in the trainer: as that, but a file takes a while, and calls are noted."""

    def __init__(self, seconds=0.05, fails_at=None):
        self.seconds, self.fails_at, self.told = seconds, fails_at, []

    def __getattr__(self, name):
        return getattr(checkpoint, name)

    def save(self, path, state):
        time.sleep(self.seconds)
        if state["step"] == self.fails_at:
            raise OSError(28, "No space left on device", str(path))
        checkpoint.save(path, state)
        self.told.append(path.name)

    def prune(self, folder, *rest):
        self.told.append(f"prune, latest.pt {'there' if (folder / 'latest.pt').exists() else 'gone'}")
        checkpoint.prune(folder, *rest)


def test_files_appear_in_the_order_of_training_and_all_are_there_at_its_end(make_trainer, monkeypatch):
    monkeypatch.setattr(trainer, "checkpoint", slow := Slow())
    made = make_trainer(sets="train.num_epochs=2")
    assert made.run() is True
    assert slow.told == ["latest.pt", "epoch_0001.pt", "prune, latest.pt gone", "latest.pt", "epoch_0002.pt", "prune, latest.pt gone"]
    assert checkpoint.load(made.experiment.checkpoints / "epoch_0002.pt")["step"] == 6


def test_a_signal_waits_for_the_file_before_it_asks_to_be_started_again(make_trainer, monkeypatch):
    monkeypatch.setattr(trainer, "checkpoint", slow := Slow(0.3))

    class Signalling(MemorySource):
        def fetch(self, epoch, items):
            if len(self.fetched) == 3:
                os.kill(os.getpid(), signal.SIGUSR1)
            return super().fetch(epoch, items)

    made = make_trainer(sets="runtime.save_every=1000", source=Signalling())
    monkeypatch.setattr(made.experiment, "mark_requeue", lambda step: slow.told.append(f"requeue after {step}"))
    assert made.run() is False
    assert slow.told == ["epoch_0001.pt", "prune, latest.pt gone", "latest.pt", "requeue after 4"]


@pytest.mark.parametrize("at, left", [(2, None), (3, "latest.pt"), (6, "latest.pt")])
def test_a_full_disk_ends_the_training_and_leaves_the_checkpoint_before(make_trainer, monkeypatch, at, left):
    monkeypatch.setattr(trainer, "checkpoint", Slow(fails_at=at))
    made = make_trainer(sets="train.num_epochs=2")
    with pytest.raises(OSError, match="No space left on device"):
        made.run()
    newest = checkpoint.newest(made.experiment.checkpoints)
    assert (newest and newest.name) == left


def test_a_failure_is_told_at_the_next_step_and_not_only_at_the_next_checkpoint(make_trainer, monkeypatch):
    monkeypatch.setattr(trainer, "checkpoint", Slow(fails_at=3))

    class Patient(MemorySource):
        def fetch(self, epoch, items):
            while len(self.fetched) == 3 and not made.writer._running.done():
                time.sleep(0.001)
            return super().fetch(epoch, items)

    made = make_trainer(sets="runtime.save_every=1000", source=Patient())
    with pytest.raises(OSError, match="No space left on device"):
        made.run()
    assert len(made.source.fetched) == 4


def test_weights_that_are_not_finite_are_told_of_rather_than_the_losses_that_follow(make_trainer, monkeypatch):
    monkeypatch.setattr(trainer, "checkpoint", Slow(0.5))
    made = make_trainer(sets="runtime.save_every=5 train.num_epochs=3")
    after = made.objective.after_step

    def spoil(step, total):
        after(step, total)
        if step == 4:
            with torch.no_grad():
                next(made.objective.model.parameters()).fill_(torch.nan)

    made.objective.after_step = spoil
    with pytest.raises(InputError, match="step 5: model weight .* is not finite; nothing was saved"):
        made.run()
    assert checkpoint.newest(made.experiment.checkpoints).name == "epoch_0001.pt"
