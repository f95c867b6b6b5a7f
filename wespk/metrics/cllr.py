"""Cllr and min-Cllr: how well scores serve as natural-log likelihood ratios, over all priors at once, in bits.

Bruemmer and du Preez, "Application-independent evaluation of speaker detection", Computer Speech and Language, 2006.
"""

import numpy as np

from wespk.metrics.det import corners, lower_hull, split


def cllr(llr, labels):
    """Cllr in bits: 0 is perfect, 1 is what constant zeros give, no upper bound.

    llr (n,): natural-log likelihood ratios, infinite ones allowed (a wrong certainty costs infinity); labels and errors
    as in ``det.split``.
    """
    parts = split(llr, labels)
    return float((bits(-parts.targets).mean() + bits(parts.nontargets).mean()) / 2)


def bits(x):
    """log2(1 + exp(x)), float64, for any x, infinite included."""
    return np.logaddexp(0.0, np.asarray(x, dtype=np.float64)) / np.log(2)


def min_cllr(scores, labels):
    """Cllr after the best monotone map of scores to LLRs (pool adjacent violators): in [0, 1] bits.

    It needs no calibrated scores. The pools of PAV are the edges of the ROC's convex hull, which is how they are found
    here; equal scores always share a pool.
    """
    parts = split(scores, labels)
    misses, false_alarms = lower_hull(*corners(parts))
    return pooled_cllr(np.diff(misses) / parts.targets.size, -np.diff(false_alarms) / parts.nontargets.size)


def pooled_cllr(target_shares, nontarget_shares):
    """Cllr in bits of pools of trials, each given the LLR log(target share / nontarget share).

    target_shares, nontarget_shares (k,): what part of all targets and of all nontargets is in each pool. Pools of one
    class alone (infinite LLRs, always right) cost nothing and may be left out.
    """
    mixed = (target_shares > 0) & (nontarget_shares > 0)
    targets, nontargets = target_shares[mixed], nontarget_shares[mixed]
    cost = targets * np.log2(1 + nontargets / targets) + nontargets * np.log2(1 + targets / nontargets)
    return float(min(cost.sum() / 2, 1.0))  # rounding may exceed 1, which no pools do
