"""From the `features` section of a configuration to features: the one place where it is read.

Stage 2, training on waveforms, extraction from audio and the Python interface all go through ``FrontEnd``, so the
same section gives the same features everywhere.
"""

import torch

from wespk.features.cmvn import mean_norm
from wespk.features.fbank import FrameOptions, mel_energies
from wespk.features.framing import num_samples
from wespk.features.mfcc import cepstra
from wespk.features.vad import energy_vad
from wespk.utils.errors import InputError


class FrontEnd:
    """Waveforms -> features, as the section asks; and the normalisation that comes before a network.

    Calling it gives plain features (what stage 2 stores); ``normalise`` comes after silence is dropped or chunks are cut.
    """

    def __init__(self, features):
        """features: the `features` section (a dict). Raises ``InputError`` for values that do not fit together."""
        self.kind = features["type"]
        if self.kind not in ("fbank", "mfcc"):
            raise InputError(f"features.type is fbank or mfcc, not '{self.kind}'")
        self.cmn, self.vad, self.use_energy = features["cmn"], features["vad"], features["use_energy"]
        if self.cmn not in ("mean", "mean_var", "none"):
            raise InputError(f"features.cmn is mean, mean_var or none, not '{self.cmn}'")
        self.num_ceps = features["num_ceps"]
        self.options = FrameOptions(
            sample_rate=features["sample_rate"],
            num_mel_bins=features["num_mel_bins"],
            frame_length=features["frame_length_ms"],
            frame_shift=features["frame_shift_ms"],
            low_freq=features["low_freq"],
            high_freq=features["high_freq"],
            preemphasis=features["preemphasis"],
            window=features["window"],
            snip_edges=features["snip_edges"],
        ).check()
        if self.kind == "mfcc" and self.num_ceps > self.options.num_mel_bins:
            raise InputError(f"features.num_ceps ({self.num_ceps}) is above features.num_mel_bins "
                             f"({self.options.num_mel_bins})")

    @property
    def sample_rate(self):
        """Hz."""
        return self.options.sample_rate

    @property
    def feat_dim(self):
        """Columns of the features."""
        return self.num_ceps if self.kind == "mfcc" else self.options.num_mel_bins + int(self.use_energy)

    def num_frames(self, samples):
        """Frames made of a waveform of ``samples`` samples."""
        return self.options.frames(samples)

    def num_samples(self, frames):
        """The fewest samples that make exactly ``frames`` frames."""
        return num_samples(frames, self.options.length, self.options.shift, self.options.snip_edges)

    def __call__(self, waves):
        """waves (N,) or (B, N) floating-point samples in [-1, 1), numpy or torch, any device -> (T, F) or (B, T, F)."""
        return self.many([waves])[0]

    def many(self, waves):
        """The features of each of a list of waveforms of any lengths, computed as one batch."""
        return [feats for feats, _ in self._compute(waves, self.use_energy)]

    def many_with_speech(self, waves):
        """As ``many``, for one-dimensional waveforms: a list of (feats (T, F), speech (T,) bool by the energy VAD)."""
        return [(feats, energy_vad(energy)) for feats, energy in self._compute(waves, True)]

    def _compute(self, waves, with_energy):
        found = []
        for log_mel, energy in mel_energies(waves, self.options, with_energy):
            first = energy if self.use_energy else None
            if self.kind == "mfcc":
                feats = cepstra(log_mel, first, self.num_ceps)
            else:
                feats = log_mel.contiguous() if first is None else torch.cat([first[..., None], log_mel], -1)
            found.append((feats, energy))
        return found

    def normalise(self, feats, lengths=None):
        """features.cmn over the time axis of (T, F) or (B, T, F); with ``lengths`` (B,), over the valid frames only."""
        if self.cmn == "none":
            return feats
        return mean_norm(feats, lengths, norm_vars=self.cmn == "mean_var")
