"""Sub-centre AAM-softmax with inter-top-k penalty.

Sub-centres: Deng et al., ECCV 2020; the penalty on the hardest other classes: Zhao et al. 2021 (arXiv 2110.05042).
"""

import math

import torch
from torch import nn

from wespk.losses import LOSSES
from wespk.losses.aam_softmax import add_angle, subtract_angle
from wespk.losses.base import MarginHead, check_count, check_number, cosines
from wespk.utils.errors import InputError


@LOSSES.register("subcenter")
class SubcenterAAM(MarginHead):
    """AAM-softmax where each class has several weight vectors and the nearest one counts.

    ``weight`` is (num_classes, sub_centers, embed_dim). scale: inverse temperature; margin: radians; sub_centers:
    weight vectors a class; top_k: how many of the other classes nearest to an embedding (0: none) have their angle
    lowered, to cos(theta - top_k_ratio * margin). So the penalty follows the margin through its schedule; the ratio
    of 0.3 at a margin of 0.2 is the usual 0.06 radians.
    """

    def __init__(self, embed_dim, num_classes, scale=32.0, margin=0.2, sub_centers=3, top_k=5, top_k_ratio=0.3):
        super().__init__(embed_dim, num_classes, margin, limits=(0, math.pi))
        self.scale = check_number("scale", scale, 0, strict=True)
        self.top_k = check_count("top_k", top_k, 0)
        if top_k >= num_classes:
            raise InputError(f"loss option top_k must be below the number of classes, {num_classes}, not {top_k}")
        self.top_k_ratio = check_number("top_k_ratio", top_k_ratio, 0)
        flat = torch.empty(num_classes * check_count("sub_centers", sub_centers, 1), embed_dim)
        nn.init.xavier_uniform_(flat)
        self.weight = nn.Parameter(flat.unflatten(0, (num_classes, sub_centers)))

    def compute(self, embeddings, labels):
        shape = self.weight.shape[:2]
        cosine = cosines(embeddings, self.weight.flatten(0, 1)).unflatten(1, shape).max(2).values
        self.set_accuracy(cosine.argmax(1), labels)
        target = cosine.gather(1, labels[:, None])
        logits = cosine
        if self.top_k:
            hardest = cosine.detach().scatter(1, labels[:, None], -2.0).topk(self.top_k, dim=1).indices
            raised = subtract_angle(cosine.gather(1, hardest), self.top_k_ratio * self.margin)
            logits = logits.scatter(1, hardest, raised)
        logits = logits.scatter(1, labels[:, None], add_angle(target, self.margin))
        return self.cross_entropy(self.scale * logits, labels)
