"""Detection errors: EER, minDCF and actDCF of a list of scored trials, with ties counted as ties.

A trial is accepted when its score is at or above the threshold. The threshold moves only between distinct scores, and
"accept all" and "reject all" are among its places, so a tie is never split to anyone's advantage. Joining the points
(false-alarm rate, miss rate) by straight lines gives the DET curve used here; a line that is not axis-parallel is a
tie, and stands for deciding within the tie by chance. All costs are O(n log n), the sort; targets and nontargets are
sorted apart, which is several times faster than one argsort. Infinite scores are allowed, NaN is refused.
"""

from typing import NamedTuple

import numpy as np

from wespk.utils.errors import InputError


class Split(NamedTuple):
    """Scores of one trial list: ``targets`` (n1,) and ``nontargets`` (n0,), each float and ascending."""

    targets: np.ndarray
    nontargets: np.ndarray


def split(scores, labels):
    """Check scores (n,) and labels (n,) (1 or True = target, 0 or False = nontarget) and part them; both sorted.

    Raises ``InputError`` on unequal lengths, labels other than 0 and 1, NaN, or a list with only one class.
    """
    scores, labels = np.asarray(scores), np.asarray(labels)
    if scores.ndim != 1 or scores.shape != labels.shape:
        raise InputError(f"scores {scores.shape} and labels {labels.shape} must be two lists of equal length")
    if not (np.issubdtype(scores.dtype, np.floating) and scores.dtype.itemsize >= 4):
        scores = _as_floats(scores)
    is_target = _as_mask(labels)
    targets, nontargets = scores[is_target], scores[~is_target]
    for kind, part in (("target", targets), ("nontarget", nontargets)):
        if part.size == 0:
            raise InputError(f"the trial list has no {kind} trials: error rates need targets and nontargets")
        part.sort()
        if np.isnan(part[-1]):  # NaN sorts last
            raise InputError(f"{np.isnan(part).sum()} {kind} scores are NaN: find the embeddings that gave them")
    return Split(targets, nontargets)


def _as_floats(scores):
    try:
        return scores.astype(np.float64)
    except (TypeError, ValueError):
        raise InputError(f"scores must be numbers, not {scores.dtype}") from None


def _as_mask(labels):
    if labels.dtype == bool:
        return labels
    is_target = labels == 1 if np.issubdtype(labels.dtype, np.number) else None
    if is_target is None or np.count_nonzero(is_target) + np.count_nonzero(labels == 0) != labels.size:
        raise InputError("labels must be 1 (target) or 0 (nontarget)")
    return is_target


def check_prior(p_target, c_miss=1.0, c_fa=1.0):
    """Raise ``InputError`` unless 0 < p_target < 1 and both costs are positive and finite."""
    if not 0 < p_target < 1:
        raise InputError(f"p_target must lie between 0 and 1, both excluded, not {p_target}")
    if not (0 < c_miss < np.inf and 0 < c_fa < np.inf):
        raise InputError(f"the costs c_miss and c_fa must be positive numbers, not {c_miss} and {c_fa}")


def error_rates(parts, thresholds):
    """(miss rates, false-alarm rates), float64, of a ``Split`` at each threshold: accepted is a score >= threshold."""
    misses = np.searchsorted(parts.targets, thresholds, "left") / parts.targets.size
    false_alarms = 1 - np.searchsorted(parts.nontargets, thresholds, "left") / parts.nontargets.size
    return misses, false_alarms


def eer(scores, labels):
    """Equal error rate, a fraction: where the DET curve, as the module says, crosses miss rate = false-alarm rate.

    Constant scores give 0.5. A system worse than chance gives more than 0.5. Arguments and errors as in ``split``.
    """
    return eer_of(split(scores, labels))


def eer_of(parts):
    """``eer`` of a ``Split``. The crossing is found by bisection; the curve itself is never built."""
    score = equal_error_score(parts)
    counts = [[np.searchsorted(part, score, side) for part in parts] for side in ("left", "right")]
    total = parts.targets.size, parts.nontargets.size
    (miss, reject), (miss_after, reject_after) = [[c / n for c, n in zip(pair, total)] for pair in counts]
    return crossing(miss, 1 - reject, miss_after, 1 - reject_after)


def equal_error_score(parts):
    """The smallest score which, once rejected too, leaves no fewer misses than false alarms (as rates)."""
    found = []
    for part in parts:
        low, high = 0, part.size - 1  # the highest score of a class may not suffice, the highest of both does
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if _crossed(parts, part[middle]) else (middle + 1, high)
        if _crossed(parts, part[low]):
            found.append(part[low])
    return min(found)


def _crossed(parts, score):
    targets, nontargets = parts
    rejected = np.searchsorted(targets, score, "right"), np.searchsorted(nontargets, score, "right")
    return int(rejected[0]) * nontargets.size >= (nontargets.size - int(rejected[1])) * targets.size


def crossing(miss, false_alarm, miss_after, false_alarm_after):
    """Error rate where the line between two DET points, on either side of it, meets miss = false alarm."""
    below, above = false_alarm - miss, miss_after - false_alarm_after
    share = below / (below + above) if below + above > 0 else 1.0
    return float(miss + share * (miss_after - miss))


