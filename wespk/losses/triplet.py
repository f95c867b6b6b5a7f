"""Batch-hard triplet loss: Hermans, Beyer, Leibe 2017, arXiv 1703.07737, equation 5."""

import torch

from wespk.losses import LOSSES
from wespk.losses.base import check_number, cosines
from wespk.losses.groups import GroupLoss


@LOSSES.register("triplet")
class Triplet(GroupLoss):
    """max(0, margin + d_positive - d_negative), mean over all utterances as anchors.

    The distance is 1 - cosine (half the squared Euclidean distance of length-normalised embeddings); d_positive is
    the farthest utterance of the anchor's speaker, d_negative the nearest of all others. ``accuracy`` is the share of
    anchors whose farthest positive is nearer than their nearest negative. utterances: of each speaker in a batch.
    """

    def __init__(self, embed_dim, num_classes, utterances=2, margin=0.3):
        super().__init__(embed_dim, num_classes, utterances)
        self.margin = check_number("margin", margin, 0, 2)

    def compute(self, embeddings, labels):
        cosine = cosines(embeddings, embeddings)
        same = labels[:, None] == labels
        farthest = cosine.masked_fill(~same, torch.inf).amin(1)  # never the anchor itself, whose cosine is 1
        nearest = cosine.masked_fill(same, -torch.inf).amax(1)
        self.stats = {"accuracy": (farthest > nearest).float().mean().detach()}
        return (self.margin + nearest - farthest).relu().mean()
