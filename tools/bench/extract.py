"""Extraction in length-aware batches against one utterance at a time: are the embeddings equal, and how fast is each?

    . tools/path.sh; python tools/bench/extract.py --model resnet34 --utterances 48 --threads 1 --device cpu

Both sides run in turn in one process, on the same made-up features with VoxCeleb1's spread of lengths (4 s up, 8 s on
average); the figure of a side is its fastest round, by the wall clock. The ratio is one-by-one time / batched time.
"""

import statistics
import time

from wespk.utils.cli import main

_MODELS = {"ecapa512": {"name": "ecapa_tdnn", "channels": 512}, "ecapa1024": {"name": "ecapa_tdnn", "channels": 1024}}


def _features(count, seconds, seed=0):
    import numpy as np

    rng = np.random.default_rng(seed)
    lengths = np.clip(100 * (seconds / 2 + rng.exponential(seconds / 2, count)), 100, 6000).astype(int)
    return [(3 * rng.standard_normal((n, 80)) - 8).astype(np.float32) for n in lengths]


def bench(model: str = "resnet34", utterances: int = 48, seconds: float = 8.0, device: str = "cpu", threads: int = 1,
          max_frames: int = 0, rounds: int = 5):
    """Print the speed of both sides, their ratio, and how far their embeddings are apart.

    Args:
        model: a registered network, ecapa512 or ecapa1024; random weights
        utterances: how many
        seconds: mean length; the shortest is half of it
        device: cpu, cuda or cuda:N
        threads: CPU threads for computing
        max_frames: frames in a batch; 0: suits the device
        rounds: each side is timed this often
    """
    import numpy as np
    import torch

    from wespk.embedding.batching import length_batches
    from wespk.embedding.extractor import embed_features, max_frames_for
    from wespk.embedding.loading import pick_device
    from wespk.models import build_model

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    where = pick_device(device)
    network = build_model(_MODELS.get(model, {"name": model})).to(where)
    feats = _features(utterances, seconds)
    size = max_frames_for(where, max_frames)
    sides = {"one by one": lambda: embed_features(network, feats, where, max_frames=1),
             "batched": lambda: embed_features(network, feats, where, max_frames=size)}
    found, times = {name: run() for name, run in sides.items()}, {name: [] for name in sides}  # warm-up included
    for _ in range(rounds):
        for name, run in sides.items():
            start = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - start)
    batches = length_batches([len(x) for x in feats], size)
    padded = sum(len(b) * max(len(feats[i]) for i in b) for b in batches)
    frames = sum(map(len, feats))
    print(f"{model} on {where}, {threads} thread(s): {utterances} utterances, {frames} frames; {len(batches)} batches "
          f"of at most {size} frames, {100 * (1 - frames / padded):.1f}% padding")
    for name, spent in times.items():
        print(f"{name:>10}: best {utterances / min(spent):8.1f} utterances/s, "
              f"median {utterances / statistics.median(spent):8.1f}")
    a, b = (found[name].astype(np.float64) for name in sides)
    distance = 1 - (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    print(f"largest cosine distance {distance.max():.1e}, largest difference "
          f"{np.abs(a - b).max() / np.abs(a).max():.1e} of the largest value")
    print(f"ratio {min(times['one by one']) / min(times['batched']):.2f}")


if __name__ == "__main__":
    main(bench)
