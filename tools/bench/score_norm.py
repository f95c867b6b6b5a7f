"""as-norm of trials, files to files, as the command does it after its imports; and its statistics against a full sort.

    . tools/path.sh; OMP_NUM_THREADS=1 python tools/bench/score_norm.py --trials 55000,165000,550894 --cohort 5994
    python tools/bench/score_norm.py --trials 2000,4000,8000 --cohort 1090000 --up-to 550894     utterances as the cohort

There is an utterance for every four trials, as in VoxCeleb1-H; its embeddings and the cohort's are made up and written
block by block. Each run is a process of its own, on as many threads as OMP_NUM_THREADS says. "~" is extrapolated to
--up-to trials by the line through the two largest sizes, as one part of the work (reading the cohort) is the same for
any number of trials and the other grows with it; memory likewise. The full sort has all scores in memory, so it gets
--compared utterances only, and so does our other side there.
"""

import contextlib
import os
import tempfile
from pathlib import Path

import numpy as np
from cosine import make, write_set
from measuring import Rows, apart, sizes, turns

from wespk.utils.cli import main
from wespk.utils.errors import InputError

IMPORTS = ("numpy", "wespk.scoring.cohort", "wespk.scoring.norm")


def make_scores(folder):
    """FOLDER/raw: made-up scores of its trial list."""
    from wespk.io.tables import read_trials, write_scores

    trials = read_trials(folder / "trials")
    write_scores(folder / "raw", trials.enroll, trials.test, np.random.default_rng(0).normal(size=len(trials.test)))


def ours(folder, cohort, top_n):
    """What score_norm does after its imports."""
    from wespk.bin.score_norm import score_norm

    with contextlib.redirect_stdout(open(os.devnull, "w")):
        score_norm(str(folder / "raw"), str(folder / "eval.scp"), str(folder / "train.scp"), str(cohort),
                   str(folder / "normed"), top_n=top_n)  # fmt: skip


def against_sorting(number, cohort, dim, top_n, rounds):
    """({side: Spent}, largest difference) of the statistics of ``number`` utterances."""
    from wespk.scoring.norm import cohort_statistics
    from wespk.scoring.vectors import normalise

    draw = np.random.default_rng(0)
    vectors, others = (normalise(draw.normal(size=(n, dim)).astype(np.float32), range(n)) for n in (number, cohort))

    def full_sort():
        best = np.sort(vectors @ others.T, axis=1)[:, -top_n:]
        return best.mean(axis=1), best.std(axis=1)

    spent = turns({"wespk": lambda: cohort_statistics(vectors, others, range(number), top_n), "full sort": full_sort}, rounds)
    apart = max(np.abs(a - b).max() for a, b in zip(spent["wespk"].found, spent["full sort"].found))
    return {name: side._replace(found=None) for name, side in spent.items()}, apart


def _line(numbers, values, at):
    """Value at ``at`` on the line through the last two points."""
    (a, b), (x, y) = numbers[-2:], values[-2:]
    return y + (y - x) * (at - b) / (b - a)


def bench(trials: str = "20000,60000,180000", cohort: int = 5994, top_n: int = 300, dim: int = 256, up_to: int = 550894,
          compared: int = 2000, folder: str = "/dev/shm"):  # fmt: skip
    """Print a row for every number of trials, what more would take, and the comparison with a full sort.

    Args:
        trials: numbers of them, separated by commas
        cohort: embeddings in it
        top_n: how many of the highest cohort scores count
        dim: size of the embeddings
        up_to: trials to extrapolate to, if above the largest size; 0: none
        compared: utterances of the comparison with a full sort, with this cohort or 5994 if it is larger; 0: none
        folder: where a temporary folder is made, of (cohort + a quarter of trials) x dim x 4 bytes; memory as it is
    """
    numbers, rows, ran = sizes(trials), Rows("trials"), []
    if min(cohort, top_n, dim) < 1 or compared < 0:
        raise InputError("--cohort, --top-n and --dim are 1 or more, --compared 0 or more")
    with tempfile.TemporaryDirectory(dir=folder) as made:
        place = Path(made)
        write_set(place, "cohort", (f"id3{u:07d}" for u in range(cohort)), dim)
        for number in numbers:
            make(place / str(number), number, dim)
            make_scores(place / str(number))
            ran.append(apart(ours, place / str(number), place / "cohort.scp", top_n, imports=IMPORTS))
            rows.add(number, "wespk", ran[-1], note=f"cohort {cohort}, top {top_n}")
    if up_to > numbers[-1] and len(numbers) > 1:
        cpu, wall, peak = (_line(numbers, [run[i] for run in ran], up_to) for i in (1, 0, 2))
        print(f"{up_to:>12} {'~ wespk':>22} {cpu:>9.1f} {'':>9} {wall:>9.1f} {'':>7} {peak / 1e6:>8.0f}")
    if compared:
        spent, difference = apart(against_sorting, compared, min(cohort, 5994), dim, min(top_n, cohort), 3, imports=IMPORTS).found
        rows = Rows("utterances")
        rows.add(compared, "full sort", spent["full sort"])
        rows.add(compared, "wespk, statistics", spent["wespk"], note=f"{difference:.0e} apart")


if __name__ == "__main__":
    main(bench)
