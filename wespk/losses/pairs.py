"""Contrastive losses of pairs, by blocks of anchors, value and gradient in one pass.

With c_ij the cosine of embeddings i and j, c' the cosine moved by the margin, A_ij the weight of a pair (1 without
attention), tau the temperature, A(i) everything but i and P(i) the part of it with i's label, an anchor's loss is

    l_i = log sum over j in A(i) of exp(v_ij) - 1/|P(i)| sum over p in P(i) of u_ip

    u_ij = A_ij c'_ij / tau        v_ij = A_ij c_ij / tau        or with c' there too (margin_on: all)

and where the attention is a factor of negatives, u and v are without A, and v_ij has log A_ij added for j not in P(i).

Autograd would keep about ten (N, N) matrices. Here a block of anchors is computed at a time and its share of the
gradient (N, D) at once; no computation is repeated, and a second backward pass through the same graph, as balancing
two losses takes, costs next to nothing. (``blocks.over_blocks`` gives back a figure for each embedding, so it has to
wait for their gradients and compute everything twice; the sum over anchors has one gradient only.)
"""

from dataclasses import dataclass

import torch
from torch.autograd.function import once_differentiable

from wespk.losses.aam_softmax import add_angle, angle_slope

# how many matrices (rows, N) a block's intermediate results come to, at most: with so many blocks, one (N, N) together
MATRICES, MATRICES_WITH_ATTENTION = 8, 12
LARGEST = 2**22  # entries of one of them, 16 MiB in float32: blocks get smaller from N of some thousands on


@dataclass(frozen=True)
class Form:
    """Which loss: temperature > 0; margin in radians, on ``positives`` or ``all`` pairs; attention: None (no weights),
    ``exponent`` or ``negatives``."""

    temperature: float
    margin: float = 0.0
    margin_on: str = "positives"
    attention: str | None = None


def block_rows(total, attention):
    """How many anchors are computed at a time, of ``total`` embeddings, with attention or without."""
    blocks = MATRICES_WITH_ATTENTION if attention else MATRICES
    return max(1, min(-(-total // blocks), LARGEST // total))


def count_positives(labels):
    """How many others have the same label, for labels (N,): (N,) int64. No GPU is waited for."""
    labels = labels.contiguous()
    ordered = labels.sort().values
    return torch.searchsorted(ordered, labels, right=True) - torch.searchsorted(ordered, labels) - 1


class _Block:
    """The pairs (b, N) of the anchors first .. first + b with everything; see ``pair_loss`` for the arguments."""

    def __init__(self, form, units, labels, first, last, log_attention, weights, positives):
        self.form, self.first, self.weights = form, first, weights[:, None]
        self.cosine = units[first:last] @ units.T
        self.positive = labels[first:last, None] == labels
        self._diagonal(self.positive, False)
        self.pull = self.positive * (weights / positives.clamp(min=1))[:, None]  # minus the derivative by u
        self.log_pair = self.pair = None
        if form.attention:
            self.log_pair = torch.minimum(log_attention[first:last, None], log_attention)
        if form.attention == "exponent":
            self.pair = self.log_pair.exp()

    def _diagonal(self, matrix, value):
        """Set the anchors' entries with themselves, which are no pairs."""
        matrix.diagonal(self.first).fill_(value)

    def _weighed(self, matrix):
        """``matrix`` times A / tau, or 1 / tau where the attention is not in the exponent."""
        scaled = matrix / self.form.temperature
        return scaled if self.pair is None else scaled.mul_(self.pair)

    def value(self):
        """Sum of the anchors' weighted losses. Afterwards ``logits`` is v, -inf for no pairs."""
        self.logits = self._weighed(add_angle(self.cosine, self.form.margin))  # u, for now
        pulled = torch.linalg.vecdot(self.pull, self.logits).sum()
        if self.form.margin and self.form.margin_on == "positives":
            self.logits = self._weighed(self.cosine)
        if self.form.attention == "negatives":
            self.logits += self.log_pair.masked_fill(self.positive, 0)
        self._diagonal(self.logits, -torch.inf)
        self.total = self.logits.logsumexp(1, keepdim=True)
        return (self.weights * self.total).sum() - pulled

    def gradients(self):
        """After ``value``: its gradients by the cosines (b, N) and by the log weights of the pairs (b, N) or None."""
        push = (self.logits - self.total).exp_().mul_(self.weights)  # the derivative by v
        by_pair = self._by_pair(push) if self.form.attention else None
        if not self.form.margin:
            push -= self.pull
        elif self.form.margin_on == "all":
            push.sub_(self.pull).mul_(angle_slope(self.cosine, self.form.margin))
        else:
            push -= self.pull.mul_(angle_slope(self.cosine, self.form.margin))
        return self._weighed(push), by_pair

    def _by_pair(self, push):
        if self.form.attention == "negatives":
            return push.masked_fill(self.positive, 0)
        self._diagonal(self.logits, 0)
        return push * self.logits - self.pull * self._weighed(add_angle(self.cosine, self.form.margin))


def _add_to_smaller(total, first, last, by_pair, log_attention):
    """Add the gradients by log min(a_i, a_j) to those by log a (N,): to the smaller one, half to each of equals."""
    mine, other = log_attention[first:last, None], log_attention
    by_row = by_pair * (0.5 * ((mine < other).to(by_pair.dtype) + (mine <= other)))
    total[first:last] += by_row.sum(1)
    total += by_pair.sub_(by_row).sum(0)


class _PairLoss(torch.autograd.Function):
    """See ``pair_loss``."""

    @staticmethod
    def forward(ctx, form, units, log_attention, labels, first, weights, positives):
        value, similarity = units.new_zeros(()), units.new_zeros(())
        wants = ctx.needs_input_grad[1] or ctx.needs_input_grad[2]
        by_units = torch.zeros_like(units) if wants else None
        by_attention = torch.zeros_like(log_attention) if wants and form.attention else None
        step, end = block_rows(len(units), form.attention), first + len(weights)
        for start in range(first, end, step):
            stop = min(start + step, end)
            own = slice(start - first, stop - first)
            block = _Block(form, units, labels, start, stop, log_attention, weights[own], positives[own])
            value += block.value()
            similarity += torch.linalg.vecdot(block.cosine, block.positive.to(units.dtype)).sum()
            if wants:
                by_cosine, by_pair = block.gradients()
                by_units[start:stop] += by_cosine @ units
                by_units += by_cosine.T @ units[start:stop]
                if form.attention:
                    _add_to_smaller(by_attention, start, stop, by_pair, log_attention)
                del by_cosine, by_pair
        ctx.save_for_backward(by_units, by_attention)
        ctx.mark_non_differentiable(similarity)
        return value, similarity

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient, _):
        by_units, by_attention = (x if x is None else gradient * x for x in ctx.saved_tensors)
        return None, by_units, by_attention, None, None, None, None


def pair_loss(form, units, log_attention, labels, first, weights, positives):
    """The weighted sum of the losses of some anchors, and the sum of their cosines with their positives: 0-dim tensors.

    form: ``Form``; units (N, D): embeddings of length 1, float32 or wider; log_attention (N,): log a_i, where the
    weight of a pair is min(a_i, a_j) (None without attention); labels (N,) int64; the anchors are the embeddings from
    ``first`` on, as many as there are ``weights`` (n,) and ``positives`` (n,), the sizes of their P(i). An anchor of
    weight 0 takes no part. The value has gradients for ``units`` and ``log_attention``; no second derivatives.
    """
    return _PairLoss.apply(form, units, log_attention, labels, first, weights, positives)
