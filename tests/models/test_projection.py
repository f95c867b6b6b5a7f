"""Heads of training without labels: their published sizes, how they start, and what counts in them."""

import pytest
import torch
from torch import nn

from wespk.models.projection import CosineLayer, ProjectionHead
from wespk.utils.errors import InputError


def test_the_published_head_has_its_parameters():
    head = ProjectionHead(512)
    assert [type(layer) for layer in head.layers[:3]] == [nn.Linear, nn.BatchNorm1d, nn.GELU]
    sizes = [(layer.in_features, layer.out_features) for layer in head.layers if isinstance(layer, nn.Linear)]
    assert sizes == [(512, 2048), (2048, 2048), (2048, 256)]
    assert sum(p.numel() for p in head.parameters()) / 1e6 == pytest.approx(5.78, abs=0.005)


def test_weights_start_near_0_and_biases_at_0():
    torch.manual_seed(0)
    for layer in ProjectionHead(64, 128, 32).layers:
        if isinstance(layer, nn.Linear):
            assert layer.weight.std().item() == pytest.approx(0.02, rel=0.05) and not layer.bias.any()


def test_fewer_layers_and_no_norm():
    assert [type(layer).__name__ for layer in ProjectionHead(6, 8, 4, layers=1).layers] == ["FullPrecisionLinear"]
    names = [type(layer).__name__ for layer in ProjectionHead(6, 8, 4, layers=2, norm=False).layers]
    assert names == ["Linear", "GELU", "FullPrecisionLinear"]


def test_outputs_are_float32_under_autocast():
    with torch.autocast("cpu", torch.bfloat16):
        assert ProjectionHead(6, 8, 4)(torch.randn(3, 6)).dtype == torch.float32
        assert CosineLayer(4, 5)(torch.randn(3, 4).bfloat16()).dtype == torch.float32


def test_cosine_layer_gives_cosines_and_equals_weight_norm_with_gain_1():
    torch.manual_seed(0)
    layer, x = CosineLayer(4, 7), torch.randn(2, 3, 4)
    expected = nn.functional.cosine_similarity(x[..., None, :], layer.weight, dim=-1)
    torch.testing.assert_close(layer(x), expected)
    other = nn.utils.parametrizations.weight_norm(nn.Linear(4, 7, bias=False))
    other.parametrizations.weight.original0.data.fill_(1)
    other.parametrizations.weight.original1.data = layer.weight.detach().clone()
    other(nn.functional.normalize(x, dim=-1)).square().sum().backward()
    layer(x).square().sum().backward()
    torch.testing.assert_close(layer.weight.grad, other.parametrizations.weight.original1.grad)


def test_sizes_below_1_are_refused():
    with pytest.raises(InputError, match="hidden_dim takes an integer above 0, not 0"):
        ProjectionHead(6, 0)
    with pytest.raises(InputError, match="out_dim takes an integer above 0, not -1"):
        CosineLayer(6, -1)
