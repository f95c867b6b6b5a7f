"""A trained loss from its checkpoint, for what it says after training."""

import torch

from wespk.embedding.loading import load_checkpoint
from wespk.models import build_model
from wespk.training.supervised import build_head
from wespk.utils.errors import InputError


def load_loss(exp_dir_or_checkpoint, trained=True):
    """The trained loss of an experiment or checkpoint file, on the CPU, with its final margin -> (loss, path, config).

    trained: false for the loss as an own start (not ``train.init_from``) would begin with, its weights drawn anew. Which
    file is meant: ``embedding.loading.find_checkpoint``. Raises ``InputError`` naming the file if weights and
    configuration disagree.
    """
    path, state = load_checkpoint(exp_dir_or_checkpoint)
    for key in ("loss", "speakers"):
        if key not in state:
            raise InputError(f"{path} lacks '{key}': it holds a network alone; name a checkpoint of the training itself")
    conf = state["config"]
    with torch.device("meta"):
        embed_dim = build_model(conf["model"]).embed_dim
    loss = build_head(conf, embed_dim, len(state["speakers"]))
    if loss.has_margin:
        loss.set_margin(conf["margin"]["final"])
    if not trained:
        return loss, path, conf
    try:
        loss.load_state_dict(state["loss"])
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:300]
        raise InputError(f"{path}: its loss's weights do not fit its own config's loss ({reason}); the file was put "
                         "together from two experiments, or another version of wespk wrote it") from None
    return loss, path, conf
