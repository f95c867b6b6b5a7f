"""EER and minDCF of many scores: wespk.metrics against scikit-learn's roc_curve, in one process.

    . tools/path.sh; OMP_NUM_THREADS=1 python tools/bench/metrics.py --trials 100000,1000000,10000000

CPU time, the sides taking turns; "x" is scikit-learn's time divided by ours.
"""

from functools import partial

import numpy as np
from measuring import Rows, sizes
from sklearn.metrics import roc_curve

from wespk.metrics import eer, min_dcf
from wespk.utils.cli import main

P_TARGET, SHARES = 0.01, (0.5, 0.05)


def _ours(scores, labels):
    return eer(scores, labels), min_dcf(scores, labels, P_TARGET)


def _theirs(scores, labels):
    false_alarms, hits, _ = roc_curve(labels, scores)
    misses = 1 - hits
    at = np.argmax(misses <= false_alarms)  # curves of millions of points: no need to interpolate
    return misses[at], (P_TARGET * misses + (1 - P_TARGET) * false_alarms).min() / P_TARGET


def bench(trials: str = "300000,1000000,3000000", rounds: int = 3):
    """Print for either share of targets and every number of trials a row of each side.

    Args:
        trials: numbers of them, separated by commas
        rounds: runs of each side, of which the quickest counts
    """
    draw, numbers = np.random.default_rng(0), sizes(trials, least=100)
    for share in SHARES:
        rows = Rows("trials")
        for number in numbers:
            labels = (draw.random(number) < share).astype(np.int8)
            scores = draw.normal(size=number) + 3 * labels
            sides = {"scikit-learn": partial(_theirs, scores, labels), "wespk": partial(_ours, scores, labels)}
            both = [side.found for side in rows.compare(number, sides, rounds).values()]
            print(f"{share:>12.0%} targets, results {max(abs(a - b) for a, b in zip(*both)):.0e} apart", flush=True)


if __name__ == "__main__":
    main(bench)
