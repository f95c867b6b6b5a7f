"""Cosine scoring of trials, files to files, against a plain loop over the trials; and where the time goes.

    . tools/path.sh; OMP_NUM_THREADS=1 python tools/bench/cosine.py --trials 55000,165000,550894

There is an utterance for every four trials, as in VoxCeleb1-H. Ours is what score_cosine does after its imports: read the
trial list and the embeddings, subtract the mean of a training set, score, write. The plain loop reads the embeddings with
kaldiio, and takes and prints one trial after another; it is run at the smallest size only, and the ratio is there.
All in memory (/dev/shm), on one core; the last line tells the command with its start.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
from measuring import Rows, apart, command, sizes

from wespk.utils.cli import main
from wespk.utils.errors import InputError

MEAN_OF, TRIALS_OF_AN_UTTERANCE = 5994, 4
IMPORTS = ("numpy", "kaldiio", "wespk.io.tables", "wespk.scoring.cosine")


def write_set(folder, name, keys, dim, seed=0):
    """FOLDER/NAME.{ark,scp}: a random embedding (dim,) for each key, in order; held in memory one block at a time."""
    from wespk.io.ark import ArkWriter

    draw = np.random.default_rng([seed, len(name)])
    with ArkWriter(folder / f"{name}.ark", folder / f"{name}.scp") as ark:
        for key in keys:
            ark.write(key, draw.standard_normal(dim, dtype=np.float32))


def make(folder, trials, dim):
    """Embeddings, a training set for the mean, and a list of trials without order, in ``folder``."""
    from wespk.io.tables import Trials, write_trials

    folder.mkdir()
    draw = np.random.default_rng(1)
    keys = sorted(f"id1{u % 1251:04d}-x6uYqmx31kE-{u:06d}" for u in range(max(2, trials // TRIALS_OF_AN_UTTERANCE)))
    write_set(folder, "eval", keys, dim)
    write_set(folder, "train", [f"id2{s:04d}" for s in range(MEAN_OF)], dim)
    sides = draw.integers(len(keys), size=(2, trials))
    labels = (sides[0] % 2).astype(np.int8)
    write_trials(folder / "trials", Trials(*([keys[i] for i in side] for side in sides), labels))


def ours(folder):
    """What score_cosine does after its imports; CPU seconds of (reading the list, embeddings and scores, writing)."""
    from time import process_time as now

    from wespk.io.tables import read_trials, write_scores
    from wespk.scoring.cosine import score_trials

    at = [now()]
    pairs = read_trials(folder / "trials")
    at.append(now())
    scores = score_trials(pairs.enroll, pairs.test, folder / "eval.scp", mean_embeddings=folder / "train.scp")
    at.append(now())
    write_scores(folder / "scores", pairs.enroll, pairs.test, scores)
    at.append(now())
    return np.diff(at)


def plain_loop(folder):
    """The same without any of our code, one trial after another."""
    import kaldiio

    vectors = dict(kaldiio.load_scp(str(folder / "eval.scp")).items())
    mean = np.mean([vector for _, vector in kaldiio.load_scp(str(folder / "train.scp")).items()], axis=0)
    with open(folder / "trials") as trials, open(folder / "plain", "w") as out:
        for line in trials:
            enroll, test, _ = line.split()
            a, b = vectors[enroll] - mean, vectors[test] - mean
            out.write(f"{enroll} {test} {np.dot(a, b) / (np.linalg.norm(a) * np.linalg.norm(b)):.9g}\n")


def _apart(folder):
    """Largest difference of the two files' scores."""
    found = [np.loadtxt(folder / name, usecols=2) for name in ("scores", "plain")]
    return np.abs(found[0] - found[1]).max()


def bench(trials: str = "55000,165000,550894", dim: int = 256, loop_at: int = 0):
    """Print both sides, then our parts at the largest size.

    Args:
        trials: numbers of them, separated by commas
        dim: size of the embeddings
        loop_at: at how many of the sizes, from the least, the plain loop runs as well; 0: at the least alone
    """
    numbers = sizes(trials)
    if not 0 <= loop_at <= len(numbers):
        raise InputError(f"--loop-at {loop_at}: 0, or up to the {len(numbers)} sizes of --trials")
    rows, parts = Rows("trials"), None
    with tempfile.TemporaryDirectory(dir="/dev/shm") as made:  # memory: the disk is not what is measured
        for number in numbers:
            folder = Path(made) / str(number)
            make(folder, number, dim)
            looped = apart(plain_loop, folder, imports=IMPORTS) if number in numbers[: max(1, loop_at)] else None
            if looped:
                rows.add(number, "plain loop", looped)
            ran = apart(ours, folder, imports=IMPORTS)
            rows.add(number, "wespk", ran, note=f"{_apart(folder):.0e} apart" if looped else "")
            parts = ran.found
        rows.add(number, "command, from its start", command(
            [sys.executable, "-m", "wespk.bin.score_cosine", "--trials", folder / "trials", "--embeddings", folder / "eval.scp",
             "--mean-embeddings", folder / "train.scp", "--out", folder / "scores"]))  # fmt: skip
    words = ("reading the list", "reading embeddings and scoring", "writing")
    print(f"of {numbers[-1]}, CPU s: " + ", ".join(f"{word} {value:.2f}" for word, value in zip(words, parts)))


if __name__ == "__main__":
    main(bench)
