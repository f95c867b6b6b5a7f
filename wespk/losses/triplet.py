"""Batch-hard triplet loss: Hermans, Beyer, Leibe 2017, arXiv 1703.07737, equation 5."""

import torch

from wespk.losses import LOSSES
from wespk.losses.base import Loss, check_number, cosines
from wespk.utils.errors import InputError


@LOSSES.register("triplet")
class Triplet(Loss):
    """max(0, margin + d_positive - d_negative), mean over all utterances as anchors.

    The distance is 1 - cosine (half the squared Euclidean distance of length-normalised embeddings); d_positive is
    the farthest utterance of the anchor's speaker, d_negative the nearest of all others. ``accuracy`` is the share of
    anchors whose farthest positive is nearer than their nearest negative. Raises ``InputError`` when a speaker of
    the batch has one utterance only, or there is one speaker only.
    """

    def __init__(self, embed_dim, num_classes, margin=0.3):
        super().__init__(embed_dim, num_classes)
        self.margin = check_number("margin", margin, 0, 2)

    def check_labels(self, labels):
        super().check_labels(labels)
        speakers, counts = torch.unique(labels, return_counts=True)
        if (counts < 2).any():
            raise InputError(f"speaker {int(speakers[counts < 2][0])} has 1 utterance in the batch; the triplet loss "
                             "takes at least 2 of each: sample batches of speakers x utterances")
        if len(speakers) < 2:
            raise InputError("all utterances of the batch are one speaker's; the loss compares at least two speakers")

    def compute(self, embeddings, labels):
        cosine = cosines(embeddings, embeddings)
        same = labels[:, None] == labels
        farthest = cosine.masked_fill(~same, torch.inf).amin(1)  # never the anchor itself, whose cosine is 1
        nearest = cosine.masked_fill(same, -torch.inf).amax(1)
        self.stats = {"accuracy": (farthest > nearest).float().mean().detach()}
        return (self.margin + nearest - farthest).relu().mean()
