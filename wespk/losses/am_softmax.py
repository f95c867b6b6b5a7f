"""Additive-margin softmax (CosFace): Wang et al. 2018, arXiv 1801.05599 and 1801.09414."""

import torch
import torch.nn.functional as F

from wespk.losses import LOSSES
from wespk.losses.base import MarginHead, check_count, check_number, cosines
from wespk.losses.blocks import over_blocks


def replace_target(values, labels, change):
    """``values`` (B, k) with each row's target column, labels (B,), put through ``change``.

    A label outside [0, k) names a class of another block: that row stays as it is. Returns the new values, the
    targets (B,), 0 where there is none, and the mask (B,) of rows that have their target here.
    """
    here = (labels >= 0) & (labels < values.shape[1])
    column = labels.clamp(0, values.shape[1] - 1)[:, None]
    old = values.gather(1, column)
    new = torch.where(here[:, None], change(old), old)
    return values.scatter(1, column, new), torch.where(here, new[:, 0], 0), here


class MarginSoftmax(MarginHead):
    """-log softmax(s * c')[y], mean over the batch: c' are cosines, the target's replaced by ``penalised``.

    scale: s, the inverse temperature; margin: in the unit of the subclass; block_size: 0, or the number of classes
    that are in memory at a time (same value and gradients, a second computation of the cosines in the backward pass).
    """

    def __init__(self, embed_dim, num_classes, scale, margin, block_size):
        super().__init__(embed_dim, num_classes, margin)
        self.scale = check_number("scale", scale, 0, strict=True)
        self.block_size = check_count("block_size", block_size, 0)

    def penalised(self, target):
        """Lower the cosines of the target classes, of any shape, by the margin."""
        raise NotImplementedError

    def compute(self, embeddings, labels):
        if self.block_size:
            parts, best = over_blocks(self._block, self.block_size, embeddings, self.weight, labels)
            self.set_accuracy(best, labels)
            return (parts[:, 0].logsumexp(0) - parts[:, 1].sum(0)).mean()
        cosine = cosines(embeddings, self.weight)
        self.set_accuracy(cosine.argmax(1), labels)
        logits, _, _ = replace_target(cosine, labels, self.penalised)
        return F.cross_entropy(self.scale * logits, labels)

    def _block(self, embeddings, weight, labels):
        """One block's share: row 0 the log of its summed exponentials, row 1 the target logits that lie in it."""
        cosine = cosines(embeddings, weight)
        logits, target, _ = replace_target(cosine, labels, self.penalised)
        return torch.stack([(self.scale * logits).logsumexp(1), self.scale * target]), cosine


@LOSSES.register("am_softmax")
class AMSoftmax(MarginSoftmax):
    """The target's cosine is lowered to cos(theta) - margin. Options: see ``MarginSoftmax``."""

    def __init__(self, embed_dim, num_classes, scale=32.0, margin=0.2, block_size=0):
        super().__init__(embed_dim, num_classes, scale, margin, block_size)

    def penalised(self, target):
        return target - self.margin
