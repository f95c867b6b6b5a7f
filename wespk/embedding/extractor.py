"""Features of whole utterances -> embeddings, many utterances at a time, each as if it had been alone.

Three things could make an embedding depend on its company, and none of them may: the mean (taken over each utterance
itself, before padding), the padding (models are told the lengths and ignore it), and statistics kept by the model
(eval mode). What remains is the rounding of float32 sums in another order.
"""

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from typing import NamedTuple

import numpy as np
import torch

from wespk.embedding.batching import length_batches
from wespk.features.cmvn import mean_norm
from wespk.utils.errors import InputError

MAX_FRAMES = {"cpu": 600, "cuda": 30000}  # frames computed at once, padding included
_UNITS = (torch.backends.cuda.matmul, torch.backends.cudnn.conv, torch.backends.mkldnn.matmul,
          torch.backends.mkldnn.conv)  # where float32 may silently be computed with fewer bits
_WINDOW = 16  # batches' worth of frames that embed_features holds in order to find utterances of like length


class Batch(NamedTuple):
    """Utterances padded to one length: feats (B, T, F) float32, lengths in frames, and their names."""

    feats: torch.Tensor
    lengths: list
    keys: list


def max_frames_for(device, asked=0):
    """Frames in a batch: what was ``asked`` for, or if that is 0 what suits the device."""
    if asked < 0:
        raise InputError(f"the number of frames in a batch must be 0 (chosen by device) or more, not {asked}")
    return asked or MAX_FRAMES.get(torch.device(device).type, MAX_FRAMES["cpu"])


@contextmanager
def inference(model):
    """Evaluate ``model`` as extraction needs it, and leave everything as it was found.

    eval mode (every submodule's own training flag is restored), no gradients, and float32 arithmetic: autocast is off
    and so is TF32, whose 10-bit mantissa would make a GPU's embeddings differ from a CPU's by a thousandth.
    """
    flags = [(module, module.training) for module in model.modules()]
    cudnn = torch.backends.cudnn
    precisions = [(unit, unit.fp32_precision) for unit in _UNITS]
    choices = cudnn.benchmark, cudnn.deterministic
    try:
        model.eval()
        cudnn.benchmark, cudnn.deterministic = False, True  # lengths vary: nothing to tune for
        for unit in _UNITS:
            unit.fp32_precision = "ieee"
        with torch.no_grad(), torch.autocast("cuda", enabled=False), torch.autocast("cpu", enabled=False):
            yield
    finally:
        cudnn.benchmark, cudnn.deterministic = choices
        for unit, precision in precisions:
            unit.fp32_precision = precision
        for module, training in flags:
            module.training = training


def collate(feats, keys, model):
    """Pad ``feats``, a list of (T_i, F) arrays or tensors named by ``keys``, with zeros to the longest -> ``Batch``.

    Raises ``InputError`` naming an utterance that is shorter than the model needs or has another number of features.
    """
    for key, x in zip(keys, feats, strict=True):
        if x.ndim != 2 or x.shape[1] != model.feat_dim:
            raise InputError(f"utterance {key}: features of shape {tuple(x.shape)}, but the model takes frames x "
                             f"{model.feat_dim}; compute them with the model's own configuration (stage 2)")
        if len(x) < model.min_frames:
            raise InputError(f"utterance {key}: {len(x)} frames, but the model needs at least {model.min_frames}; "
                             "leave it out or use longer audio")
    lengths = [len(x) for x in feats]
    padded = torch.zeros(len(feats), max(lengths), model.feat_dim)
    for row, x in zip(padded, feats, strict=True):
        row[:len(x)] = torch.as_tensor(x)
    return Batch(padded, lengths, list(keys))


def embed_batch(model, batch, device, cmn="mean"):
    """Embed one ``Batch`` -> (B, D) float32 numpy. Call it inside ``inference(model)``.

    Raises ``InputError`` naming the utterance whose embedding is zero or not finite, or that exceeds the memory.
    """
    try:
        feats = batch.feats.to(device, non_blocking=True)
        lengths = torch.tensor(batch.lengths)
        if cmn != "none":
            feats = mean_norm(feats, lengths, norm_vars=cmn == "mean_var")
        found = model(feats, lengths).float().cpu().numpy()
    except RuntimeError as error:
        if not isinstance(error, torch.OutOfMemoryError) and "can't allocate memory" not in str(error):
            raise
        raise InputError(f"{len(batch.keys)} utterances padded to {max(batch.lengths)} frames do not fit the memory of "
                         f"{device} (the longest is {batch.keys[int(np.argmax(batch.lengths))]}): lower --max-frames, "
                         "or cut the recording if it is alone") from None
    check_embeddings(found, batch.keys)
    return found


