"""Bootstrap of EER and minDCF: weights on sorted scores (wespk) against drawing and sorting every resample again.

OMP_NUM_THREADS=1 python tools/bench/bootstrap.py      prints seconds for 1000 resamples on both sides, and their ratio
"""

import time

import numpy as np
from sklearn.metrics import roc_curve

from wespk.metrics.bootstrap import SpeakerDraw, TrialDraw, resample
from wespk.metrics.measures import Measure

RESAMPLES, P_TARGET = 1000, 0.01
LISTS = {"37,611 trials (the size of VoxCeleb1-O)": (37_611, 40, 20), "550,894 (VoxCeleb1-H)": (550_894, 1190, 2)}


def _sorting_again(scores, labels, num, seed):
    """EER and minDCF of resampled trials by scikit-learn's roc_curve: (num, 2)."""
    draw = np.random.default_rng(seed)
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


def _thousand(num, work, *arguments):
    """Seconds for 1000 resamples, by those for ``num``."""
    start = time.perf_counter()
    work(*arguments, num, 0)
    return (time.perf_counter() - start) * RESAMPLES / num


def main():
    draw = np.random.default_rng(0)
    for name, (size, speakers, few) in LISTS.items():
        enroll, other = draw.integers(speakers, size=(2, size))
        test = np.where(draw.random(size) < 0.5, enroll, other)
        labels = (enroll == test).astype(np.int8)
        scores = draw.normal(size=size) + 3.5 * labels + 0.3 * draw.normal(size=speakers)[enroll]
        measures = [Measure(scores, labels, (P_TARGET,))]
        by_speaker = _thousand(100, resample, measures, SpeakerDraw(enroll, test, labels))
        by_trial = _thousand(100, resample, measures, TrialDraw())
        again = _thousand(few, _sorting_again, scores, labels)
        print(f"{name}: wespk, min-Cllr included: drawing speakers {by_speaker:.2f} s, trials {by_trial:.2f} s; "
              f"sorting again, trials {again:.1f} s; ratio {again / by_trial:.0f}")  # fmt: skip


if __name__ == "__main__":
    main()
