"""Compressed ark writing: wespk.io.ark.ArkWriter against kaldi_native_io's (Kaldi's own C++), in one process.

python tools/bench/ark_write.py        prints microseconds a matrix of 400 x 80 on both sides, and their ratio
"""

import tempfile
import time

import kaldi_native_io
import numpy as np

from wespk.io.ark import ArkWriter

MATRICES, ROUNDS = 300, 5


def _ours(folder, matrices, method):
    with ArkWriter(f"{folder}/ours.ark", f"{folder}/ours.scp", compress=method) as ark:
        for number, matrix in enumerate(matrices):
            ark.write(f"u{number:05d}", matrix)


def _theirs(folder, matrices, method):
    method = kaldi_native_io.CompressionMethod(method)
    with kaldi_native_io.CompressedMatrixWriter(f"ark,scp:{folder}/theirs.ark,{folder}/theirs.scp") as ark:
        for number, matrix in enumerate(matrices):
            ark.write(f"u{number:05d}", matrix, method)


def _seconds(work, *arguments):
    start = time.perf_counter()
    work(*arguments)
    return time.perf_counter() - start


def main():
    draw = np.random.default_rng(0)
    matrices = [(draw.normal(size=(400, 80)) * 3 + 10).astype(np.float32) for _ in range(MATRICES)]
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:  # memory: the disk is not what is compared
        for method in (2, 3, 5):
            both = [[_seconds(side, folder, matrices, method) for side in (_ours, _theirs)] for _ in range(ROUNDS)]
            ours, theirs = (min(side) / MATRICES * 1e6 for side in zip(*both))
            with open(f"{folder}/ours.ark", "rb") as a, open(f"{folder}/theirs.ark", "rb") as b:
                same = "same bytes" if a.read() == b.read() else "BYTES DIFFER"
            ratio = f"ratio {theirs / ours:.1f}"
            print(f"method {method}: wespk {ours:.0f} us, kaldi_native_io {theirs:.0f} us, {ratio}, {same}")


if __name__ == "__main__":
    main()
