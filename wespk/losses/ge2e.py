"""Generalised end-to-end loss: Wan et al. 2018, arXiv 1710.10467."""

import torch
import torch.nn.functional as F
from torch import nn

from wespk.losses import LOSSES
from wespk.losses.base import check_choice, check_number
from wespk.losses.groups import GroupLoss
from wespk.utils.errors import InputError
from wespk.utils.precision import at_least_float32


@LOSSES.register("ge2e")
class GE2E(GroupLoss):
    """Every utterance against the centroid of every speaker; its own speaker's centroid is taken without it.

    With S = w cos + b over length-normalised embeddings (equation 9), mean over utterances i of speaker j of

        softmax    -S_j + log sum over k of exp(S_k)                                        (equation 6)
        contrast   1 - sigmoid(S_j) + max over k != j of sigmoid(S_k)                       (equation 7)

    utterances: of each speaker in a batch; scale: w at the start, learnt and kept above 0; bias: b at the start
    (-5), learnt; for the variant contrast alone, as it cancels in the other.
    """

    def __init__(self, embed_dim, num_classes, utterances=2, variant="softmax", scale=10.0, bias=None):
        super().__init__(embed_dim, num_classes, utterances)
        self.variant = check_choice("variant", variant, ("softmax", "contrast"))
        self.scale = nn.Parameter(torch.tensor(float(check_number("scale", scale, 0, strict=True))))
        if variant == "contrast":
            self.bias = nn.Parameter(torch.tensor(float(-5 if bias is None else check_number("bias", bias, -1e4, 1e4))))
        elif bias is not None:
            raise InputError("loss option bias: it cancels in the variant softmax; leave it out")

    def similarities(self, groups):
        """Cosines (P, M, P) of utterances (P, M, D) with the speakers' centroids."""
        groups = F.normalize(groups, dim=-1)
        total = groups.sum(1)
        cosine = torch.einsum("pmd,kd->pmk", groups, F.normalize(total, dim=-1))
        own = (groups * F.normalize(total[:, None] - groups, dim=-1)).sum(-1)
        is_own = torch.eye(len(groups), dtype=torch.bool, device=groups.device)[:, None]
        return torch.where(is_own, own[..., None], cosine)

    def compute(self, embeddings, labels):
        logits = at_least_float32(self.scale).clamp(min=1e-6) * self.similarities(self.grouped(embeddings, labels))
        own = torch.arange(len(logits), device=logits.device).repeat_interleave(self.utterances)
        logits = logits.flatten(0, 1)
        self.set_accuracy(logits.argmax(1), own)
        if self.variant == "softmax":
            return F.cross_entropy(logits, own)
        chance = torch.sigmoid(logits + at_least_float32(self.bias))
        rival = chance.scatter(1, own[:, None], 0).max(1).values
        return (1 - chance.gather(1, own[:, None])[:, 0] + rival).mean()
