"""Bootstrap: weights mean repetition, speakers go together, intervals cover, paired systems share their resamples."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.metrics import metric_oracles as oracle
from wespk.metrics import act_dcf, cllr, eer, min_cllr, min_dcf
from wespk.metrics.bootstrap import (
    SpeakerDraw,
    TrialDraw,
    interval,
    paired_test,
    resample,
    speakers_from_targets,
)
from wespk.metrics.measures import Measure
from wespk.utils.errors import InputError
from wespk.utils.seed import generator


def by_hand(scores, labels, p_targets, edges):
    """The measures of a list, in ``Measure``'s order; the overlap in bins with these edges."""
    minima = [min_dcf(scores, labels, p) for p in p_targets]
    actual = [act_dcf(scores, labels, p) for p in p_targets]
    shares = [np.histogram(scores[labels == label], edges)[0] / np.count_nonzero(labels == label) for label in (0, 1)]
    return [eer(scores, labels), *minima, np.minimum(*shares).sum(), min_cllr(scores, labels), *actual, cllr(scores, labels)]


@oracle.UNHURRIED
@given(oracle.trial_lists(), st.data())
def test_a_weighted_trial_counts_as_so_many_copies(trials, data):
    scores, labels = map(np.array, trials)
    weights = np.array(data.draw(st.lists(st.integers(0, 3), min_size=len(labels), max_size=len(labels))))
    for label in (0, 1):
        weights[np.argmax(labels == label)] += 1  # each class keeps a trial
    measured = Measure(scores, labels, (0.01, 0.5), llr=True)(weights[labels == 1], weights[labels == 0])
    copies = np.repeat(scores, weights), np.repeat(labels, weights)
    edges = np.linspace(scores.min(), scores.max(), 101)  # of the list itself, whatever is drawn
    edges = edges if edges[0] < edges[-1] else np.array([edges[0], edges[0] + 1])
    assert measured == pytest.approx(by_hand(*copies, (0.01, 0.5), edges), abs=1e-9)


def test_an_infinite_loss_that_was_not_drawn_costs_nothing():
    measure = Measure([-math.inf, 0.0, 0.0], [1, 1, 0], (0.5,), llr=True)
    assert measure(np.array([0, 1]), np.array([1]))[-1] == 1
    assert measure(np.array([1, 1]), np.array([1]))[-1] == math.inf


def test_a_speaker_is_drawn_with_all_of_its_trials():
    enroll, test, labels = [7, 7, 5, 5, 7, 9], [7, 7, 5, 9, 9, 9], [1, 1, 1, 0, 0, 1]
    draw = SpeakerDraw(enroll, test, labels)
    assert draw.num_speakers == 3
    for seed in range(20):
        targets, nontargets = draw(np.random.default_rng(seed))
        a, _, b, c = targets  # speaker 7 twice, 5, 9
        assert targets[0] == targets[1] and a + b + c == 3
        assert nontargets.tolist() == [b * c, a * c]


def list_of_speakers(draw, num_speakers, num_trials, spread=0.6):
    """Scores with an offset for each speaker and each pair of speakers: (scores, labels, enroll, test)."""
    enroll, other = draw.integers(num_speakers, size=num_trials), draw.integers(num_speakers, size=num_trials)
    test = np.where(draw.random(num_trials) < 0.5, enroll, other)
    labels = (enroll == test).astype(int)
    own, pair = draw.normal(size=num_speakers) * spread, draw.normal(size=(num_speakers, num_speakers)) * spread
    offset = np.where(labels == 1, 3 + 1.5 * own[enroll], pair[enroll, test] + 0.5 * (own[enroll] + own[test]))
    return offset + draw.normal(size=num_trials), labels, enroll, test


@pytest.mark.parametrize("block", [1, 4000, 10**9])
def test_resamples_are_what_a_measure_says_of_the_weights_drawn(block, monkeypatch):
    monkeypatch.setattr("wespk.metrics.bootstrap.BLOCK", block)
    scores, labels, enroll, test = list_of_speakers(np.random.default_rng(0), 15, 400)
    scores[::7] = np.round(scores[::7])  # ties
    scores[np.argmax(labels)] = -math.inf
    draw = SpeakerDraw(enroll, test, labels)
    for measure in (Measure(scores, labels, (0.05,), llr=True), Measure(-scores, labels, (0.01, 0.5), hull=False)):
        rng = generator(7, "bootstrap")
        one_by_one = np.array([measure(*draw(rng)) for _ in range(37)])
        assert resample([measure], draw, 37, 7)[0] == pytest.approx(one_by_one, rel=1e-12)
    assert {math.isinf(cllr) for cllr in resample([Measure(scores, labels, llr=True)], draw, 37, 7)[0][:, -1]} == {True, False}


def test_drawn_trials_are_those_of_single_draws_with_replacement():
    scores, labels, *_ = list_of_speakers(np.random.default_rng(4), 30, 900)
    measure, rng = Measure(scores, labels, (0.05,), llr=True), np.random.default_rng(5)
    counts = [np.count_nonzero(labels == label) for label in (1, 0)]
    slow = np.array([measure(*(np.bincount(rng.integers(n, size=n), minlength=n) for n in counts)) for _ in range(600)])
    fast = resample([measure], TrialDraw(), 600, 1)[0]
    assert np.all(np.abs(fast.mean(0) - slow.mean(0)) < 0.25 * slow.std(0))
    assert fast.std(0) == pytest.approx(slow.std(0), rel=0.15)  # five times the error of the ratio of two such
    for sums, losses in TrialDraw().sums(measure, 20, rng):
        assert [set(s[-1]) for s in sums] == [{n} for n in counts] and [len(part) for part in losses] == [s.shape[1] for s in sums]


