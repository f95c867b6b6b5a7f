"""Slow, exact versions of the measures: every threshold, one after the other, in fractions."""

from fractions import Fraction
from itertools import pairwise

from hypothesis import settings
from hypothesis import strategies as st

UNHURRIED = settings(deadline=None, max_examples=60)  # no limit on time: the machine may be busy


def det_points(scores, labels):
    """(miss, false alarm) as fractions at every distinct threshold, from accept-all to reject-all."""
    targets = [s for s, label in zip(scores, labels) if label]
    nontargets = [s for s, label in zip(scores, labels) if not label]
    points = []
    for threshold in [*sorted(set(scores)), None]:
        missed = sum(threshold is None or s < threshold for s in targets)
        accepted = sum(threshold is not None and s >= threshold for s in nontargets)
        points.append((Fraction(missed, len(targets)), Fraction(accepted, len(nontargets))))
    return points


def eer(scores, labels):
    points = det_points(scores, labels)
    for (miss, alarm), (miss_after, alarm_after) in pairwise(points):
        if miss < alarm and miss_after >= alarm_after:
            share = (alarm - miss) / (alarm - miss + miss_after - alarm_after)
            return miss + share * (miss_after - miss)
    raise AssertionError("the curve runs from miss 0, false alarm 1 to the reverse and must cross")


def min_dcf(scores, labels, p_target, c_miss=1, c_fa=1):
    p_target = Fraction(p_target)
    costs = [c_miss * p_target * m + c_fa * (1 - p_target) * f for m, f in det_points(scores, labels)]
    return min(costs) / min(c_miss * p_target, c_fa * (1 - p_target))


@st.composite
def trial_lists(draw, max_size=40, values=None):
    """(scores, labels) with at least one trial of each class and, as a rule, many ties."""
    if values is None:
        values = st.integers(-4, 4).map(float) | st.floats(-3, 3, width=32)
    targets = draw(st.lists(values, min_size=1, max_size=max_size))
    nontargets = draw(st.lists(values, min_size=1, max_size=max_size))
    mixed = draw(st.permutations([(s, 1) for s in targets] + [(s, 0) for s in nontargets]))
    return [s for s, _ in mixed], [label for _, label in mixed]
