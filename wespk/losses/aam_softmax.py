"""Additive-angular-margin softmax (ArcFace): Deng et al. 2019, arXiv 1801.07698."""

import math

import torch

from wespk.losses import LOSSES
from wespk.losses.am_softmax import MarginSoftmax
from wespk.losses.base import check_flag, safe_sine


def add_angle(cosine, margin, easy_margin=False):
    """cos(theta + margin) for cos(theta) of any shape, margin in radians within [0, pi].

    Where theta + margin would pass pi, so that the cosine would rise again, cos(theta) - (1 + cos(pi - margin)) takes
    over: -1 at theta = pi - margin, as on the other side, and falling on. With ``easy_margin`` there is no margin
    beyond 90 degrees instead.
    """
    if margin == 0:
        return cosine
    moved = cosine * math.cos(margin) - safe_sine(cosine) * math.sin(margin)
    if easy_margin:
        return torch.where(cosine > 0, moved, cosine)
    limit = math.cos(math.pi - margin)
    return torch.where(cosine > limit, moved, cosine - (1.0 + limit))


def angle_slope(cosine, margin):
    """The derivative of ``add_angle`` (not easy) by the cosine, of any shape; finite everywhere."""
    if margin == 0:
        return torch.ones_like(cosine)
    square = 1.0 - cosine * cosine
    least = torch.finfo(cosine.dtype).eps
    cotangent = (cosine * square.clamp(min=least).rsqrt()).masked_fill_(square < least, 0)  # of a sine that is held
    slope = cotangent.mul_(math.sin(margin)).add_(math.cos(margin))
    return slope.masked_fill_(cosine <= math.cos(math.pi - margin), 1)


def subtract_angle(cosine, margin):
    """cos(theta - margin) for cos(theta) of any shape, margin in radians; it falls again where theta < margin."""
    if margin == 0:
        return cosine
    return cosine * math.cos(margin) + safe_sine(cosine) * math.sin(margin)


@LOSSES.register("aam_softmax")
class AAMSoftmax(MarginSoftmax):
    """The target's cosine is lowered to cos(theta + margin), margin in radians.

    easy_margin: see ``add_angle``; other options: see ``MarginSoftmax``.
    """

    def __init__(self, embed_dim, num_classes, scale=32.0, margin=0.2, easy_margin=False, block_size=0):
        super().__init__(embed_dim, num_classes, scale, margin, block_size, limits=(0, math.pi))
        self.easy_margin = check_flag("easy_margin", easy_margin)

    def penalised(self, target):
        return add_angle(target, self.margin, self.easy_margin)
