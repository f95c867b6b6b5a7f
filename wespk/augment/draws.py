"""Random draws for augmentation: each a function of an item's index and a key, never of the batch around it."""

import numpy as np

from wespk.utils.seed import uniform


def below(indices, count, *key):
    """Integers (B,) drawn evenly from 0 to count - 1; ``count`` is a number or (B,)."""
    count = np.asarray(count, dtype=np.int64)
    return np.minimum((uniform(indices, *key) * count).astype(np.int64), count - 1)


def between(indices, span, *key):
    """Float64 (B,) drawn evenly from span = (low, high)."""
    low, high = span
    return low + (high - low) * uniform(indices, *key)


def distinct(indices, count, number, *key):
    """``number`` different integers for each item, drawn evenly from 0 to count - 1: (B, number), number <= count."""
    taken = np.empty((len(indices), 0), dtype=np.int64)
    for turn in range(number):
        drawn = below(indices, count - turn, *key, turn)
        for earlier in np.sort(taken, axis=1).T:  # skip over what is taken, smallest first
            drawn = drawn + (drawn >= earlier)
        taken = np.concatenate([taken, drawn[:, None]], axis=1)
    return taken
