"""How much the scores of targets and nontargets overlap: the intersection of their histograms.

Both are counted in the same bins, as shares, and the smaller share of each bin is summed up: 0 where no bin holds both, 1
where the two have one distribution. The bins are BINS intervals of equal width from the least to the greatest finite score of
the list, each without its upper end but the last; infinite scores are counted in the end bins. So the figure is the same
after scaling and shifting the scores, but not after bending them, as the EER is. Bins must be well filled: of a class
with about as many trials as there are bins, much falls between the other's, and the overlap comes out too low.

Without bins, the normalised minDCF at p_target 0.5 (``det.min_dcf``), the least sum of miss and false-alarm rate, is the
overlap of two densities whose ratio rises with the score.
"""

import numpy as np

from wespk.metrics.det import split

BINS = 100
FULL_BINS = 10  # trials of a class a bin; from there on the overlap is hardly biased: 2 % at one standard deviation


def bin_bounds(parts, bins=BINS):
    """Positions (bins + 1,), (bins + 1,) in the sorted targets and nontargets of a ``Split`` between which each bin lies."""
    finite = [part[np.isfinite(part)] for part in parts]
    ends = [end for part in finite if part.size for end in (part[0], part[-1])] or [0.0]
    edges = np.linspace(min(ends), max(ends), bins + 1)[1:-1]
    return [np.r_[0, np.searchsorted(part, edges, "left"), part.size] for part in parts]


def intersection(*counts):
    """Of two histograms in the same bins, (..., bins) counts each: the sum of the smaller shares, (...)."""
    return np.minimum(*(count / count.sum(axis=-1, keepdims=True) for count in counts)).sum(axis=-1)


def overlap(scores, labels, bins=BINS):
    """The histogram intersection, in [0, 1], of scores (n,) with labels (n,), 1 = target. Errors as of ``det.split``."""
    return float(intersection(*(np.diff(bounds) for bounds in bin_bounds(split(scores, labels), bins))))
