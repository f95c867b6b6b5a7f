"""Supervised training: one network, one classification loss."""

import torch
from torch import nn

from wespk.losses import build_loss, load_all
from wespk.models import build_model
from wespk.training.objectives import OBJECTIVES
from wespk.utils.errors import InputError


def build_head(conf, embed_dim, num_classes):
    """The loss of the section ``loss``. One whose margin follows the section ``margin`` starts with its ``initial``.

    Raises ``InputError`` for ``loss.margin`` where the schedule says it, and for an ``initial`` or ``final`` margin that
    the loss cannot take.
    """
    options = dict(conf["loss"])
    if not load_all().find(options["name"]).has_margin:
        return build_loss(options, embed_dim, num_classes)
    if "margin" in options:
        raise InputError("loss.margin: the margin follows the section 'margin'; set margin.initial, margin.final and the "
                         "epochs between which it grows (a constant one: start_epoch = end_epoch = 0)")
    margin = conf["margin"]
    try:
        loss = build_loss({**options, "margin": margin["initial"]}, embed_dim, num_classes)
    except InputError as error:
        raise InputError(f"{error}{' (margin.initial)' if 'option margin must' in str(error) else ''}") from None
    try:
        loss.set_margin(margin["final"])
    except InputError as error:
        raise InputError(f"{error} (margin.final)") from None
    loss.set_margin(margin["initial"])
    return loss


@OBJECTIVES.register("supervised")
class Supervised(nn.Module):
    """Network and loss head in one module, so that DDP's forward covers both.

    forward(feats (B, T, F) float32, labels (B,) int64) -> {"loss": scalar, "accuracy": scalar}. With ``bf16`` the
    network runs under bfloat16 autocast; embeddings and loss are float32 always.
    """

    def __init__(self, conf, num_classes):
        super().__init__()
        if load_all().find(conf["loss"]["name"]).views:
            raise InputError(f"loss.name={conf['loss']['name']} compares several views of an utterance, of which supervised "
                             "training makes one; use it in the contrastive objective (objective.name=contrastive)")
        self.model = build_model(conf["model"])
        self.loss = build_head(conf, self.model.embed_dim, num_classes)
        self.bf16 = conf["train"]["bf16"]

    @property
    def has_margin(self):
        """Whether the loss takes the section ``margin`` into account."""
        return getattr(self.loss, "has_margin", True)

    def set_margin(self, margin):
        """Set the loss head's margin, if it has one."""
        if self.has_margin:
            self.loss.set_margin(margin)

    def forward(self, feats, labels):
        with torch.autocast(feats.device.type, dtype=torch.bfloat16, enabled=self.bf16):
            embeddings = self.model(feats)
        loss = self.loss(embeddings.float(), labels)
        return {"loss": loss, **self.loss.stats}
