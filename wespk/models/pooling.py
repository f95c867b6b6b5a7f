"""Pooling over time: frames (B, C, T) or (B, C, F, T) -> one vector (B, out_dim), in float32 at least.

Every pooling takes ``lengths`` (B,) or None; frames behind an utterance's length have no weight. Standard deviations
follow the common recipe: the unbiased variance for plain statistics, the weighted (biased) one under attention, a
floor of 1e-7 inside the root.
"""

import torch
from torch import nn

from wespk.models.layers import choose, positive, valid_frames
from wespk.utils.precision import at_least_float32

EPS = 1e-7
POOLINGS = ("tstp", "astp", "astp_global", "mean")


def build_pooling(name, dim, bottleneck=128):
    """The pooling called ``name`` for frames of ``dim`` values: one of ``POOLINGS``."""
    choose("pooling", name, POOLINGS)
    positive(bottleneck=bottleneck)
    if name == "mean":
        return MeanPooling(dim)
    if name == "tstp":
        return StatisticsPooling(dim)
    return AttentiveStatisticsPooling(dim, bottleneck, global_context=name == "astp_global")


def _frames(x, lengths):
    """``x`` as (B, C, T) of at least float32, zero in the padding, and the mask (B, 1, T) or None."""
    x = at_least_float32(x.flatten(1, -2))
    if lengths is None:
        return x, None
    valid = valid_frames(lengths, x.shape[-1])[:, None]
    return x.masked_fill(~valid, 0), valid


def mean_over_time(x, lengths=None):
    """Mean over the last axis of (B, ..., T), counting only the first ``lengths`` frames: (B, C)."""
    x, valid = _frames(x, lengths)
    return x.mean(-1) if valid is None else x.sum(-1) / lengths[:, None]


def mean_and_std(x, lengths=None):
    """Mean and sqrt(unbiased variance + 1e-7) over the last axis of (B, ..., T): two (B, C)."""
    x, valid = _frames(x, lengths)
    if valid is None:
        var, mean = torch.var_mean(x, dim=-1)
    else:
        mean = x.sum(-1) / lengths[:, None]
        square = (x - mean[..., None]).square().masked_fill(~valid, 0)
        var = square.sum(-1) / (lengths[:, None] - 1)
    return mean, (var + EPS).sqrt()


class MeanPooling(nn.Module):
    """Temporal average pooling."""

    def __init__(self, dim):
        super().__init__()
        self.out_dim = dim

    def forward(self, x, lengths=None):
        return mean_over_time(x, lengths)


class StatisticsPooling(nn.Module):
    """Temporal statistics pooling (TSTP): mean and standard deviation side by side (Snyder et al. 2018)."""

    def __init__(self, dim):
        super().__init__()
        self.out_dim = 2 * dim

    def forward(self, x, lengths=None):
        return torch.cat(mean_and_std(x, lengths), dim=1)


class AttentiveStatisticsPooling(nn.Module):
    """Channel- and context-dependent attentive statistics pooling (Desplanques et al. 2020, section 3.1).

    A softmax over time for each channel weighs the mean and the standard deviation. With ``global_context`` the
    attention also sees the utterance's own mean and standard deviation; as these are the same for all frames, their
    part of the first layer is computed once an utterance rather than once a frame.
    """

    def __init__(self, dim, bottleneck=128, global_context=False):
        super().__init__()
        self.out_dim = 2 * dim
        self.hidden = nn.Conv1d(dim, bottleneck, 1)
        self.context = nn.Linear(2 * dim, bottleneck, bias=False) if global_context else None
        self.attention = nn.Conv1d(bottleneck, dim, 1)

    def forward(self, x, lengths=None):
        x, valid = _frames(x, lengths)
        hidden = self.hidden(x)
        if self.context is not None:
            hidden = hidden + self.context(torch.cat(mean_and_std(x, lengths), dim=1))[..., None]
        logits = at_least_float32(self.attention(torch.tanh(hidden)))
        if valid is not None:
            logits = logits.masked_fill(~valid, float("-inf"))
        weight = logits.softmax(-1)
        mean = (weight * x).sum(-1)
        var = (weight * (x - mean[..., None]).square()).sum(-1)
        return torch.cat([mean, var.clamp(min=EPS).sqrt()], dim=1)
