"""A trained loss from its checkpoint, for what it says after training."""

import torch

from wespk.embedding.loading import load_checkpoint, put_weights
from wespk.models import build_model
from wespk.training.objectives import find_objective
from wespk.utils.errors import InputError


def load_loss(exp_dir_or_checkpoint):
    """The trained loss of an experiment or checkpoint file, on the CPU, with its final margin -> (loss, path, config).

    Of an objective with several it is the classification loss. Which file is meant: ``embedding.loading.find_checkpoint``.
    Raises ``InputError`` naming the file if weights and configuration disagree, or it has no classification loss.
    """
    path, state = load_checkpoint(exp_dir_or_checkpoint)
    for key in ("loss", "speakers"):
        if key not in state:
            raise InputError(f"{path} lacks '{key}': it holds a network alone; name a checkpoint of the training itself")
    conf = state["config"]
    if conf["loss"]["name"] == "none":
        raise InputError(f"{path} was trained with loss.name=none, without a classification loss")
    with torch.device("meta"):
        embed_dim = build_model(conf["model"]).embed_dim
    loss = find_objective(conf).build_loss(conf, embed_dim, len(state["speakers"]))
    if loss.has_margin:
        loss.set_margin(conf["margin"]["final"])
    put_weights(loss, state["loss"], path, "its loss's weights do not fit its own config's loss")
    return getattr(loss, "classification", loss), path, conf
