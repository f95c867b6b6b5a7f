"""Stateless randomness: same key, same numbers; another key, unrelated numbers; and the numbers are uniform."""

import numpy as np
import torch
from scipy import stats

from wespk.utils.seed import derive, generator, seed_everything, uniform


def test_an_item_draws_the_same_number_in_any_company():
    together = uniform(np.arange(100), 1, 2, "crop")
    alone = np.array([uniform([i], 1, 2, "crop")[0] for i in range(100)])
    assert np.array_equal(together, alone)
    assert np.array_equal(together[::-1], uniform(np.arange(100)[::-1], 1, 2, "crop"))


def test_numbers_are_uniform_and_uncorrelated():
    a, b = uniform(np.arange(200_000), 7, 0), uniform(np.arange(200_000), 7, 1)
    for draw in (a, b, (a + b) % 1.0):
        assert stats.kstest(draw, "uniform").pvalue > 1e-3
    assert abs(np.corrcoef(a[:-1], a[1:])[0, 1]) < 0.01
    assert abs(np.corrcoef(a, b)[0, 1]) < 0.01
    assert a.min() >= 0 and a.max() < 1


def test_every_part_of_the_key_matters():
    keys = [(1, 2), (2, 1), (1, 2, 0), (1, "2"), (12,), ("a", "b"), ("ab",), (-1,), (2**63,)]
    assert len({derive(*k) for k in keys}) == len(keys)


def test_seed_everything_repeats_torch_and_numpy():
    seed_everything(3, "step", 9)
    first = torch.rand(3), np.random.rand(3)
    seed_everything(3, "step", 9)
    again = torch.rand(3), np.random.rand(3)
    assert torch.equal(first[0], again[0]) and np.array_equal(first[1], again[1])
    assert np.array_equal(generator(3, 1).permutation(9), generator(3, 1).permutation(9))
