"""Bootstrap confidence intervals for error rates and costs, and a paired test between systems on the same trials.

Trials of one list are not independent: they share speakers and utterances, and an interval that ignores it is too
narrow. So speakers are drawn, with replacement, and a trial weighs the product of how often its two speakers were drawn
(a target trial, whose speakers are one, weighs that number once); all utterances of a speaker go with the speaker. This
is the vertex bootstrap for data on pairs (Snijders and Borgatti, Connections 22(2), 1999). It errs to the wide side
(Owen, "The pigeonhole bootstrap", 2007), and with less than some 20 speakers no bootstrap is to be trusted. Drawing
single trials is there for comparison.

Nothing is sorted again for a resample: weights are gathered in score order and summed up, once for all measures.
"""

import numpy as np

from wespk.metrics.cllr import bits, pooled_cllr
from wespk.metrics.det import bayes_threshold, cost_weights, crossing, lower_hull, split
from wespk.metrics.overlap import bin_bounds, intersection
from wespk.utils.errors import InputError
from wespk.utils.seed import generator

MAX_REDRAWS = 100


class TrialDraw:
    """Draws targets and nontargets, one trial at a time, each class keeping its number. labels (n,): 1 = target."""

    def __init__(self, labels):
        self.num_targets = int(np.count_nonzero(labels))
        self.num_nontargets = len(labels) - self.num_targets

    def __call__(self, rng):
        """Weights (n1,), (n0,) int64 of target and nontarget trials, each in list order."""
        return _counts(rng, self.num_targets), _counts(rng, self.num_nontargets)


class SpeakerDraw:
    """Draws speakers. enroll_speakers, test_speakers (n,): integers >= 0 naming each trial's speakers; labels (n,).

    Raises ``InputError`` when a label contradicts the speakers, or when there are less than two speakers.
    """

    def __init__(self, enroll_speakers, test_speakers, labels):
        enroll, test = np.asarray(enroll_speakers), np.asarray(test_speakers)
        is_target = np.asarray(labels).astype(bool)
        wrong = np.flatnonzero((enroll == test) != is_target)
        if wrong.size:
            kind = "target" if is_target[wrong[0]] else "nontarget"
            raise InputError(
                f"trial number {wrong[0] + 1} is labelled {kind}, which its speakers contradict "
                f"({wrong.size} such trials): correct the list or the speakers"
            )
        used, where = np.unique(np.concatenate([enroll, test]), return_inverse=True)
        if used.size < 2:
            raise InputError("resampling speakers needs at least two speakers")
        enroll, test = where[: len(enroll)].astype(np.int32), where[len(enroll) :].astype(np.int32)
        self.num_speakers = used.size
        self.targets, self.pairs = enroll[is_target], (enroll[~is_target], test[~is_target])

    def __call__(self, rng):
        """Weights (n1,), (n0,) int64 of target and nontarget trials, each in list order."""
        drawn = _counts(rng, self.num_speakers)
        return drawn[self.targets], drawn[self.pairs[0]] * drawn[self.pairs[1]]


def _counts(rng, size):
    return np.bincount(rng.integers(size, size=size), minlength=size)


