"""Signs of collapse at their ends, and against sums written out."""

import math

import pytest
import torch

from wespk.metrics import collapse

CERTAIN = torch.eye(4, dtype=torch.float64)[torch.tensor([2, 0, 2, 2, 0])]  # two of four prototypes, each row sure
UNIFORM = torch.full((5, 4), 0.25, dtype=torch.float64)


def draw(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_prototypes_are_counted_once_over_rows_and_batches():
    assert collapse.prototypes_used(CERTAIN) == 2
    assert collapse.assigned(CERTAIN).tolist() == [1, 0, 1, 0]
    other = torch.eye(4, dtype=torch.float64)[[1, 0]]
    assert ((collapse.assigned(CERTAIN) + collapse.assigned(other)) > 0).sum() == 3
    assert collapse.prototypes_used(CERTAIN.expand(3, -1, -1)) == 2


def test_certain_and_uniform_targets_are_the_ends_of_the_scales():
    assert (collapse.mean_max(CERTAIN), collapse.mean_entropy(CERTAIN)) == (1, 0)
    assert collapse.mean_max(UNIFORM) == 0.25
    assert collapse.mean_entropy(UNIFORM).item() == pytest.approx(math.log(4))
    assert collapse.balance_entropy(UNIFORM).item() == pytest.approx(math.log(4))
    assert collapse.balance_entropy(CERTAIN[:1].expand(5, -1)) == 0
    shares = (0.6, 0.4)
    assert collapse.balance_entropy(CERTAIN).item() == pytest.approx(-sum(s * math.log(s) for s in shares))


def test_entropy_has_a_finite_derivative_at_0():
    p = torch.tensor([0.0, 0.3, 0.7], requires_grad=True)
    value = collapse.entropy(p)
    value.backward()
    assert value.item() == pytest.approx(-(0.3 * math.log(0.3) + 0.7 * math.log(0.7)))
    assert p.grad.isfinite().all() and p.grad[1].item() == pytest.approx(-math.log(0.3) - 1, rel=1e-6)


def test_spread_is_1_of_even_directions_and_0_of_one():
    assert collapse.spread(torch.cat([torch.eye(8), -torch.eye(8)])).item() == pytest.approx(1)
    assert collapse.spread(draw(4000, 16)).item() == pytest.approx(1, abs=0.01)
    one = draw(1, 16) * torch.tensor([1.0, 3.0, 0.1])[:, None]  # lengths differ, the direction does not
    assert collapse.spread(one).item() == pytest.approx(0, abs=1e-7)
    units = draw(6, 3) / draw(6, 3).norm(dim=1, keepdim=True)
    by_hand = [math.sqrt(sum((x - sum(c) / 6) ** 2 for x in c) / 6) for c in units.T.tolist()]
    assert collapse.spread(units).item() == pytest.approx(sum(by_hand) / 3 * math.sqrt(3), rel=1e-6)


def test_effective_rank_counts_directions():
    assert collapse.effective_rank(torch.eye(6)).item() == pytest.approx(6)
    assert collapse.effective_rank(draw(1, 6).expand(9, -1)).item() == pytest.approx(1)
    plane = torch.eye(6)[torch.tensor([0, 1, 0, 1])] * torch.tensor([1.0, 100.0, 1.0, 1.0])[:, None]
    assert collapse.effective_rank(plane).item() == pytest.approx(2)  # lengths do not count
    three_to_one = torch.eye(6)[torch.tensor([0, 0, 0, 0, 0, 0, 0, 0, 0, 1])]  # singular values 3 and 1
    expected = math.exp(-(0.75 * math.log(0.75) + 0.25 * math.log(0.25)))
    assert collapse.effective_rank(three_to_one).item() == pytest.approx(expected, rel=1e-6)


def test_no_figure_carries_a_gradient():
    x = torch.softmax(draw(5, 4), 1).requires_grad_()
    for figure in (collapse.prototypes_used, collapse.mean_max, collapse.mean_entropy, collapse.balance_entropy,
                   collapse.spread, collapse.effective_rank):
        value = figure(x)
        assert value.shape == () and not value.requires_grad, figure
