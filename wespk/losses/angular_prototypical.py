"""Angular prototypical loss: Chung et al. 2020, arXiv 2003.11982, equation 7."""

import torch
from torch import nn

from wespk.losses import LOSSES
from wespk.losses.base import check_number, cosines
from wespk.losses.prototypical import PrototypeLoss
from wespk.utils.precision import at_least_float32


@LOSSES.register("angular_prototypical")
class AngularPrototypical(PrototypeLoss):
    """Logits are w times the cosines, with a learnt w > 0 (``scale``).

    The paper's additive bias is left out: it is the same in all logits of a row, and cancels in the softmax.
    utterances: of each speaker in a batch; scale: w at the start.
    """

    def __init__(self, embed_dim, num_classes, utterances=2, scale=10.0):
        super().__init__(embed_dim, num_classes, utterances)
        self.scale = nn.Parameter(torch.tensor(float(check_number("scale", scale, 0, strict=True))))

    def similarity(self, queries, prototypes):
        return at_least_float32(self.scale).clamp(min=1e-6) * cosines(queries, prototypes)
