"""What the section `augment` asks of training waveforms: speed, then reverberation or noise, for a batch at a time."""

import numpy as np
import torch

from wespk.augment.draws import below, between
from wespk.augment.noise import add_kind, check_talkers
from wespk.augment.reverb import add_reverb
from wespk.augment.speed import draw_speeds, source_length, speed
from wespk.utils.errors import InputError
from wespk.utils.seed import uniform
from wespk.utils.transfer import to_device


def needs(conf):
    """Whether the section `augment` takes noises, and whether it takes impulse responses: (bool, bool)."""
    some, both = conf["prob"] > 0, conf["both_share"] > 0
    return some and (both or conf["reverb_share"] < 1), some and (both or conf["reverb_share"] > 0)


class WaveAugment:
    """Augment a batch of chunks on whatever device they are on.

    Everything drawn is a function of (seed, epoch, utterance index); the batch around an utterance changes nothing but the
    last bits of its samples.
    A reader asks ``source_lengths`` how much of each utterance to read, and the label follows from ``speeds_of``.
    """

    def __init__(self, conf, noise_bank=None, rir_bank=None):
        """conf: the `augment` section; noise_bank: a bank with its ``kinds``; rir_bank: one with the kind "rir".

        Banks: see ``wespk.augment.bank``. Raises ``InputError`` when the section asks for what no bank holds.
        """
        self.conf, self.speeds = conf, list(conf["speeds"])
        self.noise_bank, self.rir_bank = noise_bank, rir_bank
        self.spans = {kind: conf[f"{kind}_snr"] for kind in conf["kinds"]}
        noises, responses = needs(conf)
        if noises:
            if not self.spans:
                raise InputError("augment.kinds is empty, but augment.prob and augment.reverb_share leave a share for noise")
            if noise_bank is None:
                raise InputError("augment.prob asks for noise: give the noises (--musan), or set augment.reverb_share=1 and "
                                 "augment.both_share=0")
            if "babble" in self.spans:
                check_talkers(noise_bank, "babble", conf["babble_speakers"])
        if responses and rir_bank is None:
            raise InputError("augment.prob asks for reverberation: give impulse responses (--rirs), or set "
                             "augment.reverb_share=0 and augment.both_share=0")

    def speeds_of(self, indices, seed, epoch):
        """(B,) int64: 0 for speed 1, else 1 + the place in ``self.speeds``; see ``wespk.augment.speed.draw_speeds``."""
        return draw_speeds(indices, self.speeds, seed, epoch)

    def source_lengths(self, indices, num_samples, seed, epoch):
        """Samples (B,) of each utterance that make ``num_samples`` after its speed."""
        lengths = [source_length(num_samples, factor) for factor in (1, *self.speeds)]
        return np.array(lengths, dtype=np.int64)[self.speeds_of(indices, seed, epoch)]

    def longest_source(self, num_samples):
        """The most that ``source_lengths`` can ask for: the width of the batch."""
        return max(source_length(num_samples, factor) for factor in (1, *self.speeds))

    def __call__(self, waves, indices, seed, epoch, num_samples=None):
        """waves (B, M) float32 on any device, indices (B,) utterance numbers -> (B, num_samples), same device.

        Row b holds its ``source_lengths`` samples and then anything; with speeds, M is at least ``longest_source`` and
        ``num_samples`` (default M) the length wanted.
        """
        indices = np.asarray(indices, dtype=np.int64)
        num_samples = waves.shape[1] if num_samples is None else num_samples
        if waves.shape[1] < self.longest_source(num_samples):
            raise ValueError(f"{waves.shape[1]} samples cannot make {num_samples} at speeds {self.speeds}")
        with torch.no_grad():
            waves = self.change_speed(waves, indices, num_samples, seed, epoch)
            return self.spoil(waves, indices, seed, epoch)

    def change_speed(self, waves, indices, num_samples, seed, epoch):
        """The first half of a call: each row at the speed that its index draws, (B, num_samples), a copy."""
        changed = waves[:, :num_samples].clone()
        drawn = self.speeds_of(indices, seed, epoch) if self.speeds else np.zeros(len(indices), np.int64)
        for number, factor in enumerate(self.speeds, 1):
            rows = to_device(np.flatnonzero(drawn == number), waves.device)
            if len(rows):
                source = waves[rows, : source_length(num_samples, factor)]
                changed[rows] = speed(source, factor, num_samples)
        return changed

    def spoil(self, waves, indices, seed, epoch):
        """The second half: reverberation, one kind of noise, or first that and then this, for the rows that draw it.

        Returns a new tensor: ``waves`` may be rows that several views share.
        """
        waves, kinds = waves.clone(), list(self.spans)
        hit = uniform(indices, seed, epoch, "spoil") < self.conf["prob"]
        both = hit & (uniform(indices, seed, epoch, "both") < self.conf["both_share"])
        wet = hit & ~both & (uniform(indices, seed, epoch, "reverb") < self.conf["reverb_share"])
        kind = below(indices, max(1, len(kinds)), seed, epoch, "kind")
        plans = [("reverb", np.flatnonzero(wet | both))]
        plans += [(name, np.flatnonzero(hit & ~wet & (kind == number))) for number, name in enumerate(kinds)]
        for name, chosen in plans:
            if not len(chosen):
                continue
            rows = to_device(chosen, waves.device)
            if name == "reverb":
                gains = 10 ** (between(indices[chosen], self.conf["reverb_gain"], seed, epoch, "gain") / 20)
                found = add_reverb(waves[rows], self.rir_bank, indices[chosen], seed, epoch)
                waves[rows] = found * to_device(gains.astype(np.float32), waves.device)[:, None]
            else:
                waves[rows] = add_kind(waves[rows], self.noise_bank, name, indices[chosen], self.spans[name],
                                       self.conf["babble_speakers"], seed, epoch)
        return waves