def corners(parts):
    """The DET points, as counts, among which every non-dominated one is found: (misses, false alarms) int64.

    Ascending in misses, descending in false alarms, no point twice. Walks over the distinct scores of the smaller
    class: the threshold that loses least for a target kept is a target's score, and for a nontarget rejected the next
    place above it.
    """
    targets, nontargets = parts
    if targets.size <= nontargets.size:
        kept = np.flatnonzero(np.r_[True, targets[1:] != targets[:-1]])
        false_alarms = nontargets.size - np.searchsorted(nontargets, targets[kept], "left")
        return np.r_[kept, targets.size], np.r_[false_alarms, 0]
    last = np.flatnonzero(np.r_[nontargets[1:] != nontargets[:-1], True])
    misses = np.searchsorted(targets, nontargets[last], "right")
    return np.r_[0, misses], nontargets.size - np.r_[0, last + 1]


def min_dcf(scores, labels, p_target=0.01, c_miss=1.0, c_fa=1.0):
    """Smallest detection cost over all thresholds, divided by the better of accept-all's and reject-all's: in [0, 1].

    cost = c_miss * p_target * miss rate + c_fa * (1 - p_target) * false-alarm rate (NIST SRE 2008 evaluation plan,
    normalised as there). Arguments and errors as in ``split``; p_target in (0, 1).
    """
    check_prior(p_target, c_miss, c_fa)
    parts = split(scores, labels)
    return min_dcf_of(parts, *corners(parts), p_target, c_miss, c_fa)


def min_dcf_of(parts, misses, false_alarms, p_target, c_miss=1.0, c_fa=1.0):
    """``min_dcf`` over points given as counts (see ``corners``)."""
    weights = cost_weights(p_target, c_miss, c_fa)
    costs = misses * (weights[0] / parts.targets.size) + false_alarms * (weights[1] / parts.nontargets.size)
    return float(costs.min())


def cost_weights(p_target, c_miss=1.0, c_fa=1.0):
    """(weight of the miss rate, weight of the false-alarm rate) in the normalised detection cost."""
    miss, false_alarm = c_miss * p_target, c_fa * (1 - p_target)
    return miss / min(miss, false_alarm), false_alarm / min(miss, false_alarm)


def bayes_threshold(p_target, c_miss=1.0, c_fa=1.0):
    """The threshold on natural-log likelihood ratios with the least expected cost."""
    return float(np.log(c_fa) + np.log1p(-p_target) - np.log(c_miss) - np.log(p_target))


def act_dcf(llr, labels, p_target=0.01, c_miss=1.0, c_fa=1.0):
    """Normalised detection cost, as in ``min_dcf``, at the Bayes threshold; may exceed 1.

    llr (n,): natural-log likelihood ratios; a raw cosine is none, and its actDCF says nothing. A score equal to the
    threshold is accepted.
    """
    check_prior(p_target, c_miss, c_fa)
    misses, false_alarms = error_rates(split(llr, labels), bayes_threshold(p_target, c_miss, c_fa))
    weights = cost_weights(p_target, c_miss, c_fa)
    return float(weights[0] * misses + weights[1] * false_alarms)


def det_curve(scores, labels, num_points=None):
    """DET curve: (false-alarm rates, miss rates), float64, from accept-all to reject-all, points as the module says.

    ``num_points``: draw it from about so many of its points only, dense where either error is rare; all by default.
    """
    parts = split(scores, labels)
    if num_points is None or sum(p.size for p in parts) <= num_points:
        thresholds = np.unique(np.concatenate(parts))
    else:
        thresholds = np.unique(np.concatenate([part[_dense_ends(part.size, num_points // 2)] for part in parts]))
    misses, false_alarms = error_rates(parts, thresholds)
    return np.r_[false_alarms, 0.0], np.r_[misses, 1.0]


def _dense_ends(size, num):
    """About ``num`` of the positions 0..size-1, both ends included, evenly spaced on the logit of position / size."""
    logits = np.linspace(-1, 1, num) * np.log(size)
    return np.unique(np.r_[0, np.rint((size - 1) / (1 + np.exp(-logits))).astype(np.int64), size - 1])


def lower_hull(misses, false_alarms):
    """Vertices of the ROC's lower convex hull. Points as from ``corners``: counts, misses ascending, none twice.

    Points on or above the line between their neighbours go, all at once, pass by pass; when few go in a pass, a scan
    with a stack finishes.
    """
    x, y = np.asarray(misses, dtype=np.int64), np.asarray(false_alarms, dtype=np.int64)
    while x.size > 2:
        dx, dy = np.diff(x), np.diff(y)
        keep = np.r_[True, dx[:-1] * dy[1:] > dy[:-1] * dx[1:], True]
        shrunk = np.count_nonzero(keep) < 0.9 * x.size
        x, y = x[keep], y[keep]
        if not shrunk:
            break
    stack = []
    for point in zip(x.tolist(), y.tolist()):
        while len(stack) > 1 and not _turns_left(*stack[-2:], point):
            stack.pop()
        stack.append(point)
    return tuple(np.array(stack, dtype=np.int64).T)


def _turns_left(a, b, c):
    return (b[0] - a[0]) * (c[1] - b[1]) > (b[1] - a[1]) * (c[0] - b[0])
