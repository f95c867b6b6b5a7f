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


class ChannelPReLU(nn.PReLU):
    """PReLU with one learnt slope a channel, starting at 0.25 (He et al. 2015, arXiv 1502.01852, section 2.1).

    The slopes are never decayed: as there, decay would draw them to 0 and so towards ReLU.
    """

    undecayed = ("weight",)


def make_activation(name, channels):
    """``relu``, or ``prelu``: see ``ChannelPReLU``."""
    choose("activation", name, ACTIVATIONS)
    return nn.ReLU(inplace=True) if name == "relu" else ChannelPReLU(channels)


def relu_slopes(model, state):
    """Slopes of 0 for all PReLUs of ``model``, by their names in its state dict, if ``state`` is that of the same network
    with ReLU: of all other tensors the names and no more. Else, or if there is no PReLU, an empty dictionary.
    """
    own = model.state_dict()
    slopes = {f"{name}.weight" for name, module in model.named_modules() if isinstance(module, ChannelPReLU)}
    return {name: torch.zeros_like(own[name]) for name in slopes} if own.keys() - slopes == state.keys() else {}


def load_relu_weights(model, state):
    """Load into ``model``, a network with PReLU, the state dict of the same network with ReLU; all slopes become 0.

    A PReLU of slope 0 is a ReLU: ``model`` then makes the same embeddings, and is free to learn others. Raises
    ``InputError`` if ``state`` is of another network.
    """
    slopes = relu_slopes(model, state)
    shapes = {name: value.shape for name, value in model.state_dict().items() if name not in slopes}
    if not slopes or shapes != {name: value.shape for name, value in state.items()}:
        raise InputError("these weights are not those of the same network with ReLU: tensors have other names or shapes, or "
                         "the network to load them into has no PReLU (model.activation)")
    model.load_state_dict({**state, **slopes})


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
