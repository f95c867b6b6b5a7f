"""Random 200-frame chunks out of compressed arks: wespk.io.frames against kaldiio (load the matrix, then crop).

OMP_NUM_THREADS=1 python tools/bench/chunks.py        prints chunks/s on one core for both sides, and their ratio
"""

import tempfile
import time

import kaldiio
import numpy as np
import torch

from wespk.io.ark import ArkWriter, read_scp
from wespk.io.frames import FrameReader, dequantise

UTTERANCES, BATCH, BATCHES, FRAMES, DIM = 1000, 64, 60, 200, 80


def _write(folder, draw):
    with ArkWriter(f"{folder}/feats.ark", f"{folder}/feats.scp", compress=2) as ark:
        for number in range(UTTERANCES):
            rows = int(draw.integers(400, 1200))  # 4 to 12 s, VoxCeleb's range
            ark.write(f"u{number:05d}", draw.normal(size=(rows, DIM)).astype(np.float32))
    return list(read_scp(f"{folder}/feats.scp").values())


def _kaldiio(specs, indices, starts):
    chunks = [kaldiio.load_mat(specs[i])[s : s + FRAMES] for i, s in zip(indices, starts)]
    return torch.from_numpy(np.stack(chunks).astype(np.float32))


def _rate(work, batches):
    start = time.perf_counter()
    for indices, starts in batches:
        work(indices, starts)
    return len(batches) * BATCH / (time.perf_counter() - start)


def main():
    torch.set_num_threads(1)
    draw = np.random.default_rng(0)
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:  # memory: the disk is not what is compared
        specs = _write(folder, draw)
        reader = FrameReader(specs)
        batches = []
        for _ in range(BATCHES):
            indices = draw.integers(0, UTTERANCES, BATCH)
            batches.append((indices, (draw.random(BATCH) * (reader.num_frames[indices] - FRAMES)).astype(int)))
        difference = dequantise(reader.read_raw(*batches[0], FRAMES)) - _kaldiio(specs, *batches[0])
        raw = max(_rate(lambda i, s: reader.read_raw(i, s, FRAMES), batches) for _ in range(3))
        whole = max(_rate(lambda i, s: dequantise(reader.read_raw(i, s, FRAMES)), batches) for _ in range(3))
        theirs = max(_rate(lambda i, s: _kaldiio(specs, i, s), batches[:10]) for _ in range(3))
    print(f"chunks/s, {FRAMES} x {DIM}, one core: wespk {whole:.0f} (still compressed {raw:.0f}), kaldiio {theirs:.0f}")
    print(f"ratio {whole / theirs:.1f} (still compressed {raw / theirs:.1f}); difference {difference.abs().max():.0e}")


if __name__ == "__main__":
    main()
