"""The overlap of target and nontarget scores, against numpy's histograms and in cases known by hand."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.metrics import metric_oracles as oracle
from wespk.metrics import min_dcf, overlap
from wespk.utils.errors import InputError

IN_RANGE = st.integers(-4, 4).map(float) | st.floats(-3, 3, width=32).filter(lambda x: x == 0 or abs(x) > 1e-6)


@oracle.UNHURRIED
@given(oracle.trial_lists(values=IN_RANGE), st.integers(1, 200))
def test_equals_the_intersection_of_numpy_s_histograms(trials, bins):
    scores, labels = map(np.array, trials)
    if scores.min() == scores.max():
        assert overlap(scores, labels, bins) == 1
        return
    ends = scores.min(), scores.max()
    shares = [np.histogram(scores[labels == label], bins, ends)[0] / (labels == label).sum() for label in (1, 0)]
    assert overlap(scores, labels, bins) == pytest.approx(np.minimum(*shares).sum(), abs=1e-12)


def test_is_0_apart_and_1_for_one_distribution_and_counts_shares_not_trials():
    assert overlap([3, 4, 1, 2], [1, 1, 0, 0]) == 0
    assert overlap([1, 2, 1, 2, 1, 2], [1, 1, 0, 0, 0, 0]) == 1
    assert overlap([0, 1, 1, 1, 0, 0, 0, 1], [1, 1, 1, 1, 0, 0, 0, 0]) == 0.5


def test_the_default_has_100_bins_each_without_its_upper_end():
    nontargets = [0.0, 100.0]
    for score, found in ((0.999, 0.5), (1.0, 0.0), (98.999, 0.0), (99.0, 0.5)):
        assert overlap([score, *nontargets], [1, 0, 0]) == found


def test_infinite_scores_are_in_the_end_bins():
    assert overlap([math.inf, 0.0, 1.0], [1, 0, 0]) == 0.5
    assert overlap([math.inf, -math.inf], [1, 0]) == 0
    assert overlap([-math.inf, -math.inf], [1, 0]) == 1


def test_scaling_and_shifting_the_scores_changes_nothing():
    draw = np.random.default_rng(0)
    labels = draw.integers(2, size=4000)
    scores = np.rint(64 * (labels + draw.normal(size=4000)))
    assert overlap(scores, labels) == overlap(4 * scores - 512, labels) > 0.5


def test_of_two_normal_distributions_it_is_near_the_overlap_of_their_densities_and_min_dcf_at_one_half():
    draw = np.random.default_rng(0)
    labels = draw.integers(2, size=200_000)
    scores = 2 * labels + draw.normal(size=200_000)
    exact = math.erfc(1 / math.sqrt(2))  # twice the mass of a unit normal beyond 1
    assert overlap(scores, labels) == pytest.approx(exact, abs=0.005)
    assert min_dcf(scores, labels, 0.5) == pytest.approx(exact, abs=0.005)


def test_a_list_without_targets_or_with_nan_is_refused():
    for scores, labels in (([1.0, 2.0], [0, 0]), ([1.0, math.nan], [1, 0])):
        with pytest.raises(InputError):
            overlap(scores, labels)