def check_embeddings(embeddings, keys, kind="utterance"):
    """Raise ``InputError`` naming the first ``kind`` of ``keys`` whose row of (N, D) is zero or not finite."""
    finite = np.isfinite(embeddings).all(axis=1)
    wrong = np.flatnonzero(~finite | ~embeddings.any(axis=1))
    if len(wrong):
        what = "is zero" if finite[wrong[0]] else "is not finite"
        raise InputError(f"{kind} {keys[wrong[0]]}: its embedding {what}; check its audio or features for NaN "
                         "values (validate_data), and the model with another utterance")


def embed_features(model, feats, device="cpu", cmn="mean", max_frames=0, keys=None):
    """Embed utterances given as features: the whole of each, several at a time.

    model: network with ``feat_dim`` and ``min_frames``, already on ``device``; its training flags are restored.
    feats: iterable of (T_i, F) float arrays or tensors, not yet normalised; read once, a few batches ahead. cmn:
    features.cmn of the configuration, applied to each whole utterance. max_frames: frames in a batch (0: by device).
    keys: list of the utterances' names for messages (default: their numbers); it may grow as ``feats`` is read.

    Returns (N, D) float32, in the order given. Every row equals the embedding of its utterance alone to float32
    rounding (cosine distance < 1e-5). Raises ``InputError`` naming an utterance that is too short, of another
    dimension, or whose embedding is zero or not finite.
    """
    max_frames = max_frames_for(device, max_frames)
    found, start = [np.zeros((0, model.embed_dim), dtype=np.float32)], 0
    for window in _windows(feats, _WINDOW * max_frames):
        names = range(start, start + len(window)) if keys is None else keys[start:start + len(window)]
        batches = length_batches([len(x) for x in window], max_frames)
        order, rows = embed_batches(model, batches, window.__getitem__, names, device, cmn, num_workers=0)
        found.append(rows[np.argsort(order)])
        start += len(window)
    return np.concatenate(found)


def _windows(items, max_frames):
    """Cut an iterable of (T, F) arrays into lists of about ``max_frames`` frames."""
    window, frames = [], 0
    for item in items:
        window.append(item)
        frames += len(item)
        if frames >= max_frames:
            yield window
            window, frames = [], 0
    if window:
        yield window


def embed_batches(model, batches, read, keys, device="cpu", cmn="mean", num_workers=2, report=None):
    """Embed batches already chosen, reading ahead in threads while the device computes.

    batches: index arrays, e.g. from ``length_batches``; read(index) -> (T, F) features; keys: the name of each index;
    report: called with the number of utterances done, after each batch.
    Returns (indices int64 (N,), embeddings (N, D) float32) in the order of ``batches``. Raises as ``embed_features``.
    """
    pinned = torch.device(device).type == "cuda"
    order = np.concatenate([np.zeros(0, dtype=np.int64), *batches])
    rows, done = np.empty((len(order), model.embed_dim), dtype=np.float32), 0

    def prepare(batch):
        made = collate([read(i) for i in batch], [keys[i] for i in batch], model)
        return made._replace(feats=made.feats.pin_memory()) if pinned else made

    with inference(model):
        for made in _ahead(prepare, batches, num_workers):
            rows[done:done + len(made.keys)] = embed_batch(model, made, device, cmn)
            done += len(made.keys)
            if report:
                report(done)
    return order, rows


def _ahead(function, items, num_workers):
    """``map`` in order, with at most twice ``num_workers`` results computed in advance (0: none, in this thread)."""
    if num_workers == 0:
        yield from map(function, items)
        return
    with ThreadPoolExecutor(num_workers) as pool:
        items = iter(items)
        waiting = deque(pool.submit(function, item) for item in islice(items, 2 * num_workers))
        try:
            while waiting:
                done = waiting.popleft().result()
                waiting.extend(pool.submit(function, item) for item in islice(items, 1))
                yield done
        finally:
            for future in waiting:
                future.cancel()
