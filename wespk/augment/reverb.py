"""Reverberation by convolution with room impulse responses, in the frequency domain, batched."""

import numpy as np
import torch

from wespk.augment.draws import below
from wespk.utils.errors import InputError


def fast_size(least):
    """The smallest FFT size of the form 2^a, 3 * 2^a or 5 * 2^a that is at least ``least``."""
    return min(odd << max(0, -(-least // odd) - 1).bit_length() for odd in (1, 3, 5))


def reverb(waves, responses, normalise="energy"):
    """Convolve each row with its impulse response; the length stays, and the direct sound stays where it was.

    waves (B, N), responses (B, L) float32, zero-padded at the end. The direct sound is the response's largest sample
    in magnitude. ``normalise``: "energy" scales the response to unit energy (white noise keeps its power), "peak" its
    direct sound to 1 in magnitude. Returns (B, N).
    """
    if normalise not in ("energy", "peak"):
        raise InputError(f"reverberation is normalised by energy or peak, not '{normalise}'")
    num = waves.shape[1]
    size = fast_size(num + responses.shape[1] - 1)
    peak, direct = responses.abs().max(1, keepdim=True)
    level = responses.square().sum(1, keepdim=True).sqrt() if normalise == "energy" else peak
    spectrum = torch.fft.rfft(waves, size) * torch.fft.rfft(responses / level, size)
    at = direct + torch.arange(num, device=waves.device)
    return torch.fft.irfft(spectrum, size).gather(1, at)


def add_reverb(waves, bank, indices, *key):
    """Reverberate each row with a response of the bank's kind "rir" drawn by its index and the key, at unit energy."""
    files = below(indices, bank.count("rir"), *key, "rir")
    longest = int(bank.lengths("rir", files).max())
    responses = bank.fetch("rir", files, np.zeros(len(files), np.int64), longest, repeat=False)
    return reverb(waves, responses.to(waves.device))
