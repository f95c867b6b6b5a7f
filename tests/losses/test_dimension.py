"""Regularisers of dimensions against loops, at their bounds, and from sums over processes."""

import math

import pytest
import torch

from wespk.losses.dimension import REGULARISERS, frobenius, off_diagonal
from wespk.utils.errors import InputError

SIZE = 4


def draw(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def squares(columns):
    """All C_ab^2, as a dict, of a list of columns."""
    def product(a, b):
        return sum(x * y for x, y in zip(a, b))

    number = range(len(columns))
    return {(a, b): product(columns[a], columns[b]) ** 2 / product(columns[a], columns[a]) / product(columns[b], columns[b])
            for a in number for b in number}


def test_values_equal_loops():
    x = draw(9, SIZE) + 0.5
    all_squares = squares(x.T.tolist())
    assert frobenius(x).item() == pytest.approx(math.log(math.sqrt(sum(all_squares.values()))), rel=1e-12)
    expected = sum(c for (a, b), c in all_squares.items() if a != b) / SIZE
    assert off_diagonal(x).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("regulariser", REGULARISERS.values())
def test_gradients_equal_finite_differences(regulariser):
    assert torch.autograd.gradcheck(regulariser, draw(6, SIZE).requires_grad_())


def test_bounds_are_dimensions_apart_and_all_equal():
    apart, equal = torch.eye(256), draw(10, 1).expand(-1, 256)
    assert frobenius(apart).item() == pytest.approx(math.log(256) / 2, rel=1e-6) == pytest.approx(2.7726, abs=1e-4)
    assert frobenius(equal).item() == pytest.approx(math.log(256), rel=1e-6) == pytest.approx(5.5452, abs=1e-4)
    assert off_diagonal(apart) == 0 and off_diagonal(equal).item() == pytest.approx(255, rel=1e-6)


@pytest.mark.parametrize("regulariser", REGULARISERS.values())
def test_scale_of_a_dimension_does_not_matter_and_one_of_zeros_is_finite(regulariser):
    x = draw(6, SIZE).float()
    torch.testing.assert_close(regulariser(x * torch.tensor([1.0, 1e3, 1e-3, 5.0])), regulariser(x), rtol=1e-5, atol=0)
    x[:, 2] = 0
    x.requires_grad_()
    value = regulariser(x)
    value.backward()
    assert value.isfinite() and x.grad.isfinite().all()


@pytest.mark.parametrize("regulariser", REGULARISERS.values())
def test_sums_over_processes_make_the_whole_batch(regulariser):
    x = draw(7, SIZE)
    rest = x[3:].T @ x[3:]
    torch.testing.assert_close(regulariser(x[:3], lambda mine: mine + rest), regulariser(x))


@pytest.mark.parametrize("regulariser", REGULARISERS.values())
def test_autocast_changes_nothing_and_unfit_shapes_are_refused(regulariser):
    x = draw(6, SIZE).float()
    with torch.autocast("cpu", torch.bfloat16):
        value = regulariser(x)
    assert torch.equal(value, regulariser(x)) and value.dtype == torch.float32
    for shape in ((6,), (0, 4), (6, 1)):
        with pytest.raises(InputError, match="takes outputs .number, size. with a size of two or more"):
            regulariser(torch.zeros(shape))
