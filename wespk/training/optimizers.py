"""The optimiser that a configuration asks for."""

import torch
from torch import nn

from wespk.training.objectives import METHOD_SECTIONS
from wespk.utils import dist


def _groups(module, weight_decay, decay_all):
    """Parameter groups of what learns; a module names in ``undecayed`` those of its own that are never decayed."""
    never = [p for m in module.modules() for name in getattr(m, "undecayed", ())
             if (p := getattr(m, name)) is not None and p.requires_grad]
    rest = [p for p in module.parameters() if p.requires_grad and all(p is not other for other in never)]
    apart = [{"params": never, "weight_decay": 0.0}] if never else []
    if decay_all:
        return [{"params": rest, "weight_decay": weight_decay}, *apart]
    matrices = [p for p in rest if p.ndim > 1 and p.numel() > 1]  # SphereFace2's bias is (1, 1)
    vectors = [p for p in rest if p.ndim <= 1 or p.numel() == 1]
    return [{"params": matrices, "weight_decay": weight_decay}, {"params": vectors, "weight_decay": 0.0}, *apart]


def build_optimizer(module, conf):
    """The optimiser of the section ``optimizer`` over ``module``'s parameters.

    Weight decay is a part of the gradient in ``sgd`` and ``adam``, and apart from it in ``adamw``.

    With ``decay_all`` false, single numbers and parameters of one dimension (biases, norm scales) are not decayed. What a
    module names in ``undecayed`` (the slopes of a network's PReLUs, for one) never is.
    """
    groups = _groups(module, conf["weight_decay"], conf["decay_all"])
    if conf["name"] == "sgd":
        return torch.optim.SGD(groups, lr=conf["lr"], momentum=conf["momentum"], nesterov=conf["nesterov"])
    kind = torch.optim.Adam if conf["name"] == "adam" else torch.optim.AdamW
    return kind(groups, lr=conf["lr"])


def set_learning_rate(optimizer, value):
    """Set every group's learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = value


def unused_options(conf, objective):
    """Options of the configuration that do nothing in this run, for the log: nothing is ignored without a word."""
    unused = []
    if conf["optimizer"]["name"] != "sgd":
        unused += ["optimizer.momentum", "optimizer.nesterov"]
    if conf["schedule"]["name"] == "constant":
        unused += ["schedule.final_lr"]
    if conf["features"]["type"] != "mfcc":
        unused += ["features.num_ceps"]
    if not objective.has_margin:
        unused += [f"margin.* (loss.name={conf['loss']['name']} has none)"]
    unused += [f"{section}.*" for section in METHOD_SECTIONS if section not in objective.sections]
    if "crops" in objective.sections:
        unused += ["data.chunk_frames"]
        if not conf["crops"]["teacher_number"]:
            unused += ["crops.teacher_frames", "crops.teacher_clean"]
    if not conf["train"]["init_from"]:
        unused += ["train.init_head", "train.extra_classes"]
    if not conf["data"]["speed_copies"] and not conf["copies"]["speeds"]:
        unused += ["data.speed_copies (there are none to leave out)"]
    if conf["labels"]["noise"] == "none":
        unused += ["labels.seed"]
    section = conf["augment"]
    if conf["data"]["input"] == "feats":
        unused += ["augment.* but for the masks"]
    elif section["prob"] == 0:
        unused += ["augment.kinds", "augment.reverb_share", "augment.both_share", "augment.reverb_gain", "augment.*_snr",
                   "augment.babble_speakers", "augment.bank_minutes"]
    if section["mask_prob"] == 0:
        unused += ["augment.time_*", "augment.freq_*"]
    if conf["train"]["grad_clip"] == 0:
        unused += ["train.clip_each"]
    if conf["runtime"]["shard_head"] and dist.world_size() == 1:
        unused += ["runtime.shard_head (one process)"]
    if conf["train"]["sync_batchnorm"] and dist.world_size() == 1:
        unused += ["train.sync_batchnorm (one process)"]
    elif conf["train"]["sync_batchnorm"] and not any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in objective.modules()):
        unused += ["train.sync_batchnorm (there is no batch norm)"]
    if not conf["optimizer"]["decay_all"] and conf["optimizer"]["weight_decay"] == 0:
        unused += ["optimizer.decay_all"]
    return unused
