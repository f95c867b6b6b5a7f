"""The x-vector network: Snyder et al., ICASSP 2018: five TDNN layers, statistics pooling, two linear layers."""

import torch
from torch import nn

from wespk.models import MODELS
from wespk.models.base import EmbeddingModel
from wespk.models.layers import ConvReluNorm, FullPrecisionLinear, positive
from wespk.models.pooling import build_pooling

KERNELS = (5, 3, 3, 1, 1)
DILATIONS = (1, 2, 3, 1, 1)
CONTEXT = sum((k - 1) * d for k, d in zip(KERNELS, DILATIONS))


@MODELS.register("xvector")
class XVector(EmbeddingModel):
    """TDNN layers without padding: T frames become T - 14. The embedding is the output of the second linear layer.

    Batch norms have no affine part, as in Kaldi. hidden: width of the first four layers; stats: of the fifth;
    feat_dim, embed_dim, pooling: as in the other networks. 4.61 million parameters at the defaults.
    """

    def __init__(self, feat_dim=80, embed_dim=512, hidden=512, stats=1500, pooling="tstp"):
        super().__init__(feat_dim, embed_dim, min_frames=CONTEXT + 2)
        positive(hidden=hidden, stats=stats)
        widths = [feat_dim, hidden, hidden, hidden, hidden, stats]
        self.frames = nn.Sequential(*(
            ConvReluNorm(i, o, k, d, affine=False) for i, o, k, d in zip(widths, widths[1:], KERNELS, DILATIONS)
        ))
        self.pool = build_pooling(pooling, stats)
        self.segment = nn.Linear(self.pool.out_dim, embed_dim)
        self.bn = nn.BatchNorm1d(embed_dim, affine=False)
        self.linear = FullPrecisionLinear(embed_dim, embed_dim)

    def embed(self, x, lengths):
        x = self.frames(x)
        pooled = self.pool(x, None if lengths is None else lengths - CONTEXT)
        return self.linear(self.bn(torch.relu(self.segment(pooled))))
