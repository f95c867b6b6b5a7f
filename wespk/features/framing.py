"""Cutting a waveform into analysis frames, by Kaldi's rules."""

import math

import numpy as np

from wespk.utils.errors import InputError

_BLACKMAN = 0.42  # Kaldi's default --blackman-coeff


def frame_samples(sample_rate, milliseconds):
    """A duration in milliseconds as a whole number of samples, rounded down as Kaldi does."""
    return int(sample_rate * 0.001 * milliseconds)


def num_frames(num_samples, length=400, shift=160, snip_edges=True):
    """Frames that Kaldi makes of ``num_samples`` samples; ``length`` and ``shift`` in samples.

    With ``snip_edges`` only frames lying wholly inside the signal; else num_samples / shift, rounded.
    """
    if snip_edges:
        return 0 if num_samples < length else 1 + (num_samples - length) // shift
    return (num_samples + shift // 2) // shift


def num_samples(frames, length=400, shift=160, snip_edges=True):
    """The fewest samples of which ``num_frames`` makes exactly ``frames`` (at least 1) frames."""
    return (frames - 1) * shift + length if snip_edges else frames * shift - shift // 2


def window_function(name, length):
    """Analysis window (length,) float32: povey, hamming, hanning, rectangular or blackman, as Kaldi defines them."""
    phase = 2 * math.pi / (length - 1) * np.arange(length, dtype=np.float64)
    hanning = 0.5 - 0.5 * np.cos(phase)
    windows = {
        "povey": hanning**0.85,
        "hamming": 0.54 - 0.46 * np.cos(phase),
        "hanning": hanning,
        "rectangular": np.ones(length),
        "blackman": _BLACKMAN - 0.5 * np.cos(phase) + (0.5 - _BLACKMAN) * np.cos(2 * phase),
    }
    if name not in windows:
        raise InputError(f"unknown analysis window '{name}'; known: {', '.join(sorted(windows))}")
    return windows[name].astype(np.float32)


def reflect_index(num, length, shift):
    """Sample indices (padded,) that extend a signal of ``num`` samples for ``snip_edges=False``.

    Frame t of the extended signal starts at t * shift. Samples beyond either end mirror the signal about its edge
    (index -1 -> 0, num -> num - 1), as often as needed.
    """
    frames = num_frames(num, length, shift, snip_edges=False)
    first = shift // 2 - length // 2
    index = np.arange(first, first + (frames - 1) * shift + length) % (2 * num)
    return np.where(index < num, index, 2 * num - 1 - index)
