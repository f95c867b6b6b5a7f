"""Additive-margin softmax (CosFace): Wang et al. 2018, arXiv 1801.05599 and 1801.09414."""

import math

import torch

from wespk.losses import LOSSES
from wespk.losses.base import check_number, cosines
from wespk.losses.blocks import BlockHead, find_targets


class MarginSoftmax(BlockHead):
    """-log softmax(s * c')[y], mean over the batch: c' are cosines, the target's replaced by ``penalised``.

    scale: s, the inverse temperature; margin: in the unit of the subclass; block_size: see ``BlockHead``.
    """

    def __init__(self, embed_dim, num_classes, scale, margin, block_size, limits=(0, math.inf)):
        super().__init__(embed_dim, num_classes, margin, block_size, limits)
        self.scale = check_number("scale", scale, 0, strict=True)

    def penalised(self, target):
        """Lower the cosines of the target classes, of any shape, by the margin."""
        raise NotImplementedError

    def compute(self, embeddings, labels):
        if self.block_size:
            return super().compute(embeddings, labels)
        cosine = cosines(embeddings, self.weight)
        self.set_accuracy(cosine.argmax(1), labels)
        logits, _ = self._logits(cosine, labels)
        return self.cross_entropy(logits, labels)

    def _logits(self, cosine, labels):
        """Logits (B, k) of a block's cosines, and those of the targets that lie in it (B,), 0 elsewhere."""
        column, here = find_targets(labels, cosine.shape[1])
        target = cosine.gather(1, column)
        target = torch.where(here, self.penalised(target), target)
        return self.scale * cosine.scatter(1, column, target), self.scale * torch.where(here, target, 0)[:, 0]

    def block(self, embeddings, weight, labels):
        """The part is (2, B): the log of the block's summed exponentials, and the target logits that lie in it."""
        cosine = cosines(embeddings, weight)
        logits, target = self._logits(cosine, labels)
        return torch.stack([logits.logsumexp(1), target]), cosine

    def merge(self, parts):
        return torch.stack([parts[:, 0].logsumexp(0), parts[:, 1].sum(0)])

    def losses(self, part):
        losses = part[0] - part[1]
        self.note_softmax(losses)
        return losses


@LOSSES.register("am_softmax")
class AMSoftmax(MarginSoftmax):
    """The target's cosine is lowered to cos(theta) - margin. Options: see ``MarginSoftmax``."""

    def __init__(self, embed_dim, num_classes, scale=32.0, margin=0.2, block_size=0):
        super().__init__(embed_dim, num_classes, scale, margin, block_size)

    def penalised(self, target):
        return target - self.margin
