"""ECAPA-TDNN's own layers."""

import torch

from wespk.models.ecapa_tdnn import Res2Conv, SqueezeExcite


def test_squeeze_excitation_looks_at_the_valid_frames_alone():
    gate, x = SqueezeExcite(6), torch.randn(2, 6, 9)
    together = gate(x, torch.tensor([9, 4]))
    torch.testing.assert_close(together[1, :, :4], gate(x[1:, :, :4], None)[0])
    torch.testing.assert_close(together[0], gate(x[:1], None)[0])
    assert (together[1] - gate(x[1:], None)[0]).abs().max() > 1e-3


def test_res2_parts_follow_one_another_and_the_last_passes():
    layer, x = Res2Conv(16, kernel=3, dilation=2).eval(), torch.randn(1, 16, 9)
    out = layer(x, None)
    assert torch.equal(out[:, 14:], x[:, 14:])
    first = layer.parts[0](x[:, :2])
    torch.testing.assert_close(out[:, :2], first)
    torch.testing.assert_close(out[:, 2:4], layer.parts[1](first + x[:, 2:4]))
