"""Mel-frequency cepstra equal to Kaldi's ``compute-mfcc-feats``, batched, on any device."""

from functools import lru_cache

import numpy as np
import torch

from wespk.features.fbank import FrameOptions, mel_energies
from wespk.utils.errors import InputError


@lru_cache(maxsize=16)
def _transform(num_ceps, num_mel_bins, cepstral_lifter, device):
    """Cosine transform and liftering in one matrix (num_mel_bins, num_ceps) float64."""
    if not 0 < num_ceps <= num_mel_bins:
        raise InputError(f"num_ceps must lie in 1 to num_mel_bins ({num_mel_bins}), not {num_ceps}")
    k = np.arange(num_ceps)
    n = np.arange(num_mel_bins)[:, None]
    cosine = np.sqrt(2 / num_mel_bins) * np.cos(np.pi / num_mel_bins * (n + 0.5) * k)
    cosine[:, 0] = np.sqrt(1 / num_mel_bins)
    lifter = 1 + 0.5 * cepstral_lifter * np.sin(np.pi * k / cepstral_lifter) if cepstral_lifter else np.ones(num_ceps)
    return torch.from_numpy(cosine * lifter).to(device)


def cepstra(log_mel, log_energy=None, num_ceps=30, cepstral_lifter=22.0):
    """Log mel energies (..., T, M) -> cepstra (..., T, num_ceps) float32.

    ``log_energy`` (..., T), when given, takes the place of C0.
    """
    matrix = _transform(num_ceps, log_mel.shape[-1], cepstral_lifter, log_mel.device)
    found = (log_mel.double() @ matrix).float()
    if log_energy is not None:
        found[..., 0] = log_energy
    return found


def mfcc(waveform, sample_rate=16000, num_mel_bins=30, num_ceps=30, cepstral_lifter=22.0, use_energy=True,
         generator=None, **options):
    """MFCC features of (N,) or (B, N) floating-point samples in [-1, 1) -> (T, num_ceps) or (B, T, num_ceps) float32.

    Args as Kaldi's compute-mfcc-feats: num_ceps includes C0; cepstral_lifter 0 turns liftering off; use_energy puts
    the raw log energy in the place of C0; the remaining options are those of ``fbank``. The defaults of num_mel_bins and
    num_ceps are those of Kaldi's VoxCeleb recipes, not of the program. Raises ``InputError`` as ``fbank``.
    """
    options = FrameOptions(sample_rate=sample_rate, num_mel_bins=num_mel_bins, **options).check()
    log_mel, log_energy = mel_energies([waveform], options, use_energy, generator)[0]
    return cepstra(log_mel, log_energy, num_ceps, cepstral_lifter)
