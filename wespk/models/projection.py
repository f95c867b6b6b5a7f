"""Heads of training without labels: between an encoder's embedding and a loss, and left out afterwards."""

import itertools

import torch
import torch.nn.functional as F
from torch import nn

from wespk.models.layers import FullPrecisionLinear, positive


class ProjectionHead(nn.Module):
    """Linear layers with batch norm and GELU after each but the last: (B, in_dim) -> (B, out_dim), of any length.

    SDPN (Chen et al. 2023, arXiv 2308.02774) has 3 layers, 512 -> 2048 -> 2048 -> 256. Weights start from a normal
    distribution of deviation 0.02, cut off at +-2, biases at 0. norm: batch norm or none. The last layer runs in float32.

    Raises ``InputError`` for sizes below 1.
    """

    def __init__(self, in_dim, hidden_dim=2048, out_dim=256, layers=3, norm=True):
        positive(in_dim=in_dim, hidden_dim=hidden_dim, out_dim=out_dim, layers=layers)
        super().__init__()
        self.in_dim, self.out_dim = in_dim, out_dim
        sizes, parts = [in_dim] + [hidden_dim] * (layers - 1), []
        for before, after in itertools.pairwise(sizes):
            parts += [nn.Linear(before, after), *([nn.BatchNorm1d(after)] if norm else []), nn.GELU()]
        self.layers = nn.Sequential(*parts, FullPrecisionLinear(sizes[-1], out_dim))
        for layer in self.layers:
            if isinstance(layer, nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=0.02)
                nn.init.zeros_(layer.bias)

    def forward(self, embeddings):
        return self.layers(embeddings)


class CosineLayer(nn.Module):
    """Cosines of embeddings (..., in_dim) with learnt directions: (..., out_dim) float32, whatever autocast says.

    DINO's last layer (Caron et al. 2021, arXiv 2104.14294): weight-normalised, without bias, gains fixed at 1, behind
    a length normalisation. ``weight`` (out_dim, in_dim) starts in directions spread evenly, and only these count.
    """

    def __init__(self, in_dim, out_dim=65536):
        positive(in_dim=in_dim, out_dim=out_dim)
        super().__init__()
        self.weight = nn.Parameter(F.normalize(torch.randn(out_dim, in_dim)))

    def forward(self, embeddings):
        with torch.autocast(embeddings.device.type, enabled=False):
            return F.linear(F.normalize(embeddings.to(self.weight.dtype), dim=-1), F.normalize(self.weight))