class Measure:
    """All measures of one system under any weights of its trials.

    scores, labels (n,) as in ``det.split``; p_targets: for minDCF; llr: the scores are natural-log likelihood ratios,
    so actDCF and Cllr mean something and are measured too. ``names`` tells the order of what a call returns.
    """

    def __init__(self, scores, labels, p_targets=(0.01, 0.05), llr=False):
        parts = split(scores, labels)
        scores, is_target = np.asarray(scores), np.asarray(labels).astype(bool)
        self.orders = [np.argsort(scores[mask], kind="stable") for mask in (is_target, ~is_target)]
        self.bounds, self.bins = _block_bounds(parts), bin_bounds(parts)
        self.costs = [cost_weights(p) for p in p_targets]
        self.names = ["eer", *(f"min_dcf_{p:g}" for p in p_targets), "overlap", "min_cllr"]
        self.llr = llr
        if llr:
            self.bayes = [[np.searchsorted(part, bayes_threshold(p)) for part in parts] for p in p_targets]
            self.losses = bits(-parts.targets), bits(parts.nontargets)
            self.names += [*(f"act_dcf_{p:g}" for p in p_targets), "cllr"]

    def __call__(self, target_weights, nontarget_weights):
        """Measures (len(names),) float64 with trials weighted by non-negative integers (n1,), (n0,), in list order."""
        weights = [w[order] for w, order in zip((target_weights, nontarget_weights), self.orders)]
        sums = [np.concatenate([[0], np.cumsum(w)]) for w in weights]
        totals = [s[-1] for s in sums]
        misses, rejected = (s[bound] for s, bound in zip(sums, self.bounds))
        false_alarms = totals[1] - rejected
        miss_rates, false_alarm_rates = misses / totals[0], false_alarms / totals[1]
        values = [_crossing_point(miss_rates, false_alarm_rates)]
        values += [(m * miss_rates + f * false_alarm_rates).min() for m, f in self.costs]
        values.append(intersection(*(np.diff(s[bound]) for s, bound in zip(sums, self.bins))))
        values.append(_min_cllr(misses, false_alarms))
        if self.llr:
            for (m, f), (target, nontarget) in zip(self.costs, self.bayes):
                values.append(m * sums[0][target] / totals[0] + f * (1 - sums[1][nontarget] / totals[1]))
            values.append(sum(_weighted_mean(*pair) for pair in zip(self.losses, weights)) / 2)
        return np.array(values)


def _block_bounds(parts):
    """Positions (k,), (k,) in the sorted targets and nontargets between which no measure under any weights can change.

    The score axis falls into runs of targets alone, runs of nontargets alone, and ties of both; the DET is straight
    within each. Both results run from 0 to the class's size.
    """
    scores = np.unique(np.concatenate(parts))
    ends = [np.searchsorted(part, scores, "right") for part in parts]
    has = [np.diff(e, prepend=0) > 0 for e in ends]
    kind = has[0] + 2 * has[1]
    last_of_run = np.r_[(kind[1:] != kind[:-1]) | (kind[1:] == 3), True]
    return [np.r_[0, e[last_of_run]] for e in ends]


def _crossing_point(miss_rates, false_alarm_rates):
    after = int(np.argmax(miss_rates >= false_alarm_rates))
    pair = [float(r[i]) for i in (after - 1, after) for r in (miss_rates, false_alarm_rates)]
    return crossing(*pair)


def _min_cllr(misses, false_alarms):
    moved = np.r_[True, (np.diff(misses) != 0) | (np.diff(false_alarms) != 0)]
    misses, false_alarms = misses[moved], false_alarms[moved]
    hull = lower_hull(misses, false_alarms)
    return pooled_cllr(np.diff(hull[0]) / misses[-1], -np.diff(hull[1]) / false_alarms[0])


def _weighted_mean(values, weights):
    drawn = weights > 0  # an infinite loss that was not drawn counts nothing
    return values[drawn] @ weights[drawn] / weights.sum()


def resample(measures, draw, num, seed):
    """Measures of each system on the same ``num`` resamples: for each one an array float64 (num, len(measure.names)).

    measures: list of ``Measure`` on the same trials in the same order; draw: a ``TrialDraw`` or ``SpeakerDraw``. A
    resample without targets or without nontargets is drawn again. The result depends on ``seed`` alone.
    """
    rng = generator(seed, "bootstrap")
    rows = [[measure(*weights) for measure in measures] for weights in draws(draw, num, rng)]
    return [np.array(column) for column in zip(*rows)]


def draws(draw, num, rng):
    """``num`` times the weights (n1,), (n0,) that ``draw`` gives, each class with a trial; see ``resample``."""
    for _ in range(num):
        for _ in range(MAX_REDRAWS):
            weights = draw(rng)
            if all(w.any() for w in weights):
                break
        else:
            raise InputError(
                "hardly any resample of the speakers holds targets and nontargets: too few speakers; bootstrap 0 "
                "leaves the intervals out"
            )
        yield weights


