"""Prototypical loss: Snell, Swersky, Zemel 2017 (arXiv 1703.05175)."""

import torch
import torch.nn.functional as F

from wespk.losses import LOSSES
from wespk.losses.groups import GroupLoss


class PrototypeLoss(GroupLoss):
    """Cross-entropy of each speaker's last utterance among the speakers' prototypes: the means of their others."""

    def similarity(self, queries, prototypes):
        """Logits (P, P) of queries (P, D) against prototypes (P, D)."""
        raise NotImplementedError

    def compute(self, embeddings, labels):
        groups = self.grouped(embeddings, labels)
        logits = self.similarity(groups[:, -1], groups[:, :-1].mean(1))
        own = torch.arange(len(logits), device=logits.device)
        self.set_accuracy(logits.argmax(1), own)
        return F.cross_entropy(logits, own)


@LOSSES.register("prototypical")
class Prototypical(PrototypeLoss):
    """Logits are minus the squared Euclidean distances, of embeddings that keep their length.

    utterances: of each speaker in a batch.
    """

    def __init__(self, embed_dim, num_classes, utterances=2):
        super().__init__(embed_dim, num_classes, utterances)

    def similarity(self, queries, prototypes):
        return -(queries[:, None] - prototypes).square().sum(2)
