"""All measures of a scored trial list under weights of its trials, as the bootstrap wants them.

Sorted by their scores, targets and nontargets are cut where a measure can change; what lies between two cuts of a class
counts by the sum of its weights alone. Cllr besides takes the sum of the weighted losses.
"""

import numpy as np

from wespk.metrics.cllr import bits, pooled_cllr
from wespk.metrics.det import bayes_threshold, cost_weights, crossing, lower_hull, split
from wespk.metrics.overlap import bin_bounds, intersection


class Measure:
    """EER, minDCFs, overlap and min-Cllr of one system under any weights of its trials.

    scores, labels (n,) as in ``det.split``; p_targets: for minDCF; llr: the scores are natural-log likelihood ratios,
    so actDCF and Cllr mean something and are measured too; hull: False leaves min-Cllr out, which takes the most time.

    ``names`` tells the order of the measures. ``orders``: the positions of targets (n1,) and nontargets (n0,), each in list
    order, by ascending score; ``cuts``: places in these orders, from 0 to n1 and n0, between which weights are summed up;
    ``losses``: what each trial costs in Cllr, in these orders (none unless llr).
    """

    def __init__(self, scores, labels, p_targets=(0.01, 0.05), llr=False, hull=True):
        parts = split(scores, labels)
        scores, is_target = np.asarray(scores), np.asarray(labels).astype(bool)
        self.orders = [np.argsort(scores[mask], kind="stable") for mask in (is_target, ~is_target)]
        self.losses = [bits(-parts.targets), bits(parts.nontargets)] if llr else []
        thresholds = [bayes_threshold(p) for p in p_targets] if llr else []
        places = [_block_bounds(parts), bin_bounds(parts), [np.searchsorted(part, thresholds) for part in parts]]
        self.cuts = [np.unique(np.concatenate(of_class)) for of_class in zip(*places)]
        self._blocks, self._bins, self._bayes = (
            [np.searchsorted(cuts, of_class) for cuts, of_class in zip(self.cuts, kind)] for kind in places
        )
        self._costs, self._hull = [cost_weights(p) for p in p_targets], hull
        self.names = ["eer", *(f"min_dcf_{p:g}" for p in p_targets), "overlap", *(["min_cllr"] if hull else [])]
        self.names += [*(f"act_dcf_{p:g}" for p in p_targets), "cllr"] if llr else []

    def __call__(self, target_weights, nontarget_weights):
        """Measures (len(names),) float64 with trials weighted by non-negative integers (n1,), (n0,), in list order."""
        weights = [w[order] for w, order in zip((target_weights, nontarget_weights), self.orders)]
        sums = [np.concatenate([[0], np.cumsum(w)])[cuts, None] for w, cuts in zip(weights, self.cuts)]
        losses = [part[w > 0] @ w[w > 0] for part, w in zip(self.losses, weights)]  # an infinite one not drawn costs nothing
        return self.of_sums(sums, np.reshape(losses, (-1, 1)))[0]

    def of_list(self):
        """Measures (len(names),) float64 of the list itself, each trial once."""
        return self(*(np.ones(len(order), np.int64) for order in self.orders))

    def of_sums(self, sums, losses=()):
        """Measures (B, len(names)) float64 under B weightings.

        sums: the weights of targets and of nontargets below each of their ``cuts``, (c1, B) and (c0, B); losses: the
        weighted sums (B,) of the targets' and of the nontargets' ``losses``, if there are any.
        """
        totals = [s[-1] for s in sums]
        misses, rejected = (s[blocks] for s, blocks in zip(sums, self._blocks))
        false_alarms = totals[1] - rejected
        miss_rates, false_alarm_rates = misses / totals[0], false_alarms / totals[1]
        values = [_crossings(miss_rates, false_alarm_rates)]
        values += [(m * miss_rates + f * false_alarm_rates).min(axis=0) for m, f in self._costs]
        values.append(intersection(*(np.diff(s[bins], axis=0).T for s, bins in zip(sums, self._bins))))
        if self._hull:
            values.append([_min_cllr(*pair) for pair in zip(misses.T, false_alarms.T)])
        if self.losses:
            targets, nontargets = (s[places] for s, places in zip(sums, self._bayes))
            values += [m * miss / totals[0] + f * (1 - reject / totals[1])
                       for (m, f), miss, reject in zip(self._costs, targets, nontargets)]  # fmt: skip
            values.append((losses[0] / totals[0] + losses[1] / totals[1]) / 2)
        return np.stack(values, axis=1)


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


def _crossings(miss_rates, false_alarm_rates):
    """``det.crossing`` of each column, (k, B) -> list of B; a column runs from accept-all to reject-all."""
    after, column = np.argmax(miss_rates >= false_alarm_rates, axis=0), np.arange(miss_rates.shape[1])
    points = [rates[place, column] for place in (after - 1, after) for rates in (miss_rates, false_alarm_rates)]
    return [crossing(*pair) for pair in zip(*points)]


def _min_cllr(misses, false_alarms):
    moved = np.r_[True, (np.diff(misses) != 0) | (np.diff(false_alarms) != 0)]
    misses, false_alarms = misses[moved], false_alarms[moved]
    hull = lower_hull(misses, false_alarms)
    return pooled_cllr(np.diff(hull[0]) / misses[-1], -np.diff(hull[1]) / false_alarms[0])
