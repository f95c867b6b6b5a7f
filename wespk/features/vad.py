"""Speech detection by frame energy, as Kaldi's ``compute-vad``."""

import numpy as np
import torch

from wespk.utils.errors import InputError


def energy_vad(log_energy, threshold=5.5, mean_scale=0.5, context=2, proportion=0.12):
    """Which frames are speech.

    log_energy: (T,) raw log energies (natural log, int16-scaled samples), numpy or torch. A frame is speech when, of the
    frames within ``context`` of it, at least the share ``proportion`` lies above
    ``threshold + mean_scale * mean(log_energy)``. Returns bool (T,), numpy or torch as given.
    """
    if not 0 < proportion < 1 or context < 0:
        raise InputError(f"energy VAD needs 0 < proportion < 1 and context >= 0, not {proportion} and {context}")
    is_torch = torch.is_tensor(log_energy)
    energy = log_energy.cpu().numpy() if is_torch else np.asarray(log_energy)
    if not len(energy):
        return log_energy > 0
    above = energy.astype(np.float32) > np.float32(threshold + mean_scale * energy.mean(dtype=np.float64))
    counts = np.concatenate([[0], np.cumsum(above)])
    first = np.maximum(np.arange(len(energy)) - context, 0)
    last = np.minimum(np.arange(len(energy)) + context + 1, len(energy))
    # single precision, as Kaldi compares: 0.6 of 5 frames is a little over 3 there
    speech = counts[last] - counts[first] >= (last - first).astype(np.float32) * np.float32(proportion)
    return torch.from_numpy(speech).to(log_energy.device) if is_torch else speech