def interval(value, resampled, resolution, bounded=True, level=0.95):
    """Confidence interval (low, high) of a measure whose value on the list itself is ``value``.

    resampled (num,): the measure on resamples; resolution: its smallest step, 1 / trials of the smaller class; bounded:
    in [0, 1] (EER, minDCF, overlap, min-Cllr) rather than [0, inf). The percentiles of the resamples are reflected about the
    value (the "basic" interval of Davison and Hinkley, 1997) on the logit or log scale, which keeps them in range.
    Plain percentiles will not do: a minimum over thresholds comes out lower on most resamples, and for minDCF of 40
    simulated speakers they covered the truth in 45 to 90 % of cases instead of 95, this interval in 81 to 99 %. None if
    the resamples do not differ, e.g. where no error was made, or are infinite: they tell no interval.
    """
    if not (np.isfinite(value) and np.isfinite(resampled).all()):
        return None
    low, high = np.quantile(resampled, [(1 - level) / 2, (1 + level) / 2])
    if low == high:
        return None
    offset = resolution / 2
    reflected = 2 * link(value, offset, bounded) - link(np.array([high, low]), offset, bounded)
    ends = unlink(reflected, offset, bounded).tolist()
    return max(ends[0], 0.0), min(ends[1], 1.0) if bounded else ends[1]


def link(x, offset, bounded=True):
    """The scale on which intervals are symmetric: logit if bounded, else log, both with ``offset`` against infinity."""
    return np.log(x + offset) - (np.log(1 - x + offset) if bounded else 0.0)


def unlink(y, offset, bounded=True):
    """The inverse of ``link``."""
    return (np.exp(y) * (1 + offset) - offset) / (1 + np.exp(y)) if bounded else np.exp(y) - offset


def paired_test(first, second, level=0.95):
    """Difference second - first of two systems resampled together, arrays (num,): (low, high, p).

    (low, high) is the percentile interval of the difference, in which a minimum's bias cancels; p is two-sided: twice
    the share of resamples in which the sign is the rarer one, counting ties for both and one resample extra, so that it
    is never 0.
    """
    difference = np.asarray(second) - np.asarray(first)
    rarer = min(np.count_nonzero(difference <= 0), np.count_nonzero(difference >= 0))
    low, high = np.quantile(difference, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high), float(min(1.0, 2 * (rarer + 1) / (difference.size + 1)))


def speakers_from_targets(enroll, test, labels):
    """Number the speakers behind utterance ids without knowing them: target trials tie utterances to one speaker.

    enroll, test: lists of ids (n,); labels (n,). Returns (enroll speakers, test speakers) int (n,). A speaker whose
    utterances no chain of target trials connects counts as several. Raises ``InputError`` if a nontarget trial joins
    utterances that target trials say are one speaker's.
    """
    ids = {key: i for i, key in enumerate(dict.fromkeys([*enroll, *test]))}
    left, right = (np.fromiter((ids[key] for key in side), np.int64, len(side)) for side in (enroll, test))
    is_target = np.asarray(labels).astype(bool)
    speaker = _components(len(ids), left[is_target], right[is_target])[[left, right]]
    clash = np.flatnonzero((speaker[0] == speaker[1]) & ~is_target)
    if clash.size:
        raise InputError(
            f"trial number {clash[0] + 1}, '{enroll[clash[0]]} {test[clash[0]]}', is labelled nontarget, but target "
            "trials make its sides one speaker: correct the list"
        )
    return speaker[0], speaker[1]


def _components(size, left, right):
    """The smallest node reachable from each of ``size`` nodes along the edges (left, right)."""
    root = np.arange(size)
    while True:
        lowest = np.minimum(root[left], root[right])
        before = root.copy()
        for side in (left, right):
            np.minimum.at(root, before[side], lowest)
        root = root[root]
        if np.array_equal(root, before):
            return root
