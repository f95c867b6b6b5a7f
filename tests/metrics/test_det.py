"""EER, minDCF and actDCF against every threshold tried one by one, and the properties they must have."""

import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.metrics import metric_oracles as oracle
from wespk.metrics import act_dcf, eer, min_dcf
from wespk.metrics.det import bayes_threshold, corners, det_curve, equal_error_score, lower_hull, split
from wespk.utils.errors import InputError

EXACT = 1e-12  # float64 arithmetic on a handful of rates


@oracle.UNHURRIED
@given(oracle.trial_lists())
def test_eer_is_where_the_curve_of_all_thresholds_crosses(trials):
    assert eer(*trials) == pytest.approx(float(oracle.eer(*trials)), abs=EXACT)


@oracle.UNHURRIED
@given(oracle.trial_lists(), st.sampled_from([0.01, 0.05, 0.5, 0.9, 0.99]), st.sampled_from([(1, 1), (10, 1), (1, 7)]))
def test_min_dcf_is_the_least_over_all_thresholds(trials, p_target, costs):
    expected = float(oracle.min_dcf(*trials, p_target, *costs))
    assert min_dcf(*trials, p_target, *costs) == pytest.approx(expected, abs=EXACT)


@pytest.mark.parametrize("share", [0.02, 0.5, 0.98])
def test_both_agree_with_scikit_learn_on_thousands_of_trials_with_ties(share):
    roc_curve = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed").roc_curve
    draw = np.random.default_rng(1)
    labels = (draw.random(5000) < share).astype(int)
    scores = np.round(draw.normal(size=5000) + 2 * labels, 2)
    false_alarms, hits, _ = roc_curve(labels, scores, drop_intermediate=False)
    at = np.argmin(hits - (1 - false_alarms) < 0)  # the first point beyond the crossing
    ends = [(1 - hits[i], false_alarms[i]) for i in (at - 1, at)]
    below, above = (miss - alarm for miss, alarm in ends)
    expected = ends[0][0] + (below / (below - above)) * (ends[1][0] - ends[0][0])
    assert eer(scores, labels) == pytest.approx(expected, abs=EXACT)
    for p in (0.01, 0.5, 0.99):
        expected = (p * (1 - hits) + (1 - p) * false_alarms).min() / min(p, 1 - p)
        assert min_dcf(scores, labels, p) == pytest.approx(expected, abs=EXACT)


def test_eer_of_a_list_done_by_hand():
    # 5 targets, 10 nontargets: above the threshold between 0.5 and 0.6 one target is missed, two nontargets accepted
    targets, nontargets = [0.9, 0.8, 0.7, 0.6, 0.1], [0.95, 0.65, 0.5, 0.4, 0.35, 0.3, 0.25, 0.2, 0.15, 0.05]
    assert eer(targets + nontargets, [1] * 5 + [0] * 10) == pytest.approx(0.2)


@pytest.mark.parametrize("num_targets, num_nontargets", [(1, 1), (3, 8), (8, 3)])
def test_eer_of_constant_scores_is_half(num_targets, num_nontargets):
    labels = [1] * num_targets + [0] * num_nontargets
    for order in (labels, labels[::-1]):
        assert eer([0.25] * len(order), order) == 0.5
        assert min_dcf([0.25] * len(order), order, 0.99) == 1


def test_perfect_and_inverted_scores():
    assert eer([1, 2, 3, 4], [0, 0, 1, 1]) == 0 == min_dcf([1, 2, 3, 4], [0, 0, 1, 1])
    assert eer([1, 2, 3, 4], [1, 1, 0, 0]) == 1 == min_dcf([1, 2, 3, 4], [1, 1, 0, 0])


@oracle.UNHURRIED
@given(oracle.trial_lists(values=st.integers(-5, 5).map(float)), st.randoms(use_true_random=False))
def test_order_of_trials_and_increasing_maps_change_nothing(trials, random):
    scores, labels = trials
    mixed = list(zip(scores, labels))
    random.shuffle(mixed)
    mapped = [math.exp(s) - 100 for s, _ in mixed], [label for _, label in mixed]
    assert eer(*mapped) == eer(scores, labels)
    assert min_dcf(*mapped) == min_dcf(scores, labels)


@oracle.UNHURRIED
@given(oracle.trial_lists())
def test_swapping_labels_and_sign_keeps_eer(trials):
    scores, labels = trials
    assert eer([-s for s in scores], [1 - label for label in labels]) == pytest.approx(eer(scores, labels), abs=EXACT)


@oracle.UNHURRIED
@given(oracle.trial_lists(values=st.floats(allow_nan=False)), st.floats(1e-6, 1 - 1e-6))
def test_both_lie_between_0_and_1_infinite_scores_included(trials, p_target):
    assert 0 <= eer(*trials) <= 1
    assert 0 <= min_dcf(*trials, p_target) <= 1


