"""KoLeo against a loop, at its ends, and in shares of several processes."""

import math

import pytest
import torch

from wespk.losses import build_loss
from wespk.losses.koleo import koleo, koleo_of_views
from wespk.utils.errors import InputError


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def by_loop(rows):
    """The formula on lists of numbers, without eps in the difference."""
    units = [[x / math.sqrt(sum(y * y for y in row)) for x in row] for row in rows]
    logs = []
    for i, a in enumerate(units):
        _, nearest = max((sum(x * y for x, y in zip(a, b)), j) for j, b in enumerate(units) if j != i)
        logs.append(-math.log(math.dist(a, units[nearest]) + 1e-8))
    return sum(logs) / len(logs)


def test_value_equals_a_loop():
    x = draw(9, 4)
    assert koleo(x).item() == pytest.approx(by_loop(x.tolist()), abs=1e-7)  # eps in each component of the difference


def test_gradients_equal_finite_differences():
    assert torch.autograd.gradcheck(koleo, draw(6, 4).requires_grad_())


def test_orthonormal_rows_give_minus_half_log_2():
    assert koleo(torch.eye(8)).item() == pytest.approx(-math.log(2) / 2, abs=1e-6)
    assert math.log(2) / 2 == pytest.approx(0.3466, abs=1e-4)


def test_equal_rows_are_finite_as_in_the_released_code():
    x = draw(1, 512).expand(4, -1).float().clone().requires_grad_()
    value = koleo(x)
    value.backward()
    assert value.item() == pytest.approx(-math.log(math.sqrt(512) * 1e-8 + 1e-8), abs=1e-3) == pytest.approx(15.26, abs=0.01)
    assert x.grad.isfinite().all()


def test_opposite_rows_are_each_others_neighbours():
    x = draw(1, 3) * torch.tensor([[1.0], [-1.0]])
    assert koleo(x).item() == pytest.approx(-math.log(2), abs=1e-7)


def test_length_does_not_matter_and_autocast_changes_nothing():
    x = draw(64, 3)  # many close neighbours: narrower arithmetic would take the wrong ones
    torch.testing.assert_close(koleo(x * torch.rand(64, 1).add(0.1)), koleo(x))
    with torch.autocast("cpu", torch.bfloat16):
        value, narrow = koleo(x.float()), koleo(x.bfloat16())
    assert value.dtype == narrow.dtype == torch.float32
    assert torch.equal(value, koleo(x.float()))


def test_shares_of_several_processes_add_up_to_the_whole():
    x = draw(7, 3, 4).requires_grad_()
    whole = koleo_of_views(x)
    shares = [size / 7 * koleo_of_views(x, first, size) for first, size in ((0, 4), (4, 1), (5, 2))]
    torch.testing.assert_close(sum(shares), whole)
    torch.testing.assert_close(torch.autograd.grad(sum(shares), x), torch.autograd.grad(whole, x))


def test_views_are_summed_each_among_its_own():
    x = draw(6, 3, 4)
    assert koleo_of_views(x).item() == pytest.approx(sum(koleo(x[:, v]).item() for v in range(3)))
    same = draw(6, 1, 4).expand(-1, 3, -1)  # views of an utterance coincide, which is what training is after
    assert koleo_of_views(same).item() == pytest.approx(3 * koleo(same[:, 0]).item())


def test_one_embedding_and_unfit_shapes_are_refused():
    with pytest.raises(InputError, match=r"two embeddings or more .* not \(1, 4\): one has no neighbour; take a larger batch"):
        koleo(draw(1, 4))
    with pytest.raises(InputError, match="rows 4 to 8 do not lie within 6 embeddings"):
        koleo(draw(6, 4), 4, 4)
    with pytest.raises(InputError, match=r"\(number, views, size\), not \(6, 4\)"):
        koleo_of_views(draw(6, 4))


def test_it_is_found_by_name_and_reads_no_labels():
    loss, x = build_loss({"name": "koleo"}, 4, None), draw(6, 4)
    assert loss(x).item() == loss(x, torch.zeros(6)).item() == koleo(x).item()
    with pytest.raises(InputError, match=r"\(number, 4\), not \(6, 5\)"):
        loss(draw(6, 5))


def test_distances_and_neighbours_are_those_of_the_released_code():
    """torch's PairwiseDistance with eps 1e-8 on units; the largest inner product beside one's own; log(distance + 1e-8)."""
    for rows in (draw(12, 6), draw(1, 6) + 1e-7 * draw(12, 6, seed=1)):
        x = rows.clone().requires_grad_()
        units = torch.nn.functional.normalize(x, eps=1e-8)
        inner = units @ units.T - 9 * torch.eye(12)
        distance = torch.nn.PairwiseDistance(eps=1e-8)(units, units[inner.max(1).indices])
        expected = -(distance + 1e-8).log().mean()
        torch.testing.assert_close(koleo(x), expected, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(torch.autograd.grad(koleo(x), x), torch.autograd.grad(expected, x), rtol=1e-10, atol=1e-12)
