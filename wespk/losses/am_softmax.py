"""Additive-margin softmax (CosFace): Wang et al. 2018, arXiv 1801.05599 and 1801.09414."""

import torch.nn.functional as F

from wespk.losses import LOSSES
from wespk.losses.base import ClassHead, check_number


class MarginSoftmax(ClassHead):
    """-log softmax(s * c')[y], mean over the batch: c' are cosines, the target's replaced by ``penalised``.

    scale: s, the inverse temperature; margin: in the unit of the subclass.
    """

    def __init__(self, embed_dim, num_classes, scale=32.0, margin=0.2):
        super().__init__(embed_dim, num_classes, margin)
        self.scale = check_number("scale", scale, 0, strict=True)

    def penalised(self, target):
        """Lower the cosines (B,) of the target classes by the margin."""
        raise NotImplementedError

    def compute(self, embeddings, labels):
        cosines = self.cosines(embeddings)
        self.set_accuracy(cosines, labels)
        target = cosines.gather(1, labels[:, None])
        logits = cosines.scatter(1, labels[:, None], self.penalised(target))
        return F.cross_entropy(self.scale * logits, labels)


@LOSSES.register("am_softmax")
class AMSoftmax(MarginSoftmax):
    """The target's cosine is lowered to cos(theta) - margin."""

    def penalised(self, target):
        return target - self.margin
