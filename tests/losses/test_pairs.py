"""The blocks of anchors: the same whatever their size, and small."""

import pytest
import torch
import torch.nn.functional as F
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode

from wespk.losses import build_loss, pairs

CONFS = [{"name": "supcon"}, {"name": "sup_margin_con"}, {"name": "sup_margin_con", "margin_on": "all"},
         {"name": "caa_margin_con"}, {"name": "caa_margin_con", "attention_in": "negatives"}]


class Peak(TorchDispatchMode):
    """The largest number of bytes alive at a time in tensors made under it."""

    def __init__(self):
        super().__init__()
        self.alive, self.peak = {}, 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, (tuple, list)) else [result]:
            if isinstance(tensor, torch.Tensor):
                storage = tensor.untyped_storage()
                self.alive[storage._cdata] = StorageWeakRef(storage), storage.nbytes()
        self.alive = {key: (ref, size) for key, (ref, size) in self.alive.items() if not ref.expired()}
        self.peak = max(self.peak, sum(size for _, size in self.alive.values()))
        return result


@pytest.mark.parametrize("conf", CONFS)
def test_blocks_of_any_size_give_the_same_value_and_gradients(conf, monkeypatch):
    torch.manual_seed(0)
    loss, results = build_loss(conf, 8, 6).double(), []
    x, labels = torch.randn(11, 2, 8, dtype=torch.float64), torch.randint(6, (11,))
    for rows in (22, 7, 1):
        monkeypatch.setattr(pairs, "block_rows", lambda *_, rows=rows: rows)
        leaf = x.clone().requires_grad_()
        value = loss(leaf, labels)
        results.append((value.detach(), *torch.autograd.grad(value, [leaf, *loss.parameters()])))
    torch.testing.assert_close(results[1], results[0], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(results[2], results[0], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("conf", CONFS)
@pytest.mark.parametrize("utterances", [192, 512])
def test_memory_stays_below_one_matrix_of_all_pairs(conf, utterances):
    """The peak of forward and backward beyond a handful of (N, D), D being small."""
    dim, total = 8, 2 * utterances
    loss = build_loss(conf, dim, 4)
    x, labels = torch.randn(utterances, 2, dim, requires_grad=True), torch.randint(4, (utterances,))
    with Peak() as seen:
        loss(x, labels).backward()
    assert seen.peak < 4 * total * (total + 8 * dim)


def test_the_tracker_sees_what_the_plain_formula_takes():
    x = torch.randn(384, 8, requires_grad=True)
    with Peak() as seen:
        (F.normalize(x) @ F.normalize(x).T / 0.07).exp().sum(1).log().sum().backward()
    assert seen.peak > 2 * 4 * 384**2


def test_a_block_is_a_share_of_the_anchors_and_bounded():
    assert [pairs.block_rows(n, None) for n in (1, 8, 9, 512, 4096, 50_000)] == [1, 1, 2, 64, 512, 83]
    assert [pairs.block_rows(n, "exponent") for n in (1, 12, 13, 512, 4096, 50_000)] == [1, 1, 2, 43, 342, 83]


def test_positives_are_counted():
    assert pairs.count_positives(torch.tensor([5, -1, 5, 2, 5, 2])).tolist() == [2, 0, 2, 1, 2, 1]
