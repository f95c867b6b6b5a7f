"""Randomness as a function of (seed, epoch, item): no generator state to carry, save or restore.

``uniform`` is a counter-based generator (SplitMix64 finaliser over a keyed counter), vectorised over items, so
that any number of workers, in any order, draws the same numbers for the same utterance in the same epoch.
"""

import functools
import random

import numpy as np

_GAMMA = np.uint64(0x9E3779B97F4A7C15)


def _mix(x):
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@functools.lru_cache(maxsize=4096)
def _key(*parts):
    """Fold integers or strings into one 64-bit key, order mattering."""
    key = np.zeros(1, dtype=np.uint64)
    for part in parts:
        values = [256, *part.encode()] if isinstance(part, str) else [int(part) & 0xFFFFFFFFFFFFFFFF]
        for value in values:
            key = _mix(key * np.uint64(31) + np.uint64(value) + _GAMMA)
    return key


def hash64(index, *key):
    """64 random bits for each item.

    index: integers (N,); key: any integers or strings, e.g. (seed, epoch, "crop"). Returns uint64 (N,).
    """
    counter = np.asarray(index, dtype=np.int64).astype(np.uint64)
    return _mix(_mix(counter * _GAMMA + _key(*key)) + _GAMMA)


def uniform(index, *key):
    """Uniform float64 in [0, 1) for each item; same arguments as ``hash64``."""
    return (hash64(index, *key) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def derive(*key):
    """A non-negative 63-bit integer seed from any integers or strings, e.g. ``derive(seed, epoch, "order")``."""
    return int(hash64([0], *key)[0] >> np.uint64(1))


def generator(*key):
    """A numpy Generator that depends on ``key`` alone; for orders and draws made once, not once an item."""
    return np.random.default_rng(derive(*key))


def seed_everything(*key):
    """Seed Python's, numpy's and torch's global generators from ``key``."""
    import torch

    value = derive(*key)
    random.seed(value)
    np.random.seed(value % 2**32)
    torch.manual_seed(value)
