"""Bootstrap of EER and minDCF: weights on sorted scores (wespk) against drawing and sorting every resample again.

    . tools/path.sh; OMP_NUM_THREADS=1 python tools/bench/bootstrap.py --trials 37611,150000,550894 --speakers 40

37,611 trials are the size of VoxCeleb1-O (40 speakers), 550,894 that of VoxCeleb1-H (1190). All figures are CPU time for
1000 resamples: ours measured on --resamples, min-Cllr included, sorting again on --sorted, and multiplied up. "x" is the
time of sorting again divided by the row's.
"""

from functools import partial

import numpy as np
from measuring import Rows, Spent, sizes, turns
from sklearn.metrics import roc_curve

from wespk.metrics.bootstrap import SpeakerDraw, TrialDraw, resample
from wespk.metrics.measures import Measure
from wespk.utils.cli import main

RESAMPLES, P_TARGET = 1000, 0.01


def _sorting_again(scores, labels, num):
    """EER and minDCF of resampled trials by scikit-learn's roc_curve: (num, 2)."""
    draw = np.random.default_rng(0)
    targets, nontargets = scores[labels == 1], scores[labels == 0]
    found = []
    for _ in range(num):
        drawn = [draw.choice(part, part.size) for part in (targets, nontargets)]
        sides = np.repeat([1, 0], [targets.size, nontargets.size])
        false_alarms, hits, _ = roc_curve(sides, np.concatenate(drawn))
        misses = 1 - hits
        cost = (P_TARGET * misses + (1 - P_TARGET) * false_alarms).min() / P_TARGET
        found.append((misses[np.argmax(misses <= false_alarms)], cost))
    return np.array(found)


def _for_a_thousand(spent, num):
    """``Spent`` of ``num`` resamples as of 1000."""
    return Spent(*([seconds * RESAMPLES / num for seconds in clock] for clock in spent[:2]), None, spent.peak)


def bench(trials: str = "10000,37611,150000", speakers: int = 40, resamples: int = 100, sorted: int = 4, rounds: int = 2):
    """Print for every number of trials a row of each side.

    Args:
        trials: numbers of them, separated by commas
        speakers: in each list
        resamples: that ours is measured on
        sorted: resamples that sorting again is measured on
        rounds: runs of each side, of which the quickest counts
    """
    draw, rows = np.random.default_rng(0), Rows("trials")
    for size in sizes(trials, least=100):
        enroll, other = draw.integers(speakers, size=(2, size))
        test = np.where(draw.random(size) < 0.5, enroll, other)
        labels = (enroll == test).astype(np.int8)
        scores = draw.normal(size=size) + 3.5 * labels + 0.3 * draw.normal(size=speakers)[enroll]
        measures = [Measure(scores, labels, (P_TARGET,))]
        sides = {"sorting again, trials": (partial(_sorting_again, scores, labels, sorted), sorted),
                 "wespk, trials": (partial(resample, measures, TrialDraw(), resamples, 0), resamples),
                 "wespk, speakers": (partial(resample, measures, SpeakerDraw(enroll, test, labels), resamples, 0), resamples)}
        spent = turns({name: run for name, (run, _) in sides.items()}, rounds)
        for name, (_, num) in sides.items():
            rows.add(size, name, _for_a_thousand(spent[name], num))


if __name__ == "__main__":
    main(bench)
