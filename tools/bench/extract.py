"""Extraction in length-aware batches against one utterance at a time: are the embeddings equal, and how fast is each?

    . tools/path.sh; python tools/bench/extract.py --model resnet34 --utterances 12,24,48 --seconds 8 --device cpu

Both sides run in turn in one process, on the same made-up features, whose lengths spread as VoxCeleb1's (half of the mean
and up); a side's figure is its fastest round: CPU time on a CPU, by the wall clock on a GPU. "x" is the time of one by one
divided by the row's.
"""

from functools import partial

from measuring import Rows, sizes

from wespk.utils.cli import main

_MODELS = {"ecapa512": {"name": "ecapa_tdnn", "channels": 512}, "ecapa1024": {"name": "ecapa_tdnn", "channels": 1024}}


def _features(count, seconds, seed=0):
    import numpy as np

    rng = np.random.default_rng(seed)
    lengths = np.clip(100 * (seconds / 2 + rng.exponential(seconds / 2, count)), 100, 6000).astype(int)
    return [(3 * rng.standard_normal((n, 80)) - 8).astype(np.float32) for n in lengths]


def _sides(network, feats, where, size):
    from wespk.embedding.extractor import embed_features

    return {"one by one": partial(embed_features, network, feats, where, max_frames=1),
            "batched": partial(embed_features, network, feats, where, max_frames=size)}


def _distances(a, b):
    """Largest cosine distance, and largest difference as a share of the largest value, of embeddings (n, D)."""
    import numpy as np

    a, b = a.astype(np.float64), b.astype(np.float64)
    distance = 1 - (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    return distance.max(), np.abs(a - b).max() / np.abs(a).max()


def bench(model: str = "resnet34", utterances: str = "4,8,16", seconds: float = 3.0, device: str = "cpu", threads: int = 1,
          max_frames: int = 0, rounds: int = 2):  # fmt: skip
    """Print for every number of utterances a row of each side, and how far their embeddings are apart.

    Args:
        model: a registered network, ecapa512 or ecapa1024; random weights
        utterances: numbers of them, separated by commas
        seconds: mean length; the shortest is half of it
        device: cpu, cuda or cuda:N
        threads: CPU threads for computing
        max_frames: frames in a batch; 0: suits the device
        rounds: each side is timed this often
    """
    import torch

    from wespk.embedding.batching import length_batches
    from wespk.embedding.extractor import max_frames_for
    from wespk.embedding.loading import pick_device
    from wespk.models import build_model

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    where = pick_device(device)
    network = build_model(_MODELS.get(model, {"name": model})).to(where)
    size = max_frames_for(where, max_frames)
    print(f"{model} on {where}, {threads} thread(s), batches of at most {size} frames")
    rows = Rows("utterances", str(where))
    for count in sizes(utterances):
        feats = _features(count, seconds)
        spent = rows.compare(count, _sides(network, feats, where, size), rounds, str(where))
        batches = length_batches([len(x) for x in feats], size)
        padded, frames = sum(len(b) * max(len(feats[i]) for i in b) for b in batches), sum(map(len, feats))
        distance, difference = _distances(*(side.found for side in spent.values()))
        print(f"{count:>12} {frames} frames, {len(batches)} batches, {100 * (1 - frames / padded):.1f}% padding; largest cosine "
              f"distance {distance:.1e}, largest difference {difference:.1e} of the largest value", flush=True)  # fmt: skip


if __name__ == "__main__":
    main(bench)
