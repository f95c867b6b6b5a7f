"""SphereFace2: one binary classifier a speaker instead of one softmax over all.

Wen et al. 2021 (arXiv 2108.01513); for speaker verification Han, Chen, Qian 2023 (arXiv 2307.08205). With c_j the
cosine of embedding and class j, g(u) = 2 ((u + 1) / 2)^t - 1, sp the softplus and y the label:

    L = lam * sp(-P) + (1 - lam) * sum over j != y of sp(N_j)         summed over classes, mean over the batch

    type   P (target)                          N_j (the others)
    C      r (g(c_y) - m) + b                  r (g(c_j) + m) + b
    A      r g(cos(theta_y + m)) + b           r g(cos(theta_j - m)) + b; one-sided: r g(c_j) + b
    M      r g(cos(min(m theta_y, pi))) + b    r g(c_j) + b

No class needs another's logit, so the loss splits over blocks of classes or processes without a normaliser.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

from wespk.losses import LOSSES
from wespk.losses.aam_softmax import add_angle, subtract_angle
from wespk.losses.base import check_choice, check_flag, check_number, cosines
from wespk.losses.blocks import BlockHead, find_targets
from wespk.losses.log_odds import LogOdds
from wespk.utils.errors import InputError
from wespk.utils.precision import at_least_float32

MARGIN_LIMITS = {"C": (0, math.inf), "A": (0, math.pi), "M": (1, math.inf)}
DEFAULT_MARGINS = {"C": 0.2, "A": 0.15}


def adjust(cosine, t):
    """g(u) = 2 ((u + 1) / 2)^t - 1, which maps [-1, 1] onto itself and spreads out the upper end.

    Under -1, where type A's target can be, g goes on falling for odd t; for other t, where the power would rise again
    or not exist, it stays at -1.
    """
    half = (cosine + 1) / 2
    if t % 2 != 1:
        half = half.clamp(min=0)
    return 2 * half.pow(t) - 1


def multiply_angle(cosine, factor):
    """cos(min(factor * theta, pi)) for cos(theta) of any shape; the gradient is 0 from pi on and finite everywhere."""
    if factor == 1:
        return cosine
    edge = 1 - torch.finfo(cosine.dtype).eps
    return (factor * cosine.clamp(-edge, edge).acos()).clamp(max=math.pi).cos()


def balance_point(target, other, lam, num_classes):
    """The bias b at which targets pull as hard as all others push: lam s(-target - b) = (1 - lam)(K - 1) s(other + b).

    s is the logistic function; ``target`` and ``other`` are a target's and another class's logit without bias. With
    zeta = lam / ((1 - lam)(K - 1)) and e = exp(target - other) the condition is a quadratic equation in exp(b).
    """
    zeta = lam / ((1 - lam) * (num_classes - 1))
    quarter = zeta * math.exp(target - other)
    root = math.hypot(1 - zeta, 2 * math.sqrt(quarter))
    # 1 - zeta + root, without cancellation when zeta is above 1
    total = 1 - zeta + root if zeta <= 1 else 4 * quarter / (root + zeta - 1)
    return math.log(2 * zeta) - other - math.log(total)


class BinaryHead(BlockHead):
    """Base of the heads with one logistic classifier a class, whose logit is r (similarity) + b.

    scale: r; lam: weight of the targets, in (0, 1); t: exponent >= 1; detach_g: pass the gradient around g and the margin,
    as if the logit were r c + b plus a constant; margin, limits, block_size: see ``BlockHead``. A subclass calls
    ``make_bias`` when it has all its options.
    """

    def __init__(self, embed_dim, num_classes, scale, margin, limits, lam, t, detach_g, block_size):
        super().__init__(embed_dim, num_classes, margin, block_size, limits)
        self.scale = check_number("scale", scale, 0, strict=True)
        self.lam = check_number("lam", lam, 0, 1, strict=True)
        self.t = check_number("t", t, 1)
        self.detach_g = check_flag("detach_g", detach_g)

    def make_bias(self, bias_init, target, other, num_others):
        """Make ``bias`` (1, 1): 0, or ``balanced``: see ``balance_point``.

        target, other: similarities (floats) of a target and of another class at a cosine of 0; num_others: how many others
        an embedding has.
        """
        check_choice("bias_init", bias_init, ("zero", "balanced"))
        bias = 0.0
        if bias_init == "balanced":
            bias = balance_point(self.scale * target, self.scale * other, self.lam, num_others + 1)
        self.bias = nn.Parameter(torch.full((1, 1), bias))

    def log_odds(self):
        return LogOdds(float(self.scale), float(self.t), self.bias.item(), float(self.lam), self.num_classes)

    def logit(self, similarity, cosine, bias):
        """r (similarity) + b; ``cosine`` is what ``similarity`` was computed from."""
        if self.detach_g:
            similarity = cosine + (similarity - cosine).detach()
        return self.scale * similarity + bias

    def shared(self):
        return (at_least_float32(self.bias),)


@LOSSES.register("sphereface2")
class SphereFace2(BinaryHead):
    """SphereFace2 with margin type C, A or M (see the top of this file); ``bias`` (1, 1) is the b all classes share.

    margin: m, for C on the cosine's scale, for A in radians, for M a factor >= 1; by default 0.2 (C) or 0.15 (A), while M
    has no established value and needs one; two_sided: type A only, whether the margin also lowers the other classes'
    angles; bias_init: ``zero``, or ``balanced``: see ``balance_point``, taken at cosines of 0 with the margin given here;
    other options: see ``BinaryHead``.
    """

    def __init__(self, embed_dim, num_classes, scale=32.0, margin=None, lam=0.7, t=3, margin_type="C", two_sided=True,
                 bias_init="zero", detach_g=False, block_size=0):
        check_choice("margin_type", margin_type, tuple(MARGIN_LIMITS))
        if margin is None and margin_type == "M":
            raise InputError("loss option margin: type M needs one, a factor >= 1 of the target's angle")
        if not check_flag("two_sided", two_sided) and margin_type != "A":
            raise InputError(f"loss option two_sided: false is for margin_type A; with {margin_type} leave it out")
        super().__init__(embed_dim, num_classes, scale, DEFAULT_MARGINS[margin_type] if margin is None else margin,
                         MARGIN_LIMITS[margin_type], lam, t, detach_g, block_size)
        self.margin_type = margin_type
        self.two_sided = two_sided
        orthogonal = torch.zeros((), dtype=torch.float64, device="cpu")  # numbers also while on "meta"
        self.make_bias(bias_init, self._target(orthogonal).item(), self._other(orthogonal).item(), num_classes - 1)

    def margin_now(self):
        """The margin as plain values, for those who read the log-odds."""
        return {"margin_type": self.margin_type, "final_margin": self.margin}

    def _target(self, cosine):
        """The target's adjusted similarity: its cosine lowered by the margin, and g."""
        if self.margin_type == "C":
            return adjust(cosine, self.t) - self.margin
        lowered = (add_angle if self.margin_type == "A" else multiply_angle)(cosine, self.margin)
        return adjust(lowered, self.t)

    def _other(self, cosine):
        """The adjusted similarity of the other classes."""
        if self.margin_type == "C":
            return adjust(cosine, self.t) + self.margin
        if self.margin_type == "A" and self.two_sided:
            cosine = subtract_angle(cosine, self.margin)
        return adjust(cosine, self.t)

    def block(self, embeddings, weight, labels, bias):
        """The part is (3, B): the block's share of each embedding's loss, and, without gradient, of how hard its target
        pulls and the other classes push, the absolute derivatives by their logits.
        """
        cosine = cosines(embeddings, weight)
        column, here = find_targets(labels, cosine.shape[1])
        logits = self.logit(self._other(cosine), cosine, bias)
        others = (1 - self.lam) * F.softplus(logits)
        own = cosine.gather(1, column)
        goal = -self.logit(self._target(own), own, bias)
        terms = others.scatter(1, column, torch.where(here, self.lam * F.softplus(goal), others.gather(1, column)))
        with torch.no_grad():
            slopes = logits.sigmoid()
            slopes.scatter_(1, column, torch.where(here, 0, slopes.gather(1, column)))
            pull = torch.where(here, self.lam * goal.sigmoid(), 0)[:, 0]
            push = (1 - self.lam) * slopes.sum(1)
        return torch.stack([terms.sum(1), pull, push]), cosine

    def merge(self, parts):
        return parts.sum(0)

    def losses(self, part):
        self.note_gradients(part[1].mean(), part[2].mean())
        return part[0]
