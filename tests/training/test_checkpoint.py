"""Checkpoint files: whole or refused; averages by hand."""

import resource

import pytest
import torch

from wespk.training import checkpoint
from wespk.utils.errors import InputError


def state(step=1, value=1.0, count=5):
    return {"config": {}, "speakers": ["a"], "fingerprint": "f", "step": step, "steps_per_epoch": 1,
            "model": {"w": torch.full((2, 3), value), "num_batches_tracked": torch.tensor(count)},
            "loss": {"weight": torch.full((4,), -value)}, "optimizer": {"state": {}}}


def test_a_checkpoint_reads_back_equal(tmp_path):
    checkpoint.save(tmp_path / "a.pt", state())
    got = checkpoint.load(tmp_path / "a.pt")
    assert got["format"] == checkpoint.FORMAT and got["speakers"] == ["a"]
    assert torch.equal(got["model"]["w"], torch.ones(2, 3))


@pytest.mark.parametrize("damage", [lambda b: b[:len(b) // 2], lambda b: b[:-10], lambda b: b"", lambda b: b"text"])
def test_a_checkpoint_cut_short_is_refused_by_name(tmp_path, damage):
    path = tmp_path / "epoch_0003.pt"
    checkpoint.save(path, state())
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(InputError, match="epoch_0003.pt is not a whole checkpoint.*delete it"):
        checkpoint.load(path)


def test_foreign_and_absent_files_are_refused(tmp_path):
    torch.save({"model": {}}, tmp_path / "other.pt")
    with pytest.raises(InputError, match="other.pt is not a wespk checkpoint"):
        checkpoint.load(tmp_path / "other.pt")
    with pytest.raises(InputError, match="no such checkpoint"):
        checkpoint.load(tmp_path / "none.pt")


def test_a_non_finite_weight_is_never_saved(tmp_path):
    path = tmp_path / "latest.pt"
    checkpoint.save(path, state())
    with pytest.raises(InputError, match="model weight 'w' is not finite"):
        checkpoint.save(path, state(value=float("nan")))
    assert torch.isfinite(checkpoint.load(path)["model"]["w"]).all()


def test_a_failed_write_leaves_the_last_good_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / "latest.pt"
    checkpoint.save(path, state(step=1))

    def full(data, file):
        file.write(b"half a file")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match="No space left"):
        checkpoint.save(path, state(step=2))
    assert checkpoint.load(path)["step"] == 1
    assert [p.name for p in tmp_path.iterdir()] == ["latest.pt"]


def test_a_disk_that_is_full_is_told_in_the_words_of_the_system_and_not_in_those_of_torch(tmp_path):
    path, limits = tmp_path / "latest.pt", resource.getrlimit(resource.RLIMIT_FSIZE)
    with pytest.raises(OSError, match="File too large: '.*latest.pt'"):
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, limits[1]))
            checkpoint.save(path, state() | {"speakers": [torch.zeros(100_000)]})
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not list(tmp_path.iterdir())


def test_the_average_is_the_mean_and_counts_come_from_the_last(tmp_path):
    for i, value in enumerate((1.0, 2.0, 6.0)):
        checkpoint.save(tmp_path / f"{i}.pt", state(value=value, count=i))
    mean = checkpoint.average([tmp_path / f"{i}.pt" for i in range(3)])
    assert torch.equal(mean["model"]["w"], torch.full((2, 3), 3.0)) and mean["model"]["w"].dtype == torch.float32
    assert torch.equal(mean["loss"]["weight"], torch.full((4,), -3.0))
    assert mean["model"]["num_batches_tracked"] == 2
    assert "optimizer" not in mean and mean["averaged"] == ["0.pt", "1.pt", "2.pt"]


def test_checkpoints_of_other_shapes_are_not_averaged(tmp_path):
    checkpoint.save(tmp_path / "a.pt", state())
    other = state()
    other["model"]["w"] = torch.ones(3, 3)
    checkpoint.save(tmp_path / "b.pt", other)
    with pytest.raises(InputError, match="a.pt and .*b.pt hold different model tensors"):
        checkpoint.average([tmp_path / "a.pt", tmp_path / "b.pt"])


def test_newest_is_the_unfinished_epochs_file_then_the_last_epoch(tmp_path):
    assert checkpoint.newest(tmp_path) is None
    for epoch in (2, 10, 9):
        checkpoint.save(checkpoint.epoch_path(tmp_path, epoch), state())
    assert checkpoint.newest(tmp_path).name == "epoch_0010.pt"
    checkpoint.save(tmp_path / "latest.pt", state())
    assert checkpoint.newest(tmp_path).name == "latest.pt"
    checkpoint.prune(tmp_path, 2)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["epoch_0009.pt", "epoch_0010.pt", "latest.pt"]
