"""Benchmarks of what training waits for between steps: both sides make the same, on sizes that mean nothing."""

from pathlib import Path

import numpy as np
import pytest
import torch

pytestmark = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="memory is read from Linux's /proc")


class Small:
    """In place of a network in training: one matrix."""

    def __init__(self, *_):
        self.weight, self.done = torch.zeros(20, 30), 1

    def state(self):
        return {"step": self.done, "model": {"w": self.weight}, "loss": {}, "optimizer": {"state": {}}}

    def step(self):
        self.weight += 1
        self.done += 1
        return 0.001


def test_checkpoints_of_both_sides_are_the_same_and_both_are_timed(bench, tmp_path, monkeypatch):
    module = bench("checkpoint")
    monkeypatch.setattr(module, "Training", Small)
    sides, size, _ = module.compare("small", 2, 3, 1, "cpu", tmp_path)
    assert [len(sides[side][0]) for side in module.SIDES] == [3, 3] and size == (tmp_path / "beside.pt").stat().st_size
    monkeypatch.setattr(module, "_beside", lambda writer, path, *_: path.write_bytes(b"other"))
    with pytest.raises(ValueError, match="the files of both sides differ"):
        module.compare("small", 2, 3, 1, "cpu", tmp_path)


def test_all_ways_through_the_epochs_give_the_same_batches(bench, tmp_path):
    module = bench("epoch_start")
    module.made_up_tables.make_tables(tmp_path, 60)
    found = [module.walk(tmp_path, side, 3, 20, 1, 0) for side in module.SIDES]
    assert all(waits.shape == (3, 3) and len(memory) == 3 for waits, memory, _ in found)
    assert len({of_items for *_, of_items in found}) == 1


@pytest.mark.parametrize("kind", ["plain", "groups"])
def test_a_stream_is_followed_into_the_second_epoch(bench, kind):
    module = bench("epoch_start")
    epochs = [int(batch.epoch) for batch in module._planned(kind, 1000, 40, 3)]
    assert epochs == [0, 0, 0, 1]
    assert np.all(np.array(module.first_batches(module._planned, kind, 1000, 40, 3, 0)) > 0)
    assert len(list(module._shuffled(kind, 1000, 40, 3))) == 2