@oracle.UNHURRIED
@given(oracle.trial_lists(), st.sampled_from([0.01, 0.5, 0.9]))
def test_act_dcf_is_the_cost_at_the_bayes_threshold_and_never_below_min_dcf(trials, p_target):
    llr, labels = trials
    threshold = math.log((1 - p_target) / p_target)
    targets = [s for s, label in zip(llr, labels) if label]
    nontargets = [s for s, label in zip(llr, labels) if not label]
    missed = sum(s < threshold for s in targets) / len(targets)
    accepted = sum(s >= threshold for s in nontargets) / len(nontargets)
    expected = (p_target * missed + (1 - p_target) * accepted) / min(p_target, 1 - p_target)
    assert act_dcf(llr, labels, p_target) == pytest.approx(expected, abs=EXACT)
    assert act_dcf(llr, labels, p_target) >= min_dcf(llr, labels, p_target) - EXACT


def test_act_dcf_exceeds_1_for_scores_that_claim_too_much_and_accepts_at_the_threshold():
    assert act_dcf([9.0, 9.0], [1, 0], 0.01) == pytest.approx(99)
    assert act_dcf([0.0, -1.0], [1, 0], 0.5) == 0
    assert bayes_threshold(0.01, c_miss=10, c_fa=1) == pytest.approx(math.log(9.9))


@oracle.UNHURRIED
@given(oracle.trial_lists(max_size=100))
def test_lower_hull_holds_the_best_point_for_every_weighting_and_nothing_else(trials):
    misses, false_alarms = corners(split(*trials))
    hull = lower_hull(misses, false_alarms)
    for angle in np.linspace(0.01, np.pi / 2 - 0.01, 50):
        cost = np.cos(angle) * misses + np.sin(angle) * false_alarms
        assert (np.cos(angle) * hull[0] + np.sin(angle) * hull[1]).min() == pytest.approx(cost.min())
    dx, dy = (np.diff(side) for side in hull)
    assert (dx[:-1] * dy[1:] > dy[:-1] * dx[1:]).all()  # it turns left at each vertex


def test_lower_hull_survives_a_curve_whose_last_point_undoes_all_others():
    x = np.arange(400)
    convex = 80_000 - 400 * x + x * x // 2
    hull = lower_hull(np.r_[x, 401], np.r_[convex, -10_000_000])
    assert [list(side) for side in hull] == [[0, 401], [80_000, -10_000_000]]


def test_det_curve_thinned_is_a_part_of_the_whole_and_keeps_its_ends():
    draw = np.random.default_rng(0)
    scores, labels = np.r_[draw.normal(2, 1, 3000), draw.normal(0, 1, 20000)], np.r_[np.ones(3000), np.zeros(20000)]
    whole, thin = (set(zip(*det_curve(scores, labels, num))) for num in (None, 200))
    assert thin < whole and 100 < len(thin) < 210
    assert (1.0, 0.0) in thin and (0.0, 1.0) in thin


def test_equal_error_score_is_a_threshold_with_errors_near_the_eer():
    draw = np.random.default_rng(0)
    targets, nontargets = draw.normal(2, 1, 2000), draw.normal(0, 1, 5000)
    labels = np.r_[np.ones(2000), np.zeros(5000)]
    threshold = equal_error_score(split(np.r_[targets, nontargets], labels))
    rate = eer(np.r_[targets, nontargets], labels)
    assert (targets < threshold).mean() == pytest.approx(rate, abs=1.5 / 2000)
    assert (nontargets >= threshold).mean() == pytest.approx(rate, abs=1.5 / 2000)


@pytest.mark.parametrize("scores, labels, says", [
    ([1.0, 2.0], [1, 1], "no nontarget trials"),
    ([1.0, 2.0], [0, 0], "no target trials"),
    ([], [], "no target trials"),
    ([1.0, float("nan"), 0.0], [1, 1, 0], "1 target scores are NaN"),
    ([1.0, 0.0], [1, 0, 0], "equal length"),
    ([[1.0, 0.0]], [[1, 0]], "equal length"),
    ([1.0, 0.0, 2.0], [1, 0, 2], "labels must be 1 (target) or 0 (nontarget)"),
    ([1.0, 0.0], [1, -1], "labels must be 1"),
    ([1.0, 0.0], ["target", "nontarget"], "labels must be 1"),
    (["high", "low"], [1, 0], "scores must be numbers"),
])  # fmt: skip
def test_lists_that_cannot_be_measured_are_refused(scores, labels, says):
    for measure in (eer, min_dcf, act_dcf):
        with pytest.raises(InputError) as error:
            measure(scores, labels)
        assert says in str(error.value)


@pytest.mark.parametrize("p_target, costs", [
    (0, (1, 1)), (1, (1, 1)), (math.nan, (1, 1)), (0.1, (0, 1)), (0.1, (1, math.inf)),
])  # fmt: skip
def test_priors_and_costs_out_of_range_are_refused(p_target, costs):
    for measure in (min_dcf, act_dcf):
        with pytest.raises(InputError):
            measure([1.0, 0.0], [1, 0], p_target, *costs)


@pytest.mark.parametrize("scores", [[1, 0], (True, False), np.float16([1, 0]), np.float32([1, 0])])
@pytest.mark.parametrize("labels", [[True, False], np.int8([1, 0]), [1.0, 0.0]])
def test_any_numeric_type_is_taken_and_left_unchanged(scores, labels):
    before = np.array(scores)
    assert eer(scores, labels) == 0
    assert np.array_equal(scores, before)


def test_importing_the_metrics_loads_neither_torch_nor_matplotlib():
    script = "import sys, wespk.metrics, wespk.metrics.page; print({'torch', 'matplotlib', 'scipy'} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "set()"
