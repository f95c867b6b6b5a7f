"""How well clusters agree with classes that are known: for reports alone."""

import numpy as np

from wespk.utils.errors import InputError


def _counts(clusters, classes):
    """(cluster (M,), class (M,), count (M,)) of the pairs that occur, both numbered from 0."""
    clusters, classes = (np.unique(np.asarray(names), return_inverse=True)[1] for names in (clusters, classes))
    if len(clusters) != len(classes) or not len(clusters):
        raise InputError(f"{len(clusters)} clusters and {len(classes)} classes: give one of each for every item")
    number = classes.max() + 1
    pairs, counts = np.unique(clusters * number + classes, return_counts=True)
    return *np.divmod(pairs, number), counts


def _entropy(counts):
    share = counts[counts > 0] / counts.sum()
    return float(-(share * np.log(share)).sum())


def nmi(clusters, classes):
    """Normalised mutual information in [0, 1] of two labellings (N,), by the mean of their entropies.

    1: each is a renaming of the other, two that are one class each included; 0: neither tells anything of the other.
    """
    rows, columns, counts = _counts(clusters, classes)
    one, other = _entropy(np.bincount(rows, counts)), _entropy(np.bincount(columns, counts))
    if one == other == 0:
        return 1.0
    return max(0.0, 2 * (one + other - _entropy(counts)) / (one + other))


def purity(clusters, classes):
    """The share of items (N,) that are of the commonest class of their cluster."""
    rows, _, counts = _counts(clusters, classes)
    most = np.zeros(rows.max() + 1, dtype=counts.dtype)
    np.maximum.at(most, rows, counts)
    return float(most.sum() / counts.sum())
