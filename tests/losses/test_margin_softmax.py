"""AM- and AAM-softmax against slow loops, at the corners of the margin and in blocks of classes."""

import math

import pytest
import torch

from tests.losses.loss_oracles import aam_target, cosine_rows, cross_entropy, inputs
from wespk.losses import build_loss
from wespk.losses.aam_softmax import add_angle, angle_slope
from wespk.utils.errors import InputError

NAMES = ["am_softmax", "aam_softmax"]


def slow_loss(head, embeddings, labels, lower):
    rows = cosine_rows(embeddings, head.weight)
    for row, label in zip(rows, labels.tolist()):
        row[label] = lower(row[label])
    return cross_entropy([[head.scale * v for v in row] for row in rows], labels.tolist())


@pytest.mark.parametrize("margin", [0.0, 0.2, 0.5])
def test_am_softmax_equals_a_slow_loop(margin):
    embeddings, labels = inputs()
    head = build_loss({"name": "am_softmax", "scale": 7.0, "margin": margin}, 4, 5).double()
    expected = slow_loss(head, embeddings, labels, lambda c: c - margin)
    assert head(embeddings, labels).item() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("easy", [False, True])
@pytest.mark.parametrize("margin", [0.0, 0.2, 0.5, 2.5])
def test_aam_softmax_equals_a_slow_loop(margin, easy):
    embeddings, labels = inputs()
    head = build_loss({"name": "aam_softmax", "scale": 7.0, "margin": margin, "easy_margin": easy}, 4, 5).double()
    expected = slow_loss(head, embeddings, labels, lambda c: aam_target(c, margin, easy))
    assert head(embeddings, labels).item() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_margin_0_is_the_normalised_softmax(name):
    embeddings, labels = inputs()
    head = build_loss({"name": name}, 4, 5).double()
    with_margin = head(embeddings, labels)
    head.set_margin(0)
    expected = cross_entropy([[32 * c for c in row] for row in cosine_rows(embeddings, head.weight)], labels.tolist())
    assert head(embeddings, labels).item() == pytest.approx(expected, abs=1e-12)
    assert with_margin > expected + 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("margin", [0.0, 0.3, 2.5, math.pi])
def test_the_slope_of_the_added_angle_is_its_gradient(margin, dtype):
    edge = 1 - torch.finfo(dtype).eps
    cosine = torch.cat([torch.linspace(-1, 1, 41, dtype=dtype), torch.tensor([-edge, edge, 1 / edge], dtype=dtype)])
    leaf = cosine.clone().requires_grad_()
    expected, = torch.autograd.grad(add_angle(leaf, margin).sum(), leaf)
    torch.testing.assert_close(angle_slope(cosine, margin), expected)


def test_added_angle_is_continuous_and_falling_across_pi():
    margin = 0.4
    theta = torch.linspace(0.01, math.pi - 0.01, 2001, dtype=torch.float64)
    moved = add_angle(theta.cos(), margin)
    assert (moved[1:] < moved[:-1]).all()
    assert (moved[1:] - moved[:-1]).abs().max() < 2e-3
    at = math.pi - margin
    for side in (-1e-9, 1e-9):
        assert add_angle(torch.tensor(math.cos(at + side), dtype=torch.float64), margin).item() == pytest.approx(-1)
    torch.testing.assert_close(moved[theta < at], (theta + margin).cos()[theta < at])


@pytest.mark.parametrize("bad", [-0.1, 3.2, float("nan"), float("inf"), "0.2", True])
def test_a_margin_out_of_range_is_refused(bad):
    head = build_loss({"name": "aam_softmax"}, 4, 5)
    with pytest.raises(InputError, match=r"option margin must be a number >= 0 and <= 3.14159"):
        head.set_margin(bad)


@pytest.mark.parametrize("option, value", [("scale", 0), ("scale", "32"), ("block_size", -1), ("block_size", 2.0),
                                           ("easy_margin", 1)])
def test_unfit_options_are_refused_by_name(option, value):
    with pytest.raises(InputError, match=f"option {option} must be"):
        build_loss({"name": "aam_softmax", option: value}, 4, 5)


@pytest.mark.parametrize("block_size", [1, 2, 3, 7, 100])
@pytest.mark.parametrize("name", NAMES)
def test_blocks_equal_the_whole(name, block_size):
    embeddings, labels = inputs(batch=9, num_classes=7)
    results = []
    for size in (0, block_size):
        torch.manual_seed(1)
        head = build_loss({"name": name, "scale": 5.0, "block_size": size}, 4, 7).double()
        x = embeddings.clone().requires_grad_()
        loss = head(x, labels)
        loss.backward()
        results.append([loss.detach(), x.grad, head.weight.grad, head.stats["accuracy"]])
    for dense, blocked in zip(*results):
        torch.testing.assert_close(blocked, dense, rtol=1e-12, atol=1e-12)
