"""Small pieces that several networks share: activations, padding of unequal lengths, layers kept in float32."""

import torch
from torch import nn

from wespk.utils.errors import InputError
from wespk.utils.registry import nearest

ACTIVATIONS = ("relu", "prelu")


def choose(option, value, allowed):
    """Return ``value`` if it is one of ``allowed``; else raise ``InputError`` naming the option."""
    if value not in allowed:
        raise InputError(f"model option {option}: '{value}' is unknown{nearest(value, allowed)}; "
                         f"known: {', '.join(map(str, allowed))}")
    return value


def positive(**options):
    """Raise ``InputError`` unless every option is an integer above 0."""
    for name, value in options.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise InputError(f"model option {name} takes an integer above 0, not {value!r}")


def make_activation(name, channels):
    """``relu``, or ``prelu`` with one learnt slope a channel (He et al. 2015, equation 1, starting at 0.25)."""
    choose("activation", name, ACTIVATIONS)
    return nn.ReLU(inplace=True) if name == "relu" else nn.PReLU(channels)


def valid_frames(lengths, num_frames):
    """Boolean (B, num_frames): True where frame t < lengths[b]."""
    return torch.arange(num_frames, device=lengths.device) < lengths[:, None]


def zero_padding(x, lengths):
    """``x`` (B, ..., T) with the frames from ``lengths`` (B,) on set to 0; ``x`` itself where ``lengths`` is None.

    A convolution of one utterance alone sees zeros beyond its end; this makes it see the same inside a longer batch.
    """
    if lengths is None:
        return x
    valid = valid_frames(lengths, x.shape[-1])
    return x.masked_fill(~valid.view(valid.shape[0], *[1] * (x.dim() - 2), valid.shape[1]), 0)


def strided_lengths(lengths, stride):
    """Lengths after a centred ("same" padded) convolution of this stride: ceil(length / stride)."""
    return lengths if lengths is None or stride == 1 else (lengths + stride - 1) // stride


class FullPrecisionLinear(nn.Linear):
    """A linear layer outside autocast: its output, an embedding, keeps the weight's dtype (float32).

    In bfloat16 the cosine of two embeddings near 1 moves in steps of 0.004, too coarse to rank trials.
    """

    def forward(self, x):
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x.to(self.weight.dtype))


class ConvReluNorm(nn.Module):
    """1-d convolution over time, ReLU, batch norm: (B, in, T) -> (B, out, T'), T' as the convolution makes it."""

    def __init__(self, in_channels, out_channels, kernel=1, dilation=1, padding=0, affine=True):
        super().__init__()
        self.conv = nn.Conv1d(in_channels, out_channels, kernel, dilation=dilation, padding=padding)
        self.bn = nn.BatchNorm1d(out_channels, affine=affine)

    def forward(self, x):
        return self.bn(torch.relu(self.conv(x)))
