"""A head whose classes are split over two processes does what the whole head does in one."""

import json
import shutil

import pytest
import torch

from tests.training.conftest import in_two_processes
from tests.training.sharded_run import BATCHES, CASES, MINED, RUNS, SOURCE, head_and_batch, train
from wespk.losses import build_loss
from wespk.training import checkpoint
from wespk.training.optimizers import unused_options
from wespk.training.run import check_model
from wespk.training.sharded_head import ShardedHead, Shards
from wespk.utils import config
from wespk.utils.errors import InputError


def without_last_epoch(source, target):
    shutil.copytree(source, target)
    (target / "checkpoints" / "epoch_0002.pt").unlink()


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """The folder with everything that one and two processes made of it."""
    folder = tmp_path_factory.mktemp("sharded")
    for name, sets in RUNS.items():
        train(folder / name / "one", sets)
        without_last_epoch(folder / name / "one", folder / name / "other")
    in_two_processes("sharded_run.py", folder)
    return folder


def last(folder):
    return checkpoint.load(checkpoint.newest(folder / "checkpoints"))


def tensors(state):
    """All tensors of a checkpoint by name, the optimiser's too."""
    moments = {f"{i}.{n}": v for i, s in state["optimizer"]["state"].items() for n, v in s.items() if torch.is_tensor(v)}
    return {**state["model"], **{f"loss.{n}": v for n, v in state["loss"].items()}, **moments}


def assert_close(a, b, **tolerance):
    a, b = tensors(a), tensors(b)
    assert a.keys() == b.keys()
    for name in a:
        torch.testing.assert_close(a[name], b[name], msg=lambda text, name=name: f"{name}: {text}", **tolerance)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("name", CASES)
def test_loss_and_gradients_are_the_whole_heads_on_the_whole_batch(done, name, dtype):
    parts = [torch.load(done / f"rank{rank}.pt", weights_only=True)[name, str(dtype)] for rank in (0, 1)]
    head, x, labels = head_and_batch({**CASES[name], "block_size": 0}, dtype)
    x.requires_grad_()
    loss = head(x, labels)
    loss.backward()
    tolerance = {"rtol": 1e-4, "atol": 2e-6} if dtype == torch.float32 else {"rtol": 1e-11, "atol": 1e-13}
    mean = sum(part["loss"] * size for part, size in zip(parts, BATCHES)) / sum(BATCHES)
    torch.testing.assert_close(mean, loss.detach(), **tolerance)
    torch.testing.assert_close(torch.cat([part["x"] for part in parts]), x.grad, **tolerance)
    assert [len(part["weight"]) for part in parts] == [3, 4]
    torch.testing.assert_close(torch.cat([part["weight"] for part in parts]), head.weight.grad, **tolerance)
    if hasattr(head, "bias"):
        torch.testing.assert_close(parts[0]["bias"] + parts[1]["bias"], head.bias.grad, **tolerance)
    right = sum(part["right"] for part in parts) / sum(BATCHES)
    torch.testing.assert_close(right, head.stats["accuracy"])


def test_weights_of_mined_samples_are_of_each_process_own_share_as_with_a_whole_head(done):
    weight, bias = 0, 0
    parts = [torch.load(done / f"rank{rank}.pt", weights_only=True)["mined", str(torch.float64)] for rank in (0, 1)]
    for part, rows in zip(parts, (slice(0, BATCHES[0]), slice(BATCHES[0], None))):
        head, x, labels = head_and_batch(MINED, torch.float64)
        x = x[rows].requires_grad_()
        loss = head(x, labels[rows])
        (loss * len(x) / sum(BATCHES)).backward()
        torch.testing.assert_close(part["loss"], loss.detach())
        torch.testing.assert_close(part["x"], x.grad)
        weight, bias = weight + head.weight.grad, bias + head.bias.grad
    torch.testing.assert_close(torch.cat([part["weight"] for part in parts]), weight)
    torch.testing.assert_close(parts[0]["bias"] + parts[1]["bias"], bias)


@pytest.mark.parametrize("name", RUNS)
def test_a_sharded_run_ends_where_an_unsharded_one_does(done, name):
    one, two = last(done / name / "one"), last(done / name / "whole")
    assert len(two["loss"]["weight"]) == SOURCE["speakers"] and one["step"] == two["step"]
    # float32 sums in another order; Adam divides small gradients by small moments, which spreads them
    assert_close(one, two, rtol=1e-3, atol=1e-5)
    records = [[json.loads(line) for line in (done / name / folder / "metrics.jsonl").read_text().splitlines()]
               for folder in ("one", "whole")]
    for a, b in zip(*records):
        assert a["loss"] == pytest.approx(b["loss"], rel=1e-4) and a["accuracy"] == pytest.approx(b["accuracy"])


@pytest.mark.parametrize("name", RUNS)
def test_a_sharded_run_resumes_bit_for_bit(done, name):
    assert_close(last(done / name / "whole"), last(done / name / "cut"), rtol=0, atol=0)


@pytest.mark.parametrize("name", RUNS)
def test_a_checkpoint_goes_on_with_another_number_of_processes(done, name, tmp_path):
    one = last(done / name / "one")
    assert_close(one, last(done / name / "other"), rtol=1e-3, atol=1e-5)
    without_last_epoch(done / name / "whole", tmp_path / "exp")
    train(tmp_path / "exp", RUNS[name].replace("shard_head=true", "shard_head=false"))
    assert_close(one, last(tmp_path / "exp"), rtol=1e-3, atol=1e-5)


def test_the_gradient_norm_was_large_enough_to_be_cut(done, tmp_path):
    loose = train(tmp_path / "loose", RUNS["sgd"].replace("grad_clip=0.05", "grad_clip=0"))
    change = loose.objective.loss.weight.detach() - last(done / "sgd" / "one")["loss"]["weight"]
    assert change.abs().max() > 1e-3


def test_a_loss_that_cannot_be_split_is_refused_by_name():
    for name in ("softmax", "circle", "a_softmax", "ge2e"):
        conf = config.load(sets=f"loss.name={name} runtime.shard_head=true")
        with pytest.raises(InputError, match=f"runtime.shard_head: loss.name={name} cannot be split.*sphereface2"):
            check_model(conf)


def test_one_process_says_that_sharding_has_no_effect():
    conf = config.load(sets="loss.name=sphereface2 runtime.shard_head=true")
    objective = check_model(conf)
    assert "runtime.shard_head (one process)" in unused_options(conf, objective)
    assert Shards(objective).head is None


def test_fewer_classes_than_processes_are_refused(monkeypatch):
    monkeypatch.setattr("wespk.utils.dist.world_size", lambda: 3)
    with pytest.raises(InputError, match="2 classes cannot be split over 3 processes"):
        ShardedHead(build_loss({"name": "am_softmax"}, 4, 2))
