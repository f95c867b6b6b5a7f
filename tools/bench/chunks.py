"""Random 200-frame chunks out of compressed arks: wespk.io.frames against kaldiio (load the matrix, then crop).

    . tools/path.sh; OMP_NUM_THREADS=1 python tools/bench/chunks.py --batches 10,20,40 --utterances 1000

Sizes are numbers of chunks, read in batches of 64; CPU time on one core, the sides taking turns. "x" is kaldiio's time
divided by the row's. "still compressed": as a training process hands them to its device.
"""

import tempfile
from functools import partial

import kaldiio
import numpy as np
import torch
from measuring import Rows, sizes

from wespk.io.ark import ArkWriter, read_scp
from wespk.io.frames import FrameReader, dequantise
from wespk.utils.cli import main

BATCH, FRAMES, DIM = 64, 200, 80


def _write(folder, draw, utterances):
    with ArkWriter(f"{folder}/feats.ark", f"{folder}/feats.scp", compress=2) as ark:
        for number in range(utterances):
            rows = int(draw.integers(400, 1200))  # 4 to 12 s, VoxCeleb's range
            ark.write(f"u{number:05d}", draw.normal(size=(rows, DIM)).astype(np.float32))
    return list(read_scp(f"{folder}/feats.scp").values())


def _kaldiio(specs, indices, starts):
    chunks = [kaldiio.load_mat(specs[i])[s : s + FRAMES] for i, s in zip(indices, starts)]
    return torch.from_numpy(np.stack(chunks).astype(np.float32))


def _read(way, batches):
    for indices, starts in batches:
        way(indices, starts)


def _draw(draw, reader):
    """(utterances, first frames) of a batch."""
    indices = draw.integers(0, len(reader.num_frames), BATCH)
    return indices, (draw.random(BATCH) * (reader.num_frames[indices] - FRAMES)).astype(int)


def bench(batches: str = "10,20,40", utterances: int = 1000, rounds: int = 3):
    """Print for every number of batches a row of each side, and the chunks a second of ours.

    Args:
        batches: numbers of them, separated by commas
        utterances: in the ark
        rounds: runs of each side, of which the quickest counts
    """
    torch.set_num_threads(1)
    draw, numbers, rows = np.random.default_rng(0), sizes(batches), Rows("chunks")
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:  # memory: the disk is not what is compared
        specs = _write(folder, draw, utterances)
        reader = FrameReader(specs)
        every = [_draw(draw, reader) for _ in range(numbers[-1])]
        apart = (dequantise(reader.read_raw(*every[0], FRAMES)) - _kaldiio(specs, *every[0])).abs().max()
        ways = {"kaldiio": lambda i, s: _kaldiio(specs, i, s),
                "wespk": lambda i, s: dequantise(reader.read_raw(i, s, FRAMES)),
                "wespk, still compressed": lambda i, s: reader.read_raw(i, s, FRAMES)}  # fmt: skip
        for number in numbers:
            sides = {name: partial(_read, way, every[:number]) for name, way in ways.items()}
            spent = rows.compare(number * BATCH, sides, rounds)
    rates = ", ".join(f"{name} {numbers[-1] * BATCH / min(side.cpu):.0f}" for name, side in spent.items())
    print(f"chunks of {FRAMES} x {DIM} a CPU second: {rates}; difference {apart:.0e}")


if __name__ == "__main__":
    main(bench)
