"""as-norm at VoxCeleb1-H's size, files to file, as the command does it; and against a full sort in memory.

python tools/bench/score_norm.py      550,894 trials of 138,000 utterances, cohort of 5,994, top 300: seconds, peak MB;
                                      then the cohort statistics of 20,000 utterances on both sides, and their ratio
"""

import resource
import subprocess
import sys
import tempfile
import time

import numpy as np

from wespk.io.ark import ArkWriter
from wespk.io.tables import write_scores
from wespk.scoring.norm import cohort_statistics
from wespk.scoring.vectors import normalise

TRIALS, UTTERANCES, COHORT, DIM, TOP_N, SMALL = 550_894, 138_000, 5_994, 256, 300, 20_000


def _write_set(folder, name, keys, draw):
    with ArkWriter(f"{folder}/{name}.ark", f"{folder}/{name}.scp") as ark:
        for key in keys:
            ark.write(key, draw.normal(size=DIM).astype(np.float32))


def _command(folder):
    """Seconds, CPU seconds and peak resident memory (MB) of the command, started afresh."""
    command = [sys.executable, "-m", "wespk.bin.score_norm", "--scores", f"{folder}/scores"]
    command += ["--out", f"{folder}/normed"]
    for option, name in (("embeddings", "eval"), ("mean_embeddings", "cohort"), ("cohort_scp", "cohort")):
        command += [f"--{option}", f"{folder}/{name}.scp"]
    start = time.perf_counter()
    subprocess.run([*command, "--top_n", str(TOP_N)], check=True, stdout=subprocess.DEVNULL)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.perf_counter() - start, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def _full_sort(vectors, cohort):
    best = np.sort(vectors @ cohort.T, axis=1)[:, -TOP_N:]
    return best.mean(axis=1), best.std(axis=1)


def _seconds(work, *arguments):
    start = time.perf_counter()
    found = work(*arguments)
    return time.perf_counter() - start, found


def main():
    draw = np.random.default_rng(0)
    keys = [f"id1{u % 1251:04d}-x6uYqmx31kE-{u:06d}" for u in range(UTTERANCES)]
    sides = draw.integers(UTTERANCES, size=(2, TRIALS))
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:  # memory: the disk is not what is measured
        _write_set(folder, "eval", sorted(keys), draw)
        _write_set(folder, "cohort", [f"id2{s:04d}" for s in range(COHORT)], draw)
        write_scores(f"{folder}/scores", *([keys[i] for i in side] for side in sides), draw.normal(size=TRIALS))
        seconds, cpu, peak = _command(folder)
    print(f"{TRIALS} trials, {UTTERANCES} utterances, cohort {COHORT}, top {TOP_N}: {seconds:.1f} s "
          f"({cpu:.1f} s of CPU), {peak:.0f} MB")  # fmt: skip

    vectors, cohort = (normalise(draw.normal(size=(n, DIM)).astype(np.float32), range(n)) for n in (SMALL, COHORT))
    ours, found = _seconds(cohort_statistics, vectors, cohort, range(SMALL), TOP_N)
    theirs, expected = _seconds(_full_sort, vectors, cohort)
    apart = max(np.abs(a - b).max() for a, b in zip(found, expected))
    print(f"cohort statistics of {SMALL} utterances: wespk {ours:.2f} s, full sort in memory {theirs:.2f} s, "
          f"ratio {theirs / ours:.1f}, {apart:.0e} apart")  # fmt: skip


if __name__ == "__main__":
    main()
