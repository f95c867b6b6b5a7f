"""SDPN's assignment of views to prototypes: Chen et al. 2023, "Self-Distillation Prototypes Network", arXiv 2308.02774.

With q_k the prototypes and z_s, z_t the head outputs of student and teacher, all of length 1,

    p = softmax_k(z_s . q_k / tau)                                      of every local view of an utterance
    t = Sinkhorn(softmax_k(z_t . q_k / (tau T)))                        of its global view, without gradient
    cross-entropy = mean over views and utterances of -sum_k t_k log p_k
    me-max = ln K - H(pbar), pbar the mean of p over views and utterances

softmax(x / (tau T)) is the sharpening u^(1/T) / sum u^(1/T) of u = softmax(x / tau). The published formula has no
me-max; the authors' code, which they say is the final paper's, adds it with weight 1.

Where numbers are treated otherwise than in that code: log p is a log-softmax and not log(p^-t), which over- and
underflows; Sinkhorn runs in float64, so that its sums hardly depend on the number of processes.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

from wespk.losses import WITHOUT_LABELS
from wespk.losses.base import alone, check_count, check_number
from wespk.metrics import collapse
from wespk.utils.errors import InputError
from wespk.utils.precision import at_least_float32


def sinkhorn(scores, iterations=3, reduce=alone):
    """Assignments that are balanced over prototypes: non-negative scores (..., B, K), none of the rows all 0 -> the same.

    An iteration gives all prototypes (columns) the same total, then all rows the total 1 (Cuturi 2013; Caron et al.
    2020). So rows sum to 1 in the end, and columns come near to B / K; a single row comes out uniform. A column of zeros
    stays so. Dimensions before the last two are balanced each by itself. reduce: sum over processes that hold further
    rows. Computed, and returned, in float64, without gradient.
    """
    assigned = scores.detach().double()
    for _ in range(iterations):
        columns = reduce(assigned.sum(-2, keepdim=True))
        assigned = assigned / columns.clamp(min=torch.finfo(torch.float64).tiny)
        assigned = assigned / assigned.sum(-1, keepdim=True)
    return assigned


class SDPNLoss(nn.Module):
    """Prototypes, and the two losses above.

    dim: size of the head's output; num_prototypes: K; temperature: tau; sharpen: T in (0, 1], 1 leaves the teacher's
    distribution as it is; sinkhorn_iters: 0 leaves it unbalanced.

    ``prototypes`` (K, dim) start uniform in +-1/sqrt(dim), count by their direction only, serve student and teacher, and
    learn from the student alone. They are never decayed, nor is their gradient clipped.

    forward(student, teacher, reduce) -> (cross-entropy, me-max), 0-dim, float32 or wider:
        student (V, B, dim): head outputs of V views of B utterances, of any length;
        teacher (B, dim), or (G, B, dim) of G views: each is balanced by itself, and the cross-entropy is the mean over
        all G * V pairs of views, which is that with the mean of the G targets;
        reduce: sums over processes, each of which has a part of the utterances.
    Over processes: the cross-entropy is the mean over the utterances here, me-max that of the whole batch on every
    process. Weighed by the shares of utterances both add up to the whole batch's, and so do the gradients, if ``reduce``
    is as ``base.alone`` says.

    After a call ``stats`` holds detached 0-dim tensors: ``prototypes_used`` as first choice of a target (of the whole
    batch), and, of the targets here, ``max_target`` and ``target_entropy``, the means of ``metrics.collapse``.

    Raises ``InputError`` for options out of range and shapes that do not fit.
    """

    undecayed = ("prototypes",)
    unclipped = ("prototypes",)

    def __init__(self, dim, num_prototypes, temperature=0.1, sharpen=0.25, sinkhorn_iters=3):
        super().__init__()
        self.dim = check_count("dim", dim, 1)
        self.num_prototypes = check_count("num_prototypes", num_prototypes, 2)
        self.temperature = check_number("temperature", temperature, 0, strict=True)
        self.sharpen = check_number("sharpen", sharpen, 0, strict=True)
        if sharpen > 1:
            raise InputError(f"loss option sharpen must be at most 1, which does nothing, not {sharpen!r}: more would blur")
        self.sinkhorn_iters = check_count("sinkhorn_iters", sinkhorn_iters, 0)
        bound = 1 / math.sqrt(dim)
        self.prototypes = nn.Parameter(torch.empty(num_prototypes, dim).uniform_(-bound, bound))
        self.stats = {}

    def forward(self, student, teacher, reduce=alone):
        self._check(student, teacher)
        with torch.autocast(student.device.type, enabled=False):
            targets = self.targets(teacher, reduce)
            log_p = (self._cosines(student) / self.temperature).log_softmax(-1)
            rows = log_p.shape[0] * log_p.shape[1]
            cross_entropy = -torch.einsum("vbk,bk->", log_p, targets.to(log_p.dtype)) / rows
            count = reduce(torch.full((), float(rows), dtype=log_p.dtype, device=log_p.device))
            mean = reduce(log_p.exp().sum((0, 1))) / count
            me_max = math.log(self.num_prototypes) - collapse.entropy(mean)
            self._note(targets, reduce)
        return cross_entropy, me_max

    @torch.no_grad()
    def targets(self, teacher, reduce=alone):
        """The targets (B, K) float64 of the teacher's head outputs (B, dim), or the mean of those of (G, B, dim)."""
        sharp = (self._cosines(teacher).double() / (self.temperature * self.sharpen)).softmax(-1)
        balanced = sinkhorn(sharp, self.sinkhorn_iters, reduce)
        return balanced if balanced.dim() == 2 else balanced.mean(0)

    def _cosines(self, outputs):
        units = F.normalize(at_least_float32(outputs), dim=-1)
        return F.linear(units, F.normalize(at_least_float32(self.prototypes).to(units.dtype)))

    def _check(self, student, teacher):
        if student.dim() != 3 or student.shape[-1] != self.dim or not student.numel():
            raise InputError(f"SDPN takes the student's outputs (views, batch, {self.dim}), not {tuple(student.shape)}")
        if teacher.dim() not in (2, 3) or teacher.shape[-2:] != student.shape[1:] or not teacher.numel():
            raise InputError(f"SDPN takes the teacher's outputs ({student.shape[1]}, {self.dim}) of the same utterances, or "
                             f"(views, {student.shape[1]}, {self.dim}), not {tuple(teacher.shape)}")

    @torch.no_grad()
    def _note(self, targets, reduce):
        self.stats = {"prototypes_used": (reduce(collapse.assigned(targets)) > 0).sum().float(),
                      "max_target": collapse.mean_max(targets).float(),
                      "target_entropy": collapse.mean_entropy(targets).float()}


@WITHOUT_LABELS.register("sdpn")
def sdpn(embed_dim, num_classes=None, num_prototypes=1024, temperature=0.1, sharpen=0.25, sinkhorn_iters=3):
    """``SDPNLoss`` of outputs of size ``embed_dim``, as ``build_loss`` calls it; ``num_classes`` are speakers, which it ignores."""
    return SDPNLoss(embed_dim, num_prototypes, temperature, sharpen, sinkhorn_iters)
