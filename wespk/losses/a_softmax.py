"""A-softmax (SphereFace): Liu et al. 2017, arXiv 1704.08063."""

import math

import torch

from wespk.losses import LOSSES
from wespk.losses.base import ClassHead, check_count, check_number, cosines


def multiplied_angle(cosine, factor):
    """psi(theta) = (-1)^k cos(m theta) - 2k for theta in [k pi / m, (k + 1) pi / m]: falls from 1 to 1 - 2m.

    cosine: of any shape; factor: m, an integer >= 1. cos(m theta) is the Chebyshev polynomial of cos(theta), whose
    gradient is finite everywhere.
    """
    cosine = cosine.clamp(-1, 1)
    before, power = torch.ones_like(cosine), cosine
    for _ in range(factor - 1):
        before, power = power, 2 * cosine * power - before
    k = (factor * cosine.detach().acos() / math.pi).floor()
    return (1 - 2 * (k % 2)) * power - 2 * k


@LOSSES.register("a_softmax")
class ASoftmax(ClassHead):
    """-log softmax(|x| c')[y], mean over the batch: class weights are normalised, embeddings keep their length |x|.

    The target's cosine c becomes (a c + psi(theta)) / (1 + a). ``a`` anneals from plain softmax towards the full
    margin: a = max(anneal_min, anneal_base * (1 + anneal_gamma * n)^-anneal_power) at the n-th batch in training
    mode. n is part of the state dict (``batches``), so that a resumed run goes on where it stood.

    margin: m, an integer; it is no subject of a margin schedule.
    """

    def __init__(self, embed_dim, num_classes, margin=4, anneal_base=1000.0, anneal_gamma=0.12, anneal_power=1.0,
                 anneal_min=5.0):
        super().__init__(embed_dim, num_classes)
        self.margin = check_count("margin", margin, 1)
        self.anneal_base = check_number("anneal_base", anneal_base, 0)
        self.anneal_gamma = check_number("anneal_gamma", anneal_gamma, 0)
        self.anneal_power = check_number("anneal_power", anneal_power, 0)
        self.anneal_min = check_number("anneal_min", anneal_min, 0)
        self.register_buffer("batches", torch.zeros((), dtype=torch.int64))

    def _annealing(self):
        decayed = self.anneal_base * (1 + self.anneal_gamma * self.batches.double()) ** -self.anneal_power
        return decayed.clamp(min=self.anneal_min)

    def compute(self, embeddings, labels):
        if self.training:
            self.batches += 1
        cosine = cosines(embeddings, self.weight)
        self.set_accuracy(cosine.argmax(1), labels)
        target = cosine.gather(1, labels[:, None])
        share = (1 / (1 + self._annealing())).to(cosine.dtype)
        lowered = target + share * (multiplied_angle(target, self.margin) - target)
        logits = cosine.scatter(1, labels[:, None], lowered)
        return self.cross_entropy(embeddings.norm(dim=1, keepdim=True) * logits, labels)
