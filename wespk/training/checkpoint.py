"""Checkpoints: complete, atomic, checked on loading; and the average of several.

A file is a dict of plain values and tensors, readable with ``weights_only=True``:

    format 1, config, speakers, fingerprint, step, steps_per_epoch, model, loss, optimizer

``step`` is the number of optimiser steps done. Learning rate, margin, batch order, crops and dropout are functions of
the step and the seed, so they need no state of their own here.
"""

import hashlib
import re
from pathlib import Path

import torch

from wespk.io.atomic import open_atomic
from wespk.utils.errors import InputError

FORMAT = 1
NAMES = {"epoch": "epoch_{:04d}.pt", "latest": "latest.pt", "average": "average.pt"}


def save(path, state):
    """Write ``state`` (dict of tensors, numbers, strings, lists) to ``path``, whole or not at all.

    Raises ``InputError`` if a weight is not finite: such a checkpoint must not replace a good one.
    """
    moments = {f"{i}.{n}": v for i, s in state["optimizer"]["state"].items() for n, v in s.items() if torch.is_tensor(v)}
    for part, tensors in (("model", state["model"]), ("loss", state["loss"]), ("optimizer", moments)):
        for name, value in tensors.items():
            if value.is_floating_point() and not _is_finite(value):
                raise InputError(f"step {state['step']}: {part} weight '{name}' is not finite; nothing was saved. "
                                 "The last checkpoint is good: lower optimizer.lr or set train.grad_clip")
    write(path, {"format": FORMAT, **state})


def write(path, values):
    """Write ``values``, anything that torch saves, to ``path``, whole or not at all. Raises ``OSError``, of a full disk too."""
    with open_atomic(path, "wb") as file:
        try:
            torch.save(values, file)
        except RuntimeError as error:  # torch ends its file even then, and tells of that ("unexpected pos") instead
            if isinstance(error.__context__, OSError):
                raise error.__context__ from None
            raise


def _is_finite(value):
    """Whether all numbers of a tensor are: its extremes tell, in a tenth of the time that a look at each takes."""
    return not value.numel() or bool(torch.isfinite(torch.stack(torch.aminmax(value))).all())


def load(path, device="cpu", mmap=False):
    """Read a checkpoint; with ``mmap`` its tensors are read when they are used.

    Raises ``InputError`` naming the file if it is absent, cut short or not one of ours.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"no such checkpoint: {path}")
    try:
        state = torch.load(path, map_location=device, weights_only=True, mmap=mmap)
    except Exception as error:  # noqa: BLE001 torch raises half a dozen kinds for a damaged file
        reason = (str(error) or type(error).__name__).splitlines()[0][:200]
        raise InputError(f"{path} is not a whole checkpoint ({reason}); delete it, and an earlier one will be used") from None
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise InputError(f"{path} is not a wespk checkpoint of format {FORMAT}")
    return state


def check_same_data(path, expected):
    """Raise ``InputError`` if the checkpoint ``path`` was trained on data of another ``fingerprint`` than ``expected``."""
    if load(path, mmap=True)["fingerprint"] != expected:
        raise InputError(f"{path} was trained on other data than these (fingerprint differs); train under another "
                         "--exp, or anew (run.sh --force true)")


def epoch_path(folder, epoch):
    """Path of the checkpoint after ``epoch`` whole epochs (1-based)."""
    return Path(folder) / NAMES["epoch"].format(epoch)


def epoch_checkpoints(folder):
    """Epoch checkpoints in ``folder``: list of (epoch, path), oldest first."""
    found = []
    for path in Path(folder).glob("epoch_*.pt"):
        match = re.fullmatch(r"epoch_(\d+)\.pt", path.name)
        if match:
            found.append((int(match.group(1)), path))
    return sorted(found)


def newest(folder):
    """The checkpoint to resume from; None if there is none.

    latest.pt if it is there (the trainer removes it once an epoch's own file is written), else the last epoch's.
    """
    latest = Path(folder) / NAMES["latest"]
    if latest.is_file():
        return latest
    epochs = epoch_checkpoints(folder)
    return epochs[-1][1] if epochs else None


def prune(folder, keep, spared=()):
    """Delete all but the newest ``keep`` epoch checkpoints and those of the epochs ``spared``."""
    for epoch, path in epoch_checkpoints(folder)[:-keep]:
        if epoch not in spared:
            path.unlink()


def average(paths):
    """Mean of the floating-point weights of several checkpoints; integer buffers come from the last.

    Sums are taken in float64. Returns a checkpoint dict without an optimiser state. Raises ``InputError`` if the files
    do not hold the same tensors.
    """
    paths = [Path(p) for p in paths]
    last = load(paths[-1])
    sums = {part: {n: v.double() for n, v in last[part].items() if v.is_floating_point()} for part in ("model", "loss")}
    for path in paths[:-1]:
        state = load(path)
        for part, tensors in sums.items():
            if {n: v.shape for n, v in state[part].items()} != {n: v.shape for n, v in last[part].items()}:
                raise InputError(f"{path} and {paths[-1]} hold different {part} tensors and cannot be averaged")
            for name, value in tensors.items():
                value += state[part][name].double()
    for part, tensors in sums.items():
        for name, value in tensors.items():
            last[part][name] = (value / len(paths)).to(last[part][name].dtype)
    last.pop("optimizer", None)
    last["averaged"] = [p.name for p in paths]
    return last


def fingerprint(lines):
    """sha256 hex digest of an iterable of strings: tells whether the training data are still the same.

    What has ``blocks``, the bytes of many lines at a time, is asked for these.
    """
    digest = hashlib.sha256()
    for block in lines.blocks() if hasattr(lines, "blocks") else (f"{line}\n".encode() for line in lines):
        digest.update(block)
    return digest.hexdigest()
