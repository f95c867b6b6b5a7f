"""Compressed ark writing: wespk.io.ark.ArkWriter against kaldi_native_io's (Kaldi's own C++), in one process.

    . tools/path.sh; OMP_NUM_THREADS=1 python tools/bench/ark_write.py --matrices 100,200,400

Matrices of --frames x 80, made up, to memory (/dev/shm); CPU time, the sides taking turns. "x" is kaldi_native_io's time
divided by ours. Kaldi's compression methods 2, 3 and 5; both sides must write the same bytes.
"""

import tempfile
from functools import partial

import kaldi_native_io
import numpy as np
from measuring import Rows, sizes

from wespk.io.ark import ArkWriter
from wespk.utils.cli import main
from wespk.utils.errors import InputError

METHODS = (2, 3, 5)


def _ours(folder, matrices, method):
    with ArkWriter(f"{folder}/ours.ark", f"{folder}/ours.scp", compress=method) as ark:
        for number, matrix in enumerate(matrices):
            ark.write(f"u{number:05d}", matrix)


def _theirs(folder, matrices, method):
    method = kaldi_native_io.CompressionMethod(method)
    with kaldi_native_io.CompressedMatrixWriter(f"ark,scp:{folder}/theirs.ark,{folder}/theirs.scp") as ark:
        for number, matrix in enumerate(matrices):
            ark.write(f"u{number:05d}", matrix, method)


def bench(matrices: str = "100,200,400", frames: int = 400, rounds: int = 5):
    """Print for every method and number of matrices a row of each side.

    Args:
        matrices: numbers of them, separated by commas
        frames: rows of each
        rounds: runs of each side, of which the quickest counts
    """
    draw, numbers = np.random.default_rng(0), sizes(matrices)
    made = [(draw.normal(size=(frames, 80)) * 3 + 10).astype(np.float32) for _ in range(numbers[-1])]
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:  # memory: the disk is not what is compared
        for method in METHODS:
            rows = Rows(f"method {method}")
            for number in numbers:
                sides = {name: partial(write, folder, made[:number], method)
                         for name, write in (("kaldi_native_io", _theirs), ("wespk", _ours))}  # fmt: skip
                spent = rows.compare(number, sides, rounds)
                with open(f"{folder}/ours.ark", "rb") as a, open(f"{folder}/theirs.ark", "rb") as b:
                    if a.read() != b.read():
                        raise InputError(f"method {method}: the two sides' bytes differ")
            print(f"{min(spent['wespk'].cpu) / number * 1e6:>12.0f} us a matrix, same bytes as kaldi_native_io", flush=True)


if __name__ == "__main__":
    main(bench)