def test_intervals_cover_the_truth_if_speakers_are_drawn_and_fail_to_if_trials_are():
    draw = np.random.default_rng(3)
    truth = eer(*list_of_speakers(draw, 3000, 200_000)[:2])
    covered = {SpeakerDraw: 0, TrialDraw: 0}
    for seed in range(40):
        scores, labels, enroll, test = list_of_speakers(draw, 60, 2000)
        measure = Measure(scores, labels, ())
        for kind, how in ((SpeakerDraw, SpeakerDraw(enroll, test, labels)), (TrialDraw, TrialDraw())):
            resampled = resample([measure], how, 100, seed)[0][:, 0]
            low, high = interval(eer(scores, labels), resampled, 1 / labels.sum())
            covered[kind] += low <= truth <= high
    assert covered[SpeakerDraw] >= 35  # of 40; 38 expected
    assert covered[TrialDraw] <= 33  # about 28 expected


def test_resampling_depends_on_the_seed_alone_and_systems_share_it():
    scores, labels, enroll, test = list_of_speakers(np.random.default_rng(0), 10, 300)
    one, other = Measure(scores, labels), Measure(-scores, labels)
    draw = SpeakerDraw(enroll, test, labels)
    alone, (first, second) = resample([one], draw, 20, 5)[0], resample([one, other], draw, 20, 5)
    assert np.array_equal(alone, first)
    assert second[:, 0] == pytest.approx(1 - first[:, 0])  # the same resamples, scored the other way round
    assert not np.array_equal(alone, resample([one], draw, 20, 6)[0])


def test_paired_test_sees_a_small_steady_gain_and_none_where_there_is_none():
    draw = np.random.default_rng(1)
    scores, labels, enroll, test = list_of_speakers(draw, 60, 3000)
    better = scores + 0.4 * labels + 0.05 * draw.normal(size=3000)
    same = scores + 0.05 * draw.normal(size=3000)
    base, gained, equal = resample([Measure(s, labels, ()) for s in (scores, better, same)],
                                   SpeakerDraw(enroll, test, labels), 200, 0)  # fmt: skip
    low, high, p = paired_test(base[:, 0], gained[:, 0])
    assert low < high < 0 and p == pytest.approx(2 / 201)
    low, high, p = paired_test(base[:, 0], equal[:, 0])
    assert low < 0 < high and p > 0.05
    assert paired_test(base[:, 0], base[:, 0]) == (0, 0, 1)


def test_interval_is_the_reflection_of_percentiles_and_stays_in_range():
    draw = np.random.default_rng(0)
    values = draw.normal(0.3, 0.01, 20000)
    assert interval(0.3, values, 1e-6) == pytest.approx((0.2804, 0.3196), abs=2e-3)
    assert interval(0.31, values, 1e-6)[0] > interval(0.3, values, 1e-6)[0]  # resamples too low: the interval moves up
    low, high = interval(0.001, draw.random(500) * 0.01, 1e-3)
    assert 0 <= low < 0.001 < high <= 1
    low, high = interval(0.999, 1 - draw.random(500) * 0.01, 1e-3)
    assert 0 <= low < 0.999 < high <= 1
    assert interval(1.5, draw.normal(1.5, 0.1, 500), 1e-3, bounded=False)[1] > 1.6


@pytest.mark.parametrize("value, resampled", [(0.0, [0.0] * 9), (math.inf, [math.inf, 1.0]), (1.0, [1.0, math.inf])])
def test_no_interval_is_made_up_where_resamples_do_not_tell(value, resampled):
    assert interval(value, np.array(resampled), 0.1) is None


def test_speakers_are_found_from_chains_of_target_trials():
    enroll, test, labels = ["c", "a", "b", "x", "a", "q"], ["d", "b", "c", "y", "x", "d"], [1, 1, 1, 1, 0, 0]
    left, right = speakers_from_targets(enroll, test, labels)
    assert left[0] == right[0] == left[1] == left[2] == left[4] == right[5]
    assert left[3] == right[3] == right[4]
    assert len({left[0], left[3], left[5]}) == 3


@oracle.UNHURRIED
@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), min_size=1, max_size=40))
def test_found_speakers_are_the_connected_components(edges):
    names = {i: {i} for i in range(31)}
    for a, b in edges:
        merged = names[a] | names[b]
        names.update(dict.fromkeys(merged, merged))
    left, right = speakers_from_targets([str(a) for a, _ in edges], [str(b) for _, b in edges], [1] * len(edges))
    assert np.array_equal(left, right)
    for (a, _), one in zip(edges, left):
        for (b, _), other in zip(edges, left):
            assert (one == other) == (b in names[a])


def test_labels_that_contradict_the_speakers_are_refused():
    with pytest.raises(InputError, match="trial number 2 is labelled nontarget"):
        SpeakerDraw([0, 1, 2], [0, 1, 1], [1, 0, 0])
    with pytest.raises(InputError, match="trial number 3, 'a c', is labelled nontarget"):
        speakers_from_targets(["a", "b", "a"], ["b", "c", "c"], [1, 1, 0])


def test_speakers_too_few_to_resample_are_refused(monkeypatch):
    with pytest.raises(InputError, match="at least two speakers"):
        SpeakerDraw([0, 0], [0, 0], [1, 1])
    with pytest.raises(InputError, match="too few speakers"):
        draw = SpeakerDraw([0, 0], [0, 1], [1, 0])
        monkeypatch.setattr(np, "bincount", lambda drawn, minlength: np.array([0, 2]))  # never the one with a target
        resample([Measure([0.0, 1.0], [1, 0])], draw, 1, 0)
