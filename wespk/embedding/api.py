"""From Python: load a trained model, embed audio, compare two recordings.

    speaker = load_model("exp/resnet34")
    vector = speaker.embed("a.wav")                      # (D,) float32
    score = speaker.similarity("a.wav", (samples, 8000))  # cosine in [-1, 1]

The front end is the one stored with the model, so these embeddings are those of the recipe's own stage 4, to float32
rounding if that read audio or uncompressed features. Kaldi's compression of stored features (features.compress) moves
an embedding slightly: a cosine distance below 1e-4.
"""

import os
from numbers import Real
from pathlib import Path

import numpy as np
import torch

from wespk.embedding.extractor import check_embeddings, embed_features
from wespk.embedding.files import read_mean
from wespk.embedding.loading import load_network, pick_device
from wespk.embedding.sources import speech_features
from wespk.io.audio import read_audio
from wespk.utils.errors import InputError

_LOUDEST = 64.0  # floats may overshoot 1 after mixing; speech in the range of int16 is far above


def load_model(exp_dir_or_checkpoint, device="cpu", mean=None):
    """Load an experiment (its averaged checkpoint, else its newest) or a checkpoint file -> ``Speaker``.

    device: cpu, cuda, cuda:N or auto. mean: subtracted from both sides by ``similarity``: an array (D,), a .npy file,
    or the .scp of embeddings whose mean to take, such as the training set's; None subtracts nothing.
    """
    return Speaker(load_network(exp_dir_or_checkpoint, pick_device(device)), mean)


class Speaker:
    """A loaded model. ``sample_rate`` is the model's (Hz), ``embed_dim`` the length of its embeddings.

    Audio is a path, or (samples, rate) with samples (N,) float in [-1, 1] or int16. Audio at another rate than the
    model's is resampled (torchaudio's Kaiser-windowed sinc, half-width 64 zero crossings); it cannot regain what a
    lower rate has lost. Training and stage 4 never resample.
    """

    def __init__(self, network, mean=None):
        self.network, self.front_end = network, network.front_end
        self.device = next(network.model.parameters()).device
        self.sample_rate = network.front_end.sample_rate
        self.embed_dim = network.model.embed_dim
        self.mean = None if mean is None else _checked_mean(mean, self.embed_dim)

    def embed(self, audio):
        """Embed one recording -> (D,) float32, not length-normalised, nothing subtracted."""
        return self.embed_many([audio])[0]

    def embed_many(self, audios, names=None, max_frames=0):
        """Embed an iterable of recordings -> (N, D) float32, batched; each row equals ``embed``'s to float32 rounding.

        names: what messages call them (default: path or position); max_frames: frames computed at once (0: by device).
        Raises ``InputError`` naming the recording: not readable, not mono, silent, NaN, or too short.
        """
        names, used = None if names is None else iter(names), []

        def features():
            for number, audio in enumerate(audios):
                used.append(next(names) if names else _name(audio, number))
                yield self.features(audio, used[-1])

        return embed_features(self.network.model, features(), self.device, self.network.cmn, max_frames, used)

    def similarity(self, a, b):
        """Cosine in [-1, 1] between two recordings or embeddings ((D,) arrays), larger = more alike.

        This is the raw cosine unless ``load_model`` was given a mean; the recipe's stage 5 subtracts the training
        set's mean, so its scores are reproduced by giving that. It is no probability: thresholds depend on the model.
        """
        sides = [self._side(audio, name) for audio, name in ((a, "first"), (b, "second"))]
        return float(np.clip(sides[0] @ sides[1], -1.0, 1.0))

    def _side(self, audio, name):
        """One side of a comparison, float64 (D,), centred if there is a mean, of length one."""
        if not isinstance(audio, (np.ndarray, torch.Tensor)):
            audio = self.embed(audio)
        vector = torch.as_tensor(audio).cpu().numpy().astype(np.float64)
        if vector.shape != (self.embed_dim,):
            raise InputError(f"the {name} side is an array of shape {vector.shape}; an embedding has {self.embed_dim} "
                             "values, and samples are given together with their rate: (samples, rate)")
        vector = vector if self.mean is None else vector - self.mean
        check_embeddings(vector[None], [name], "side")
        return vector / np.linalg.norm(vector)

    def features(self, audio, name="audio"):
        """Features (T, F) float32 of one recording, speech frames only if the model wants that; not normalised."""
        samples, rate = _load(audio, name)
        if rate != self.sample_rate:
            samples = resample(samples, rate, self.sample_rate)
        needed = self.front_end.num_samples(self.network.model.min_frames)
        if len(samples) < needed:
            raise InputError(f"{name}: {len(samples) / self.sample_rate:.3f} s is too short; the model needs "
                             f"{needed / self.sample_rate:.3f} s")
        return speech_features(self.front_end, samples, name)


def _checked_mean(mean, embed_dim):
    """The mean to subtract, float64 (D,), from an array or a file of embeddings."""
    name, values = "the mean", mean
    if isinstance(mean, (str, os.PathLike)):
        name, values = str(mean), read_mean(mean)
    values = np.asarray(values, dtype=np.float64)
    if values.shape != (embed_dim,) or not np.isfinite(values).all():
        raise InputError(f"{name}: the mean to subtract must be {embed_dim} finite numbers, as the model's embeddings "
                         f"have, not an array of shape {values.shape}")
    return values


def _name(audio, number):
    return str(audio) if isinstance(audio, (str, os.PathLike)) else f"recording {number}"


def _load(audio, name):
    """A path or (samples, rate) -> (float32 (N,), rate), checked."""
    if isinstance(audio, (str, os.PathLike)):
        if not Path(audio).is_file() or str(audio).endswith("|"):  # a name is never run as a command here
            raise InputError(f"{audio}: no such audio file")
        samples, rate = read_audio(str(audio))
    elif isinstance(audio, tuple) and len(audio) == 2:
        samples, rate = np.asarray(audio[0]), audio[1]
    else:
        raise InputError(f"{name}: give a path or (samples, rate), not a {type(audio).__name__}")
    if samples.ndim != 1:
        raise InputError(f"{name}: samples of shape {samples.shape}; give one channel, (N,)")
    if not isinstance(rate, Real) or isinstance(rate, bool) or rate <= 0 or rate != int(rate):
        raise InputError(f"{name}: the sample rate must be a positive whole number of Hz, not {rate!r}")
    if samples.dtype == np.int16:
        samples = samples / np.float32(32768)
    elif samples.dtype.kind != "f":
        raise InputError(f"{name}: samples of type {samples.dtype}; give floats in [-1, 1] or int16")
    samples = samples.astype(np.float32, copy=False)
    if not np.isfinite(samples).all():
        raise InputError(f"{name}: sample {int(np.argmin(np.isfinite(samples)))} is not finite")
    if samples.size and np.abs(samples).max() > _LOUDEST:
        raise InputError(f"{name}: samples reach {np.abs(samples).max():.6g}; give floats in [-1, 1] or int16")
    if samples.size and samples.min() == samples.max():
        raise InputError(f"{name}: silent, every sample is {samples[0]:.6g}; there is nobody to recognise")
    return samples, int(rate)


def resample(samples, rate, new_rate):
    """Resample float32 (N,) from ``rate`` to ``new_rate`` Hz -> (ceil(N * new_rate / rate),), band-limited."""
    from torchaudio.functional import resample as kaiser

    wave = torch.from_numpy(np.ascontiguousarray(samples))
    return kaiser(wave, rate, new_rate, lowpass_filter_width=64, rolloff=0.9475937167399596,
                  resampling_method="sinc_interp_kaiser", beta=14.769656459379492).numpy()
