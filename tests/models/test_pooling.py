"""Pooling against a slow loop over utterances, channels and frames."""

import math

import pytest
import torch

from wespk.models.pooling import EPS, build_pooling


def slow_statistics(frames):
    """Mean and standard deviation of a list of numbers, with the unbiased variance."""
    mean = sum(frames) / len(frames)
    var = sum((v - mean) ** 2 for v in frames) / (len(frames) - 1)
    return mean, math.sqrt(var + EPS)


def test_statistics_pooling_equals_a_slow_loop():
    x = torch.randn(3, 2, 4, 9, dtype=torch.float64)
    lengths = [9, 5, 2]
    pooled = build_pooling("tstp", 8)(x, torch.tensor(lengths))
    for b, length in enumerate(lengths):
        for c, channel in enumerate(x[b].flatten(0, 1).tolist()):
            mean, std = slow_statistics(channel[:length])
            assert pooled[b, c].item() == pytest.approx(mean, abs=1e-12)
            assert pooled[b, 8 + c].item() == pytest.approx(std, abs=1e-12)


def test_mean_pooling_equals_a_slow_loop():
    x = torch.randn(2, 3, 6, dtype=torch.float64)
    pooled = build_pooling("mean", 3)(x, torch.tensor([6, 4]))
    for b, length in enumerate([6, 4]):
        for c in range(3):
            assert pooled[b, c].item() == pytest.approx(sum(x[b, c, :length].tolist()) / length, abs=1e-12)


@pytest.mark.parametrize("name", ["astp", "astp_global"])
def test_attentive_pooling_equals_a_slow_loop(name):
    torch.manual_seed(0)
    pool = build_pooling(name, 3, bottleneck=4).double()
    x, length = torch.randn(3, 7, dtype=torch.float64), 5
    expected = [[], []]
    context = [slow_statistics(channel[:length]) for channel in x.tolist()]
    context = torch.tensor([m for m, _ in context] + [s for _, s in context], dtype=torch.float64)
    logits = []
    for t in range(length):
        hidden = pool.hidden.weight[:, :, 0] @ x[:, t] + pool.hidden.bias
        if pool.context is not None:
            hidden = hidden + pool.context.weight @ context
        logits.append((pool.attention.weight[:, :, 0] @ torch.tanh(hidden) + pool.attention.bias).tolist())
    for c in range(3):
        weight = [math.exp(row[c]) for row in logits]
        weight = [w / sum(weight) for w in weight]
        mean = sum(w * v for w, v in zip(weight, x[c].tolist()))
        var = sum(w * (v - mean) ** 2 for w, v in zip(weight, x[c].tolist()))
        expected[0].append(mean)
        expected[1].append(math.sqrt(max(var, EPS)))
    pooled = pool(x[None], torch.tensor([length]))[0]
    torch.testing.assert_close(pooled, torch.tensor(expected[0] + expected[1], dtype=torch.float64))


@pytest.mark.parametrize("name", ["tstp", "mean", "astp", "astp_global"])
def test_constant_frames_give_finite_output_and_gradients(name):
    pool = build_pooling(name, 4)
    x = torch.full((2, 4, 6), 3.0, requires_grad=True)
    pooled = pool(x, torch.tensor([6, 3]))
    pooled.sum().backward()
    assert pooled.shape == (2, pool.out_dim) and pooled.isfinite().all() and x.grad.isfinite().all()


def test_variance_survives_a_large_mean():
    # E[x^2] - mean^2 in float32 would lose it: the mean is 1000, the standard deviation 0.01
    x = 1000 + 0.01 * torch.randn(1, 1, 500, dtype=torch.float64)
    exact = build_pooling("tstp", 1)(x)[0, 1]
    assert build_pooling("tstp", 1)(x.float())[0, 1].item() == pytest.approx(exact.item(), rel=0.02)


@pytest.mark.parametrize("lengths", [None, [6, 4]])
def test_bfloat16_input_is_pooled_in_float32(lengths):
    lengths = None if lengths is None else torch.tensor(lengths)
    assert build_pooling("tstp", 4)(torch.ones(2, 4, 6, dtype=torch.bfloat16), lengths).dtype == torch.float32
