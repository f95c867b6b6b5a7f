"""Supervised training: one network, one classification loss."""

import torch
from torch import nn

from wespk.losses import build_loss
from wespk.models import build_model
from wespk.training.objectives import OBJECTIVES


@OBJECTIVES.register("supervised")
class Supervised(nn.Module):
    """Network and loss head in one module, so that DDP's forward covers both.

    forward(feats (B, T, F) float32, labels (B,) int64) -> {"loss": scalar, "accuracy": scalar}. With ``bf16`` the
    network runs under bfloat16 autocast; embeddings and loss are float32 always.
    """

    def __init__(self, conf, num_classes):
        super().__init__()
        self.model = build_model(conf["model"])
        self.loss = build_loss(conf["loss"], self.model.embed_dim, num_classes)
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
