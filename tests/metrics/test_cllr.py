"""Cllr against its definition, min-Cllr against isotonic regression."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.metrics import metric_oracles as oracle
from wespk.metrics import cllr, min_cllr
from wespk.metrics.cllr import pooled_cllr
from wespk.utils.errors import InputError


@oracle.UNHURRIED
@given(oracle.trial_lists())
def test_cllr_is_its_definition(trials):
    targets = [math.log2(1 + math.exp(-s)) for s, label in zip(*trials) if label]
    nontargets = [math.log2(1 + math.exp(s)) for s, label in zip(*trials) if not label]
    expected = (sum(targets) / len(targets) + sum(nontargets) / len(nontargets)) / 2
    assert cllr(*trials) == pytest.approx(expected)


def test_cllr_at_its_landmarks():
    assert cllr([0, 0, 0], [1, 0, 0]) == 1
    assert cllr([math.inf, -math.inf], [1, 0]) == 0
    assert cllr([1e4, -1e4], [1, 0]) == 0
    assert cllr([-1e4, 0], [1, 0]) == pytest.approx(5000 / math.log(2) + 0.5)
    assert cllr([-math.inf, 0], [1, 0]) == math.inf


@oracle.UNHURRIED
@given(oracle.trial_lists())
def test_min_cllr_is_cllr_after_isotonic_regression(trials):
    isotonic = pytest.importorskip("sklearn.isotonic", reason="scikit-learn is not installed").IsotonicRegression
    scores, labels = map(np.asarray, trials)
    ranks = np.unique(scores, return_inverse=True)[1]  # scikit-learn takes scores closer than 1e-16 for tied
    posterior = isotonic(y_min=0, y_max=1).fit_transform(ranks, labels.astype(float))
    with np.errstate(divide="ignore"):
        llr = np.log(posterior) - np.log1p(-posterior) - np.log(labels.sum() / (1 - labels).sum())
    assert min_cllr(scores, labels) == pytest.approx(cllr(llr, labels), abs=1e-9)


@oracle.UNHURRIED
@given(oracle.trial_lists())
def test_min_cllr_is_at_most_cllr_and_1_and_ignores_increasing_maps(trials):
    scores, labels = trials
    assert 0 <= min_cllr(scores, labels) <= min(1, cllr(scores, labels) + 1e-12)
    whole = [float(round(s)) for s in scores]
    assert min_cllr([math.atan(s) * 7 - 3 for s in whole], labels) == min_cllr(whole, labels)


@oracle.UNHURRIED
@given(oracle.trial_lists(values=st.floats(allow_nan=False)))
def test_infinite_scores_have_a_min_cllr(trials):
    assert 0 <= min_cllr(*trials) <= 1


def test_min_cllr_of_constant_and_of_separated_scores():
    assert min_cllr([3, 3, 3], [1, 0, 0]) == 1
    assert min_cllr([3, 2, 1], [1, 0, 0]) == 0
    assert min_cllr([1, 2, 3], [1, 0, 0]) == 1


def test_rounding_does_not_lift_min_cllr_above_1():
    shares = np.array([37, 16, 4, 9, 14]) / 80  # their sum is 1 + 2e-16
    assert pooled_cllr(shares, shares) == 1


@pytest.mark.parametrize("measure", [cllr, min_cllr])
def test_one_class_and_nan_are_refused(measure):
    for scores, labels in (([1.0], [1]), ([1.0, math.nan], [1, 0])):
        with pytest.raises(InputError):
            measure(scores, labels)
