"""ResNets for speech: two-dimensional residual networks over (frequency, time).

He et al. 2015 (arXiv 1512.03385) as it is used for speaker verification: a 3x3 first convolution without pooling,
four stages of 1, 2, 4, 8 times ``base_channels`` with strides 1, 2, 2, 2, statistics over time, one linear layer.
Depths and widths give the published parameter counts (ResNet34 at 256 dimensions: 6.63 million).

The names ending in ``_p`` are ResNet-P, all ReLUs PReLUs with a slope for each channel. That is our reading of the name
"Residual Network PReLu" (Ji et al. 2025, PLOS ONE, doi 10.1371/journal.pone.0320256), of whose text only the abstract has
been seen: the block, depth and widths are those of the network without ``_p``. ``layers.load_relu_weights`` makes one of the
other, and so does training with ``train.init_from``.
"""

from torch import nn

from wespk.models import MODELS
from wespk.models.base import EmbeddingModel
from wespk.models.layers import FullPrecisionLinear, make_activation, positive, strided_lengths, zero_padding
from wespk.models.pooling import build_pooling


def _conv3x3(in_channels, channels, stride=1):
    return nn.Conv2d(in_channels, channels, 3, stride, padding=1, bias=False)


def _shortcut(in_channels, channels, stride):
    if stride == 1 and in_channels == channels:
        return nn.Identity()
    return nn.Sequential(nn.Conv2d(in_channels, channels, 1, stride, bias=False), nn.BatchNorm2d(channels))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut. forward(x (B, C, F, T), lengths) -> the same, and the new lengths."""

    expansion = 1

    def __init__(self, in_channels, channels, stride, act):
        super().__init__()
        self.stride = stride
        self.conv1 = _conv3x3(in_channels, channels, stride)
        self.bn1 = nn.BatchNorm2d(channels)
        self.act1 = make_activation(act, channels)
        self.conv2 = _conv3x3(channels, channels)
        self.bn2 = nn.BatchNorm2d(channels)
        self.act2 = make_activation(act, channels)
        self.shortcut = _shortcut(in_channels, channels, stride)

    def forward(self, x, lengths):
        out_lengths = strided_lengths(lengths, self.stride)
        out = self.act1(self.bn1(self.conv1(zero_padding(x, lengths))))
        out = self.bn2(self.conv2(zero_padding(out, out_lengths)))
        return self.act2(out + self.shortcut(x)), out_lengths


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolution, the last four times as wide, beside a shortcut; interface of ``BasicBlock``."""

    expansion = 4

    def __init__(self, in_channels, channels, stride, act):
        super().__init__()
        self.stride = stride
        wide = channels * self.expansion
        self.conv1 = nn.Conv2d(in_channels, channels, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.act1 = make_activation(act, channels)
        self.conv2 = _conv3x3(channels, channels, stride)
        self.bn2 = nn.BatchNorm2d(channels)
        self.act2 = make_activation(act, channels)
        self.conv3 = nn.Conv2d(channels, wide, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(wide)
        self.act3 = make_activation(act, wide)
        self.shortcut = _shortcut(in_channels, wide, stride)

    def forward(self, x, lengths):
        out = self.act1(self.bn1(self.conv1(x)))
        out = self.act2(self.bn2(self.conv2(zero_padding(out, lengths))))
        return self.act3(self.bn3(self.conv3(out)) + self.shortcut(x)), strided_lengths(lengths, self.stride)


@MODELS.register("resnet18", block=BasicBlock, depths=(2, 2, 2, 2))
@MODELS.register("resnet34", block=BasicBlock, depths=(3, 4, 6, 3))
@MODELS.register("resnet50", block=Bottleneck, depths=(3, 4, 6, 3))
@MODELS.register("resnet101", block=Bottleneck, depths=(3, 4, 23, 3))
@MODELS.register("resnet152", block=Bottleneck, depths=(3, 8, 36, 3))
@MODELS.register("resnet221", block=Bottleneck, depths=(6, 16, 48, 3))
@MODELS.register("resnet293", block=Bottleneck, depths=(10, 20, 64, 3))
@MODELS.register("resnet18_p", block=BasicBlock, depths=(2, 2, 2, 2), activation="prelu")
@MODELS.register("resnet34_p", block=BasicBlock, depths=(3, 4, 6, 3), activation="prelu")
@MODELS.register("resnet50_p", block=Bottleneck, depths=(3, 4, 6, 3), activation="prelu")
@MODELS.register("resnet101_p", block=Bottleneck, depths=(3, 4, 23, 3), activation="prelu")
class ResNet(EmbeddingModel):
    """A residual network with ``depths`` blocks in its four stages.

    feat_dim: coefficients a frame; embed_dim: size of the embedding; base_channels: width of the first stage;
    pooling: one of ``pooling.POOLINGS``; activation: ``relu`` or ``prelu``.
    """

    def __init__(self, block, depths, feat_dim=80, embed_dim=256, base_channels=32, pooling="tstp", activation="relu"):
        super().__init__(feat_dim, embed_dim, min_frames=9)
        positive(base_channels=base_channels)
        self.conv1 = _conv3x3(1, base_channels)
        self.bn1 = nn.BatchNorm2d(base_channels)
        self.act1 = make_activation(activation, base_channels)
        self._channels = base_channels
        self.layer1, self.layer2, self.layer3, self.layer4 = (
            self._stage(block, base_channels * 2**i, depth, stride, activation)
            for i, (depth, stride) in enumerate(zip(depths, (1, 2, 2, 2)))
        )
        self.pool = build_pooling(pooling, self._channels * -(-feat_dim // 8))
        self.linear = FullPrecisionLinear(self.pool.out_dim, embed_dim)

    def _stage(self, block, channels, depth, stride, act):
        blocks = nn.ModuleList()
        for i in range(depth):
            blocks.append(block(self._channels, channels, stride if i == 0 else 1, act))
            self._channels = channels * block.expansion
        return blocks

    def embed(self, x, lengths):
        x = self.act1(self.bn1(self.conv1(zero_padding(x, lengths).unsqueeze(1))))
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            for block in stage:
                x, lengths = block(x, lengths)
        return self.linear(self.pool(x, lengths))
