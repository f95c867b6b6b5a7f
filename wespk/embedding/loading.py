"""A trained network from its file: which file of an experiment, whether it is whole, and the network with its weights.

Everything needed stands in the checkpoint itself: architecture and front end come from its config, never from defaults.
"""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

import torch

from wespk.features.front_end import FrontEnd
from wespk.models import build_model
from wespk.utils.errors import InputError

FORMAT = 1


@dataclass
class Network:
    """A network in eval mode on its device, with the configuration and the front end that it was trained with."""

    model: torch.nn.Module
    front_end: FrontEnd
    config: dict
    path: Path
    step: int

    @property
    def cmn(self):
        """features.cmn: the normalisation of whole utterances that the network expects."""
        return self.front_end.cmn

    def fingerprint(self):
        """sha256 hex digest of the weights' names and bytes: equal exactly when two networks are."""
        digest = hashlib.sha256()
        for name, value in sorted(self.model.state_dict().items()):
            digest.update(f"{name} {tuple(value.shape)}".encode())
            digest.update(value.cpu().contiguous().numpy())
        return digest.hexdigest()


def pick_device(name, job=1):
    """``auto``, ``cpu``, ``cuda`` or ``cuda:N`` -> torch.device.

    With several GPUs visible (CUDA_VISIBLE_DEVICES), ``auto`` and ``cuda`` give job 1 the first, job 2 the second, and
    so on around.
    """
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", name):
        raise InputError(f"--device takes auto, cpu, cuda or cuda:N, not '{name}'")
    gpus = torch.cuda.device_count() if name != "cpu" else 0
    if name == "cpu" or (name == "auto" and not gpus):
        return torch.device("cpu")
    if not gpus:
        raise InputError(f"--device {name}: no GPU is visible here (CUDA_VISIBLE_DEVICES, driver); use --device cpu or "
                         "auto")
    index = int(name.partition(":")[2]) if ":" in name else (job - 1) % gpus
    if index >= gpus:
        raise InputError(f"--device {name}: only {gpus} GPUs are visible, numbered from 0")
    return torch.device("cuda", index)


def find_checkpoint(exp_dir_or_checkpoint):
    """The checkpoint meant by a path: the file itself, or of an experiment's folder the average, else the newest.

    The newest is checkpoints/latest.pt (inside an epoch), else the epoch_NNNN.pt of the highest number.
    """
    path = Path(exp_dir_or_checkpoint)
    if path.is_file():
        return path
    if not path.is_dir():
        raise InputError(f"{path}: no such experiment folder or checkpoint file")
    folder = path / "checkpoints"
    epochs = sorted((p for p in folder.glob("epoch_*.pt") if re.fullmatch(r"epoch_\d+", p.stem)),
                    key=lambda p: int(p.stem[len("epoch_"):]))
    for found in (folder / "average.pt", folder / "latest.pt", *epochs[-1:]):
        if found.is_file():
            return found
    raise InputError(f"{path} holds no checkpoints/average.pt and no checkpoints/epoch_*.pt: train it first (stage 3), "
                     "or name a checkpoint file")


def load_checkpoint(exp_dir_or_checkpoint, device="cpu"):
    """Read a checkpoint (see ``find_checkpoint``) -> (path, dict with at least config, model, speakers and step).

    Read with ``weights_only=True``: nothing in the file is executed. Tensors are mapped, so an optimiser's state costs
    nothing. Raises ``InputError`` naming the file if it is cut short, damaged or not one of ours.
    """
    path = find_checkpoint(exp_dir_or_checkpoint)
    out = "train or average again, or name another with --checkpoint"
    try:
        state = torch.load(path, map_location=device, weights_only=True, mmap=True)
    except Exception as error:  # noqa: BLE001 torch raises half a dozen kinds for a damaged or foreign file
        reason = (str(error).splitlines() or [type(error).__name__])[0][:160]
        raise InputError(f"{path} is cut short or not a wespk checkpoint ({reason}); {out}") from None
    if not isinstance(state, dict) or "format" not in state:
        raise InputError(f"{path} is a torch file, but not a wespk checkpoint; {out}")
    if state["format"] != FORMAT:
        raise InputError(f"{path} is a wespk checkpoint of format {state['format']}, but this version reads format "
                         f"{FORMAT}; use the wespk that wrote it, or {out}")
    missing = [key for key in ("config", "model", "step") if key not in state]
    if missing:
        raise InputError(f"{path} lacks '{missing[0]}'; {out}")
    return path, state


def put_weights(module, weights, path, complaint):
    """Load the state dict ``weights`` of checkpoint ``path``; raises ``InputError`` beginning with ``complaint`` if misfit."""
    try:
        module.load_state_dict(weights)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise InputError(f"{path}: {complaint} ({reason}); the file was put together from two experiments, or another "
                         "version of wespk wrote it") from None


def load_network(exp_dir_or_checkpoint, device="cpu"):
    """The network of an experiment or checkpoint file, with its weights, in eval mode on ``device`` -> ``Network``.

    Raises ``InputError`` naming the file if weights and architecture disagree or a weight is not finite.
    """
    path, state = load_checkpoint(exp_dir_or_checkpoint, device)
    model = build_model(state["config"]["model"])
    put_weights(model, state["model"], path, "its weights do not fit its own config's model")
    front_end = FrontEnd(state["config"]["features"])
    if front_end.feat_dim != model.feat_dim:
        raise InputError(f"{path}: its features have {front_end.feat_dim} values a frame, but its network takes "
                         f"{model.feat_dim}; its config was changed after training")
    for name, value in model.state_dict().items():
        if value.is_floating_point() and not value.isfinite().all():
            raise InputError(f"{path}: weight '{name}' is not finite; use an earlier checkpoint with --checkpoint")
    return Network(model.to(device).eval(), front_end, state["config"], path, state["step"])
