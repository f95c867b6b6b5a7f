"""Masks over time and frequency (SpecAugment, Park et al. 2019), drawn for every utterance by itself."""

import numpy as np

from wespk.augment.draws import below
from wespk.utils.seed import uniform
from wespk.utils.transfer import to_device


def _stripes(indices, size, number, widest, *key):
    """Bool (B, size): ``number`` runs of 0 to ``widest`` places at random positions."""
    places = np.arange(size)
    masked = np.zeros((len(indices), size), bool)
    for turn in range(number):
        width = below(indices, min(widest, size) + 1, *key, turn, "width")
        start = below(indices, size - width + 1, *key, turn, "start")
        masked |= (places >= start[:, None]) & (places < (start + width)[:, None])
    return masked


class SpecMask:
    """Zero stretches of time and bands of frequency; meant for normalised features, where zero is the mean.

    conf: the `augment` section: mask_prob, time_masks, time_width (frames), freq_masks, freq_width (bins).
    """

    def __init__(self, conf):
        self.prob = conf["mask_prob"]
        self.time = conf["time_masks"], conf["time_width"]
        self.freq = conf["freq_masks"], conf["freq_width"]

    def __call__(self, feats, indices, seed, epoch):
        """feats (B, T, F), indices (B,) utterance numbers -> (B, T, F); each row by its own (seed, epoch, index)."""
        if not self.prob:
            return feats
        chosen = (uniform(indices, seed, epoch, "mask") < self.prob)[:, None]
        time = chosen & _stripes(indices, feats.shape[1], *self.time, seed, epoch, "time")
        freq = chosen & _stripes(indices, feats.shape[2], *self.freq, seed, epoch, "freq")
        time, freq = (to_device(mask, feats.device) for mask in (time, freq))
        return feats.masked_fill(time[:, :, None] | freq[:, None, :], 0)
