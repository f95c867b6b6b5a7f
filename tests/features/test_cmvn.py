import numpy as np
import pytest
import torch

from wespk.features.cmvn import mean_norm, sliding_cmn
from wespk.utils.errors import InputError


def test_sliding_mean_equals_kaldis_within_a_ten_thousandth(kaldi):
    before, after = (torch.tensor(kaldi["sliding_cmn"][name]) for name in ("before", "after"))
    torch.testing.assert_close(sliding_cmn(before), after, atol=1e-4, rtol=0)


def test_sliding_mean_of_whole_utterances_equals_kaldis(whole):
    _, before = whole("mfcc30")
    _, after = whole("mfcc30_slidingcmn")
    for key in before:
        found = sliding_cmn(torch.from_numpy(before[key]).float()).numpy()
        np.testing.assert_allclose(found, after[key], atol=1e-4, rtol=0)


def slow_sliding(feats, window, center, norm_vars, min_window):
    num, found = len(feats), np.empty_like(feats)
    for t in range(num):
        start, end = (t - window // 2, t - window // 2 + window) if center else (t - window, t + 1)
        if start < 0:
            start, end = 0, end - start
        if not center:
            end = max(t + 1, min_window)
        if end > num:
            start, end = max(0, start - (end - num)), num
        part = feats[start:end]
        found[t] = feats[t] - part.mean(0)
        if norm_vars:
            found[t] = found[t] / np.sqrt(np.maximum(part.var(0), 1e-10)) if len(part) > 1 else 0
    return found


@pytest.mark.parametrize("num", [1, 2, 12, 29, 30, 31, 200])
@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize("norm_vars", [True, False])
@pytest.mark.parametrize("window, min_window", [(30, 10), (7, 20)])
def test_sliding_windows_equal_a_slow_loop(num, center, norm_vars, window, min_window):
    feats = np.random.default_rng(num).normal(50, 3, (num, 4))
    found = sliding_cmn(torch.from_numpy(feats), window, center, norm_vars, min_window)
    np.testing.assert_allclose(found, slow_sliding(feats, window, center, norm_vars, min_window), atol=1e-5)


def test_a_window_of_no_frames_is_refused():
    with pytest.raises(InputError, match="at least one frame"):
        sliding_cmn(torch.ones(3, 2), window=0)


@pytest.mark.parametrize("norm_vars", [True, False])
def test_padded_batches_equal_single_utterances_and_padding_comes_out_as_zero(norm_vars):
    feats = torch.randn(3, 50, 8) * 4 + 11
    lengths = [50, 20, 1]
    padded = feats.clone()
    padded[1, 20:], padded[2, 1:] = float("nan"), 1e9
    found = mean_norm(padded, torch.tensor(lengths), norm_vars)
    for row, length in enumerate(lengths):
        torch.testing.assert_close(found[row, :length], mean_norm(feats[row, :length], norm_vars=norm_vars))
        assert (found[row, length:] == 0).all()


def test_mean_and_deviation_are_removed():
    found = mean_norm(torch.randn(200, 5) * 3 + 100, norm_vars=True)
    torch.testing.assert_close(found.mean(0), torch.zeros(5), atol=1e-4, rtol=0)
    torch.testing.assert_close(found.std(0, correction=0), torch.ones(5), atol=1e-4, rtol=0)


def test_a_constant_feature_becomes_zero_not_nan():
    assert (mean_norm(torch.full((9, 2), 3.0), norm_vars=True) == 0).all()
