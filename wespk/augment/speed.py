"""Speed perturbation: tempo and pitch change together, as ``sox speed``; copies count as new speakers."""

import math
from fractions import Fraction
from functools import lru_cache

import numpy as np
import torch

from wespk.augment.draws import below
from wespk.utils.errors import InputError

# The filter that comes nearest to sox's own (76 dB at 0.9, 72 dB at 1.1, on speech):
_CROSSINGS = 64  # zero crossings of the sinc on either side
_PASS = 0.957  # cut-off, as a share of the lower of the two Nyquist frequencies
_BETA = 6.5  # of the Kaiser window
_AT_ONCE = 40  # output samples (about) made by one row of the matrix product


def exact_factor(factor):
    """The fraction meant by a speed factor: 0.9 -> 9/10. Raises ``InputError`` outside 0.1 to 10."""
    if not 0.1 <= factor <= 10:
        raise InputError(f"a speed factor lies in 0.1 to 10, not {factor}")
    return Fraction(str(factor)).limit_denominator(1000)


def speed_length(num_samples, factor):
    """Samples left of ``num_samples`` after speed(): num_samples / factor, rounded half up, as sox does."""
    ratio = exact_factor(factor)
    return (2 * num_samples * ratio.denominator + ratio.numerator) // (2 * ratio.numerator)


def source_length(num_samples, factor):
    """Samples to read so that speed() has ``num_samples`` to give: num_samples * factor, rounded half up."""
    return speed_length(num_samples, 1 / exact_factor(factor))


@lru_cache(maxsize=16)
def _kernel(ratio, device):
    """(filters (K, q) float32, step p, half width): each p samples of input, with half on both sides, make q of output.

    p / q is the ratio, widened so that a row of the matrix product makes at least _AT_ONCE samples.
    """
    times = -(-_AT_ONCE // ratio.denominator)
    p, q = ratio.numerator * times, ratio.denominator * times
    cutoff = _PASS * min(1.0, 1 / float(ratio))
    half = math.ceil(_CROSSINGS / cutoff)
    distance = np.arange(-half, p + half)[:, None] - np.arange(q) * p / q
    inside = np.clip(1 - np.square(distance / half), 0, None)
    window = np.where(np.abs(distance) < half, np.i0(_BETA * np.sqrt(inside)) / np.i0(_BETA), 0)
    filters = cutoff * np.sinc(cutoff * distance) * window
    return torch.from_numpy(filters / filters.sum(0)).float().to(device), p, half


def speed(waves, factor, num_samples=None):
    """Play ``factor`` times as fast, by windowed-sinc interpolation (pitch and formants rise with it).

    waves (N,) or (B, N) float32 at any rate -> (speed_length(N, factor),) or (B, ...), or ``num_samples`` of it (zeros
    beyond the end). The sound outside the signal is taken as zero. Frequencies up to 0.92 of the lower Nyquist frequency
    pass unchanged to better than 80 dB; those that would fold are removed.
    """
    ratio = exact_factor(factor)
    num_samples = speed_length(waves.shape[-1], factor) if num_samples is None else num_samples
    if ratio == 1:
        return torch.nn.functional.pad(waves, (0, num_samples - waves.shape[-1]))
    filters, step, half = _kernel(ratio, waves.device)
    steps = -(-num_samples // filters.shape[1])
    needed = (steps - 1) * step + len(filters)
    padded = torch.nn.functional.pad(waves, (half, max(0, needed - half - waves.shape[-1])))
    pieces = padded.unfold(-1, len(filters), step)[..., :steps, :]
    with torch.autocast(waves.device.type, enabled=False):
        return (pieces @ filters).flatten(-2)[..., :num_samples]


def speed_name(name, factor):
    """The name of a speaker or utterance at a speed: ``sp0.9-id10001``; at speed 1 the name itself."""
    return name if factor == 1 else f"sp{factor:g}-{name}"


def speed_classes(speakers, speeds):
    """The speakers to train on when ``speeds`` are drawn beside 1: each speaker, then each under each speed."""
    return [speed_name(speaker, factor) for factor in (1.0, *speeds) for speaker in speakers]


def draw_speeds(indices, speeds, seed, epoch):
    """Which speed each utterance gets in an epoch: (B,) int64, 0 for speed 1, else 1 + its place in ``speeds``.

    The class of an utterance of speaker number s among S is then ``draw * S + s`` in ``speed_classes``.
    """
    return below(indices, 1 + len(speeds), seed, epoch, "speed")
