"""Mean and variance normalisation of features, over an utterance or a sliding window."""

import torch

from wespk.utils.errors import InputError

_VARIANCE_FLOOR = 1e-10  # Kaldi's


def mean_norm(feats, lengths=None, norm_vars=False):
    """Subtract the mean over time, and with ``norm_vars`` divide by the standard deviation.

    feats: (T, F) or (B, T, F) float32; lengths: (B,) valid frames of each row, or None for all; frames beyond a length
    come out as zero. The deviation divides by the number of frames and is floored at 1e-5.
    Computed in float32 whatever the autocast state; the mean is taken first, so nothing cancels.
    """
    feats = feats.float()
    if lengths is None:
        centred = feats - feats.mean(-2, keepdim=True)
        variance = centred.square().mean(-2, keepdim=True) if norm_vars else None
    else:
        lengths = torch.as_tensor(lengths, device=feats.device)
        valid = (torch.arange(feats.shape[-2], device=feats.device) < lengths[:, None])[..., None]
        count = lengths[:, None, None].clamp_min(1)
        mean = torch.where(valid, feats, 0).sum(-2, keepdim=True) / count
        centred = torch.where(valid, feats - mean, 0)
        variance = centred.square().sum(-2, keepdim=True) / count if norm_vars else None
    return centred * variance.clamp_min(_VARIANCE_FLOOR).rsqrt() if norm_vars else centred


def sliding_cmn(feats, window=300, center=True, norm_vars=False, min_window=100):
    """Subtract from each frame the mean of the window around it, as Kaldi's ``apply-cmvn-sliding``.

    feats: (T, F); returns the same shape, float32. ``center``: the window surrounds the frame and is shifted, not
    shortened, at the ends; otherwise it ends with the frame, and at the start holds at least ``min_window`` frames.
    ``norm_vars`` also divides by the standard deviation in the window (a window of one frame gives zero).
    """
    if window < 1 or min_window < 1:
        raise InputError(f"sliding CMN needs a window of at least one frame, not {window} and {min_window}")
    num = feats.shape[0]
    at = torch.arange(num, device=feats.device)
    if center:
        start = (at - window // 2).clamp_max(num - window).clamp_min(0)
        end = (start + window).clamp_max(num)
    else:
        end = (at + 1).clamp_min(min_window)
        start = ((at - window).clamp_min(0) - (end - num).clamp_min(0)).clamp_min(0)
        end = end.clamp_max(num)
    values = feats.double() - feats.double().mean(0)  # centred first, so that the running squares do not cancel
    sums = torch.nn.functional.pad(values.cumsum(0), (0, 0, 1, 0))
    count = (end - start)[:, None]
    mean = (sums[end] - sums[start]) / count
    centred = values - mean
    if norm_vars:
        squares = torch.nn.functional.pad(values.square().cumsum(0), (0, 0, 1, 0))
        variance = ((squares[end] - squares[start]) / count - mean.square()).clamp_min(_VARIANCE_FLOOR)
        centred = centred * variance.rsqrt()
    return centred.float()
