"""EER and minDCF of 10 million scores: wespk.metrics against scikit-learn's roc_curve, in one process.

OMP_NUM_THREADS=1 python tools/bench/metrics.py        prints seconds on both sides, and their ratio
"""

import time

import numpy as np
from sklearn.metrics import roc_curve

from wespk.metrics import eer, min_dcf

TRIALS, ROUNDS, P_TARGET = 10_000_000, 3, 0.01


def _ours(scores, labels):
    return eer(scores, labels), min_dcf(scores, labels, P_TARGET)


def _theirs(scores, labels):
    false_alarms, hits, _ = roc_curve(labels, scores)
    misses = 1 - hits
    at = np.argmax(misses <= false_alarms)  # curves of millions of points: no need to interpolate
    return misses[at], (P_TARGET * misses + (1 - P_TARGET) * false_alarms).min() / P_TARGET


def _seconds(work, *arguments):
    start = time.perf_counter()
    found = work(*arguments)
    return time.perf_counter() - start, found


def main():
    draw = np.random.default_rng(0)
    for share in (0.5, 0.05):
        labels = (draw.random(TRIALS) < share).astype(np.int8)
        scores = draw.normal(size=TRIALS) + 3 * labels
        both = [[_seconds(side, scores, labels) for side in (_ours, _theirs)] for _ in range(ROUNDS)]
        ours, theirs = (min(seconds for seconds, _ in side) for side in zip(*both))
        apart = max(abs(a - b) for a, b in zip(both[0][0][1], both[0][1][1]))
        print(f"{TRIALS} trials, {share:.0%} targets: wespk {ours:.2f} s, scikit-learn {theirs:.2f} s, "
              f"ratio {theirs / ours:.1f}, results {apart:.0e} apart")  # fmt: skip


if __name__ == "__main__":
    main()
