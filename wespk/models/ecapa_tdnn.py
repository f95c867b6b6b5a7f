"""ECAPA-TDNN: Desplanques, Thienpondt, Demuynck, Interspeech 2020 (arXiv 2005.07143).

The widespread variant with context-aware attention, 1536 channels after the aggregation layer and no batch norm
after the last layer: 6.19 million parameters at 512 channels, 14.66 million at 1024 (embedding 192).
"""

import torch
from torch import nn

from wespk.models import MODELS
from wespk.models.base import EmbeddingModel
from wespk.models.layers import ConvReluNorm, FullPrecisionLinear, positive, zero_padding
from wespk.models.pooling import build_pooling, mean_over_time
from wespk.utils.errors import InputError

SCALE = 8


class Res2Conv(nn.Module):
    """Res2Net's hierarchical convolution: the channels in 8 parts, each but the last convolved after adding the
    previous part's result, the last passed on. (B, C, T) -> (B, C, T)."""

    def __init__(self, channels, kernel, dilation):
        super().__init__()
        width = channels // SCALE
        self.parts = nn.ModuleList(
            ConvReluNorm(width, width, kernel, dilation, padding=dilation * (kernel // 2)) for _ in range(SCALE - 1)
        )

    def forward(self, x, lengths):
        chunks = x.chunk(SCALE, dim=1)
        done = []
        for layer, chunk in zip(self.parts, chunks):
            done.append(layer(zero_padding(done[-1] + chunk if done else chunk, lengths)))
        return torch.cat([*done, chunks[-1]], dim=1)


class SqueezeExcite(nn.Module):
    """Scales each channel by a gate in (0, 1) computed from all channels' means over time."""

    def __init__(self, channels, bottleneck=128):
        super().__init__()
        self.down = nn.Linear(channels, bottleneck)
        self.up = nn.Linear(bottleneck, channels)

    def forward(self, x, lengths):
        gate = torch.sigmoid(self.up(torch.relu(self.down(mean_over_time(x, lengths)))))
        return x * gate[..., None].to(x.dtype)


class SERes2Block(nn.Module):
    """1x1 convolution, Res2 convolution, 1x1 convolution, squeeze-excitation, beside an identity shortcut."""

    def __init__(self, channels, kernel, dilation):
        super().__init__()
        self.into = ConvReluNorm(channels, channels)
        self.res2 = Res2Conv(channels, kernel, dilation)
        self.out = ConvReluNorm(channels, channels)
        self.se = SqueezeExcite(channels)

    def forward(self, x, lengths):
        return x + self.se(self.out(self.res2(self.into(x), lengths)), lengths)


@MODELS.register("ecapa_tdnn")
class EcapaTdnn(EmbeddingModel):
    """ECAPA-TDNN.

    feat_dim: coefficients a frame; embed_dim: size of the embedding; channels: 512 or 1024 in the paper, here any
    multiple of 8; aggregate: channels of the layer before pooling; pooling: one of ``pooling.POOLINGS``.
    """

    def __init__(self, feat_dim=80, embed_dim=192, channels=512, aggregate=1536, pooling="astp_global"):
        super().__init__(feat_dim, embed_dim, min_frames=2)
        positive(channels=channels, aggregate=aggregate)
        if channels % SCALE:
            raise InputError(f"model option channels must be a multiple of {SCALE}, not {channels}")
        self.layer1 = ConvReluNorm(feat_dim, channels, kernel=5, padding=2)
        self.blocks = nn.ModuleList(SERes2Block(channels, kernel=3, dilation=d) for d in (2, 3, 4))
        self.aggregate = nn.Conv1d(3 * channels, aggregate, 1)
        self.pool = build_pooling(pooling, aggregate)
        self.bn = nn.BatchNorm1d(self.pool.out_dim)
        self.linear = FullPrecisionLinear(self.pool.out_dim, embed_dim)

    def embed(self, x, lengths):
        x = self.layer1(zero_padding(x, lengths))
        outputs = []
        for block in self.blocks:
            x = block(x, lengths)
            outputs.append(x)
        x = torch.relu(self.aggregate(torch.cat(outputs, dim=1)))
        return self.linear(self.bn(self.pool(x, lengths)))
