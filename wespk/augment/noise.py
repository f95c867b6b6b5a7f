"""Additive noise at a stated signal-to-noise ratio: single noises, music, and babble of several talkers."""

import numpy as np
import torch

from wespk.augment.draws import below, between, distinct
from wespk.utils.errors import InputError
from wespk.utils.transfer import to_device


def add_noise(waves, noise, snr_db):
    """waves + noise, the noise scaled so that the ratio of the mean squares of a row is ``snr_db`` (B,) decibels.

    waves, noise: (B, N) float32. A silent row, of either, adds nothing. The sum is not clipped and may exceed 1.
    """
    ratio = 10 ** (to_device(torch.as_tensor(snr_db, dtype=torch.float32), waves.device)[:, None] / 10)
    noise_power = noise.square().mean(1, keepdim=True)
    gain = (waves.square().mean(1, keepdim=True) / (noise_power * ratio)).sqrt()
    return waves + noise * torch.where(noise_power > 0, gain, 0)


def draw_noise(bank, kind, indices, num, *key):
    """A random stretch of a random signal of ``kind`` for each index: (B, num) float32.

    From a long signal ``num`` samples in a row; a shorter one is repeated, from a random place on.
    """
    files = below(indices, bank.count(kind), *key, "file")
    return _stretch(bank, kind, files, indices, num, *key)


def _stretch(bank, kind, files, indices, num, *key):
    lengths = bank.lengths(kind, files)
    starts = below(indices, np.where(lengths > num, lengths - num + 1, lengths), *key, "start")
    return bank.fetch(kind, files, starts, num)


def check_talkers(bank, kind, talkers):
    """Raise ``InputError`` unless the bank has enough speech for the most ``talkers`` = (least, most) of a babble."""
    if bank.count(kind) < talkers[1]:
        raise InputError(f"babble of up to {talkers[1]} talkers needs as many speech files, the bank has "
                         f"{bank.count(kind)}; give more, or lower babble_speakers")


def draw_babble(bank, kind, indices, num, talkers, *key):
    """The sum of ``talkers`` = (least, most) different talkers at equal power for each index: (B, num) float32."""
    indices = np.asarray(indices)
    numbers = talkers[0] + below(indices, talkers[1] - talkers[0] + 1, *key, "talkers")
    files = distinct(indices, bank.count(kind), talkers[1], *key, "file")
    total = None
    for turn in range(talkers[1]):
        rows = np.flatnonzero(numbers > turn)
        if not len(rows):
            break
        voice = _stretch(bank, kind, files[rows, turn], indices[rows], num, *key, turn)
        voice = voice / voice.square().mean(1, keepdim=True).sqrt().clamp_min(1e-10)
        total = torch.zeros(len(indices), num, device=voice.device) if total is None else total
        total[to_device(rows, voice.device)] += voice
    return total


def add_kind(waves, bank, kind, indices, snr, talkers, *key):
    """Add one kind of noise ("noise", "music" or "babble") to each row at an SNR drawn from ``snr`` = (low, high) dB.

    waves (B, N) float32; all draws are functions of an index and the key.
    """
    if kind == "babble":
        noise = draw_babble(bank, kind, indices, waves.shape[1], talkers, *key, kind)
    else:
        noise = draw_noise(bank, kind, indices, waves.shape[1], *key, kind)
    return add_noise(waves, noise.to(waves.device), between(indices, snr, *key, kind, "snr"))
