"""The weights that gradients ask for, and the coefficients of PCGrad, from their inner products."""

import math

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from tests.training.balance_run import gradients, project_in_words
from wespk.training.balance import frank_wolfe, gram_matrix, min_norm, min_norm_two, pcgrad
from wespk.utils.errors import InputError


def vector(*numbers, dtype=torch.float32):
    return torch.tensor(numbers, dtype=dtype)


# -- two gradients ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("g1, g2, alpha", [
    (vector(1, 2), vector(1, 2), 0.5),                 # equal: any will do
    (vector(0, 0), vector(0, 0), 0.5),
    (vector(0, 0), vector(3, 4), 1),                   # the zero vector is the shortest
    (vector(3, 4), vector(0, 0), 0),
    (vector(4, 4), vector(16, 16), 1),                 # one way: the shorter
    (vector(16, 16), vector(4, 4), 0),
    (vector(3, 4), vector(-3, -4), 0.5),               # opposite: zero
    (vector(1, 0), vector(-3, 0), 0.75),
    (vector(1, 0), vector(0, 1), 0.5),
    (vector(1, 0), vector(0, 2), 0.8),
    (vector(1e-30, 0), vector(0, 2e-30), 0.8),         # squares beyond float32
    (vector(1e30, 0), vector(0, 2e30), 0.8),
    (vector(1, 2).bfloat16(), vector(1, 2).bfloat16(), 0.5),
])
def test_two_gradients_of_a_known_answer(g1, g2, alpha):
    found = min_norm_two(g1, g2)
    assert found.shape == () and found.dtype == torch.float32
    assert found.item() == pytest.approx(alpha, abs=1e-7)
    assert min_norm_two(g2, g1).item() == pytest.approx(1 - alpha, abs=1e-7)


def test_gradients_equal_to_float32s_rounding_share_evenly():
    g = gradients(0, 1)[0].float()
    assert min_norm_two(g, g * (1 + 1e-7)).item() == 0.5


@pytest.mark.parametrize("seed", range(20))
def test_no_other_alpha_of_a_grid_gives_a_shorter_vector(seed):
    g1, g2 = gradients(seed, 2, spread=1)
    alpha = min_norm_two(g1, g2)
    assert 0 <= alpha <= 1 and alpha.dtype == torch.float64
    grid = torch.linspace(0, 1, 2001, dtype=torch.float64)
    lengths = (grid[:, None] * g1.flatten() + (1 - grid[:, None]) * g2.flatten()).norm(dim=1)
    shortest = (alpha * g1 + (1 - alpha) * g2).norm()
    assert shortest <= lengths.min() + 1e-12
    assert abs(alpha - grid[lengths.argmin()]) <= 1 / 2000
    if 0 < alpha < 1:  # then the vector is as steep for one loss as for the other
        d = alpha * g1 + (1 - alpha) * g2
        torch.testing.assert_close(torch.stack([(d * g1).sum(), (d * g2).sum()]), shortest.square().expand(2))


@pytest.mark.parametrize("g1, g2", [
    (vector(math.nan, 1), vector(1, 1)),
    (vector(math.inf, 1), vector(1, 1)),
    (vector(math.inf, 1), vector(-1, 1)),
    (vector(math.inf, 1), vector(0, 1)),
    (vector(math.inf, 1), vector(math.inf, 1)),
    (vector(-math.inf, 1), vector(math.inf, 1)),
])
def test_what_is_not_finite_is_not_hidden(g1, g2):
    for first, second in ((g1, g2), (g2, g1)):
        assert min_norm_two(first, second).isnan()
        assert frank_wolfe(gram_matrix([first, second, second])).isnan().all()


def test_two_shapes_are_refused():
    with pytest.raises(InputError, match=r"one shape, not \(2,\) and \(3,\)"):
        min_norm_two(torch.ones(2), torch.ones(3))


# -- several ------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("seed", range(20))
def test_frank_wolfe_of_two_is_the_closed_form(seed):
    g = gradients(seed, 2, spread=2)
    assert frank_wolfe(gram_matrix(g))[0].item() == pytest.approx(min_norm_two(*g).item(), abs=1e-9)


@pytest.mark.parametrize("seed", range(24))
def test_frank_wolfe_finds_what_a_solver_of_quadratic_programs_finds(seed):
    n = 3 + seed % 5
    gram = gram_matrix(gradients(seed, n, spread=1.5 * (seed % 2)))
    weights, inner = min_norm(gram).numpy(), gram.numpy()
    assert weights.min() >= 0 and weights.sum() == pytest.approx(1)
    assert weights @ inner @ weights - (inner @ weights).min() <= 2e-8 * inner.diagonal().min()  # the stated gap
    scale = inner.diagonal().min()
    solved = minimize(lambda w: w @ inner @ w / scale, np.full(n, 1 / n), jac=lambda w: 2 * inner @ w / scale, method="SLSQP",
                      bounds=[(0, 1)] * n, constraints={"type": "eq", "fun": lambda w: w.sum() - 1},
                      options={"ftol": 1e-12, "maxiter": 500})
    assert weights @ inner @ weights <= solved.fun * scale * (1 + 1e-6)
    np.testing.assert_allclose(weights, solved.x, atol=2e-3)


@pytest.mark.parametrize("g, weights", [
    ([[1, 0], [0, 0], [0, 1]], [0, 1, 0]),
    ([[1, 0], [1, 0], [1, 0]], None),                  # equal: any will do
    ([[1, 0], [-1, 0], [0, 1]], [0.5, 0.5, 0]),
    ([[1, 0, 0], [0, 1, 0], [0, 0, 1]], [1 / 3, 1 / 3, 1 / 3]),
    ([[1, 0, 0], [0, 2, 0], [0, 0, 2]], [2 / 3, 1 / 6, 1 / 6]),
    ([[2, 2], [4, 4], [1, 1]], [0, 0, 1]),
])
def test_several_gradients_of_a_known_answer(g, weights):
    found = min_norm(gram_matrix(torch.tensor(g, dtype=torch.float32)))
    assert found.sum().item() == pytest.approx(1)
    if weights:
        np.testing.assert_allclose(found, weights, atol=1e-7)


@pytest.mark.parametrize("n", [2, 3, 6])
def test_pcgrad_by_inner_products_is_pcgrad(n):
    for seed in range(40):
        g = gradients([n, seed], n, shape=(3,), spread=1)
        orders = [np.random.default_rng([seed, i]).permutation(n) for i in range(n)]
        coefficients = pcgrad(gram_matrix(g), orders)
        torch.testing.assert_close(coefficients @ g, project_in_words(g, orders))
        if n == 2:
            torch.testing.assert_close(pcgrad(gram_matrix(g)), coefficients)
            assert (g @ (coefficients @ g) >= -1e-12).all()


def test_pcgrad_leaves_gradients_alone_that_do_not_conflict():
    assert pcgrad(gram_matrix([vector(1, 0), vector(1, 1), vector(0, 0)])).tolist() == [1, 1, 1]
    assert pcgrad(gram_matrix([vector(2, 0), vector(-1, 1)])).tolist() == [1.5, 2]
