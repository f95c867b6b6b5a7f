"""Bootstrap confidence intervals for error rates and costs, and a paired test between systems on the same trials.

Trials of one list are not independent: they share speakers and utterances, and an interval that ignores it is too
narrow. So speakers are drawn, with replacement, and a trial weighs the product of how often its two speakers were drawn
(a target trial, whose speakers are one, weighs that number once); all utterances of a speaker go with the speaker. This
is the vertex bootstrap for data on pairs (Snijders and Borgatti, Connections 22(2), 1999). It errs to the wide side
(Owen, "The pigeonhole bootstrap", 2007), and with less than some 20 speakers no bootstrap is to be trusted. Drawing
single trials is there for comparison.

Nothing is sorted again for a resample, nor is each trial looked at: measures need the weights of all trials between two
cuts of the score axis (``measures.Measure``), which for drawn speakers are products with a sparse table of the trials of each
pair of speakers in each interval, and for drawn trials multinomial numbers.
"""

import numpy as np

from wespk.utils.errors import InputError
from wespk.utils.seed import generator

MAX_REDRAWS = 100
BLOCK = 2_000_000  # numbers held at a time
SIDE_BY_SIDE = 16  # resamples measured at a time, if there is room


class TrialDraw:
    """Draws targets and nontargets, one trial at a time, each class keeping its number.

    Each system has draws of its own: systems are not paired by them, nor is Cllr, which needs single trials, paired with the
    other measures.
    """

    def sums(self, measure, num, rng):
        """Yields what ``Measure.of_sums`` takes for ``num`` resamples, some at a time."""
        sizes = [np.diff(cuts) for cuts in measure.cuts]
        for block in _blocks(num, sum(map(len, sizes))):
            counts = [rng.multinomial(s.sum(), s / s.sum(), block).T for s in sizes]
            losses = [np.array([_drawn(part, rng).sum() for _ in range(block)]) for part in measure.losses]
            yield [_running(c) for c in counts], losses


def _drawn(values, rng):
    return values[rng.integers(len(values), size=len(values))]


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
        enroll, test = where[: len(enroll)], where[len(enroll) :]
        self.num_speakers = used.size
        targets, self._of_target = np.unique(enroll[is_target], return_inverse=True)
        pairs = (enroll * used.size + test)[~is_target]
        pairs, self._of_nontarget = np.unique(pairs, return_inverse=True)
        self._units = targets, pairs // used.size, pairs % used.size  # speakers of targets, and pairs of nontargets

    def __call__(self, rng):
        """Weights (n1,), (n0,) int64 of target and nontarget trials, each in list order, of one draw."""
        targets, pairs = self._weights(self._draw(rng))
        return targets[self._of_target], pairs[self._of_nontarget]

    def _weights(self, drawn):
        """Weights of the units, speakers (u1, ...) and pairs (u0, ...), of speakers drawn so many times (S, ...)."""
        targets, enroll, test = self._units
        return drawn[targets], drawn[enroll] * drawn[test]

    def _draw(self, rng):
        """How often each speaker is drawn (S,) int64; anew if that leaves no target or no nontarget."""
        for _ in range(MAX_REDRAWS):
            drawn = np.bincount(rng.integers(self.num_speakers, size=self.num_speakers), minlength=self.num_speakers)
            if drawn[self._units[0]].any() and self._has_pair(drawn):
                return drawn
        raise InputError(
            "hardly any resample of the speakers holds targets and nontargets: too few speakers; bootstrap 0 "
            "leaves the intervals out"
        )

    def _has_pair(self, drawn, step=4096):
        _, enroll, test = self._units  # nearly always among the first
        starts = range(0, len(enroll), step)
        return any((drawn[enroll[i : i + step]] * drawn[test[i : i + step]]).any() for i in starts)

    def sums(self, measure, num, rng):
        """Yields what ``Measure.of_sums`` takes for ``num`` resamples, some at a time."""
        units = [part[order] for part, order in zip((self._of_target, self._of_nontarget), measure.orders)]
        tables = [_table(np.diff(cuts), unit) for cuts, unit in zip(measure.cuts, units)]
        losses = [np.bincount(unit, part) for unit, part in zip(units, measure.losses)]
        for block in _blocks(num, sum(sum(table.shape) for table in tables)):
            drawn = np.stack([self._draw(rng) for _ in range(block)], axis=1).astype(np.float64)
            weights = self._weights(drawn)
            yield ([_running(table @ w) for table, w in zip(tables, weights)],
                   [_weighted(loss, w) for loss, w in zip(losses, weights)])


def _table(sizes, units):
    """Numbers of the trials of each unit in intervals of so many: sparse (len(sizes), units), float64."""
    from scipy.sparse import csr_matrix

    rows = np.repeat(np.arange(len(sizes), dtype=np.int32), sizes)
    table = csr_matrix((np.ones(len(units)), (rows, units.astype(np.int32))), (len(sizes), units.max() + 1))
    table.sum_duplicates()
    return table


def _weighted(losses, weights):
    """Sums (B,) of losses (u,) with weights (u, B); an infinite loss that was not drawn counts nothing."""
    endless = np.isinf(losses)
    return np.where(weights[endless].any(axis=0), np.inf, np.where(endless, 0.0, losses) @ weights)


def _running(counts):
    """Running sums (k + 1, B) of counts (k, B), from 0."""
    return np.concatenate([np.zeros((1, counts.shape[1]), counts.dtype), np.cumsum(counts, axis=0)])


def _blocks(num, width):
    """Parts of ``num`` resamples that need ``width`` numbers each."""
    size = max(1, min(SIDE_BY_SIDE, BLOCK // width))
    return [min(size, num - first) for first in range(0, num, size)]


def resample(measures, draw, num, seed):
    """Measures of each system on ``num`` resamples: for each one an array float64 (num, len(measure.names)).

    measures: list of ``Measure`` on the same trials in the same order; draw: a ``TrialDraw`` or ``SpeakerDraw``. The
    result depends on ``seed`` alone: a ``SpeakerDraw`` draws the same speakers for each system. Raises ``InputError`` if
    hardly any resample of the speakers has targets and nontargets.
    """
    return [np.concatenate([measure.of_sums(*sums) for sums in draw.sums(measure, num, generator(seed, "bootstrap"))])
            for measure in measures]  # fmt: skip


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
