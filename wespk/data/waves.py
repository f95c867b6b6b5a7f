"""Training input from audio: random crops, with speed, noise and reverberation applied in batches on the device."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch

from wespk.augment.bank import TensorBank
from wespk.augment.chain import WaveAugment, needs
from wespk.augment.spec_mask import SpecMask
from wespk.augment.speed import speed_classes
from wespk.data.chunks import chosen, keep_long, told_shorter
from wespk.data.identity import Identity
from wespk.data.labels import label_for_training, unlabelled, with_label
from wespk.features.front_end import FrontEnd
from wespk.io.audio import floating, read_samples
from wespk.io.column_kinds import Decimals, Texts
from wespk.io.columns import column_of, read_column
from wespk.io.tables import read_table
from wespk.utils.errors import InputError
from wespk.utils.seed import generator, uniform

_READERS = 8


def _read(key, spec, rate, start=0, num=None):
    samples, found = read_samples(spec, start, num)
    if found != rate:
        raise InputError(f"'{key}' ({spec}): {found} Hz, but features.sample_rate is {rate}; resample it")
    return samples


def _read_int16(key, spec, rate):
    samples = _read(key, spec, rate)
    if samples.dtype != np.int16:
        samples = np.round(samples * 32768).clip(-32768, 32767)
    samples = samples.astype(np.int16)
    if not samples.any():
        raise InputError(f"'{key}' ({spec}) is silent; take it off the list")
    return samples


def read_bank(tables, rate, minutes, seed, device):
    """A ``TensorBank`` of the recordings in ``tables`` (kind -> scp file), held as 16-bit samples on ``device``.

    Of a kind that has more than ``minutes`` a seeded selection is taken, whole files until it is full. Returns
    (bank, {kind: number of files}). Raises ``InputError`` naming a missing table or an unreadable recording.
    """
    signals = {}
    for kind, path in tables.items():
        if not Path(path).is_file():
            raise InputError(f"{path} does not exist: prepare it in stage 1 (--musan, --rirs), or switch off its use "
                             "in the section 'augment'")
        table = list(read_table(path).items())
        order = generator(seed, "bank", kind).permutation(len(table))
        taken, total = [], 0
        with ThreadPoolExecutor(_READERS) as pool:
            for first in range(0, len(order), _READERS):
                for samples in pool.map(lambda i, t=table: _read_int16(*t[i], rate), order[first:first + _READERS]):
                    if total < minutes * 60 * rate:
                        taken.append(samples)
                        total += len(samples)
                if total >= minutes * 60 * rate:
                    break
        signals[kind] = taken
    return TensorBank(signals, device, torch.int16), {kind: len(v) for kind, v in signals.items()}


class WaveChunks:
    """Crops of ``data_dir/wav.scp``, a new one of each utterance every epoch; the interface of ``FeatureChunks``.

    ``fetch`` reads samples; ``finish`` augments them, computes the features, normalises and masks, all on the training
    device. With ``augment.speeds`` each speed of a speaker is a speaker of its own, named ``sp0.9-SPEAKER``
    after the one whose label the utterance bears.
    musan_dir, rirs_dir: folders written by stage 1, needed as far as the section ``augment`` asks for them.
    one_speed: all utterances of a speaker have the same speed in an epoch, for batches of speakers x utterances.
    labelled: without, nothing is read of who speaks; ``speakers`` is empty and all ``labels`` are 0.
    """

    def __init__(self, data_dir, conf, musan_dir, rirs_dir, device="cpu", one_speed=False, labelled=True):
        data_dir = Path(data_dir)
        self.front_end, self.mask = FrontEnd(conf["features"]), SpecMask(conf["augment"])
        rate = self.front_end.sample_rate
        if (data_dir / "segments").is_file():
            raise InputError(f"{data_dir / 'segments'}: training on waveforms takes whole recordings, not segments; set "
                             "data.input=feats, or cut the recordings")
        keys, specs = read_column(data_dir / "wav.scp", Texts())
        kept = with_label(conf, data_dir, keys) if labelled else np.ones(len(keys), bool)
        self.without_label = len(keys) - np.count_nonzero(kept)
        keys, specs = chosen(kept, keys, specs)
        samples = np.rint(self._durations(data_dir / "utt2dur", keys) * rate).astype(np.int64)
        kept = keep_long(self._frames(samples), conf["data"]["min_frames"], "frames")
        self.too_short = len(keys) - np.count_nonzero(kept)
        self.keys, self.specs, self.samples = chosen(kept, keys, specs, samples)
        names, self.labels, self.relabelled = (label_for_training(conf, data_dir, self.keys) if labelled
                                               else unlabelled(self.keys))
        self.speakers = speed_classes(names, conf["augment"]["speeds"])
        self.num_names, self.rate, self.one_speed = len(names), rate, one_speed
        self.frames, self.seed = conf["data"]["chunk_frames"], conf["seed"]
        self.chunk = self.front_end.num_samples(self.frames)
        self.shorter = int((self.samples < self.chunk).sum())
        self.augment, self.banks = self._augment(conf, musan_dir, rirs_dir, device)

    @staticmethod
    def _durations(path, keys):
        found = column_of(path, Decimals(), keys, lambda key: InputError(f"{path} lacks '{key}'; run stage 1 again"))
        odd = np.flatnonzero(~np.isfinite(found))
        if len(odd):
            raise InputError(f"{path}: '{keys[int(odd[0])]}' lasts {found[odd[0]]} seconds; run stage 1 again")
        return found

    def _frames(self, samples):
        """Frames of waveforms of so many ``samples`` (N,), of which few are different: int64 (N,)."""
        different, which = np.unique(samples, return_inverse=True)
        return np.array([self.front_end.num_frames(int(number)) for number in different], dtype=np.int64)[which]

    def _augment(self, conf, musan_dir, rirs_dir, device):
        section, noises, rirs, held = conf["augment"], None, None, {}
        minutes, seed = section["bank_minutes"], conf["seed"]
        use_noises, use_rirs = needs(section)
        if use_noises and musan_dir:
            files = {kind: Path(musan_dir) / f"{'speech' if kind == 'babble' else kind}.scp" for kind in section["kinds"]}
            noises, held = read_bank(files, self.rate, minutes, seed, device)
        if use_rirs and rirs_dir:
            rirs, found = read_bank({"rir": Path(rirs_dir) / "rirs.scp"}, self.rate, minutes, seed, device)
            held |= found
        return WaveAugment(section, noises, rirs), held

    def identity(self):
        """One line an utterance: what a resumed run must find unchanged."""
        return Identity(self.keys, self.labels, self.samples)

    def describe(self, items):
        """The ids of the utterances numbered ``items``, for messages."""
        return " ".join(self.keys[int(i)] for i in items)

    def summary(self):
        """A few words for the log."""
        held = ", ".join(f"{count} {kind} files" for kind, count in self.banks.items())
        listed = f"{self.without_label} left out as not in labels.file, " if self.without_label else ""
        short = f"{self.too_short} left out as too short{told_shorter(self.shorter, self.frames)}"
        return f"{listed}{short}; augmentation from {held or 'nothing'}"

    def fetch(self, epoch, items):
        """Samples of the utterances ``items`` (B,): (dict of tensors for ``finish``, labels (B,))."""
        return self._fetch(epoch, items, items)

    def _fetch(self, epoch, items, crops):
        """``fetch`` with the places drawn by other numbers, ``crops`` (B,), than the utterances' own."""
        numbers = self._speed_numbers(items)
        wanted = self.augment.source_lengths(numbers, self.chunk, self.seed, epoch)
        waves = self._read_crops(epoch, items, crops, wanted, self.augment.longest_source(self.chunk))
        speed = self.augment.speeds_of(numbers, self.seed, epoch)
        return {"waves": torch.from_numpy(waves)}, self.labels[items] + speed * self.num_names

    def _read_crops(self, epoch, items, crops, wanted, num, wrap=True):
        """Samples (N, num) of the utterances ``items`` (N,), ``wanted`` (N,) of each, from places by ``crops`` (N,).

        A shorter utterance is repeated, or without ``wrap`` followed by zeros. int16 if all are recorded so, which halves
        what is sent to the training device; else float32.
        """
        waves = np.zeros((len(items), num), np.int16)
        spare = np.maximum(self.samples[items] - wanted, 0)
        starts = (uniform(crops, self.seed, epoch, "crop") * (spare + 1)).astype(np.int64)
        for row, (item, start, size) in enumerate(zip(items, starts, wanted)):
            found = _read(self.keys[item], self.specs[item], self.rate, int(start), int(min(size, self.samples[item])))
            if wrap and len(found) != size:
                found = np.resize(found, size)
            if found.dtype != waves.dtype:
                waves, found = floating(waves), floating(found)
            waves[row, : len(found)] = found
        return waves

    def _speed_numbers(self, items):
        """The numbers (B,) by which the speeds of utterances are drawn."""
        return self.labels[items] if self.one_speed else items

    def _at_speed(self, batch, waves):
        """Crops (B, N) of the batch's utterances, or (B * n, N) of n crops of each, at their speeds: (..., self.chunk)."""
        numbers = np.repeat(self._speed_numbers(batch.items.numpy()), len(waves) // len(batch.items))
        return self.augment.change_speed(waves, numbers, self.chunk, self.seed, batch.epoch)

    def finish(self, batch, device):
        """Features (B, T, F) float32 on ``device``, augmented, normalised and masked, of a ``Batch`` from ``fetch``."""
        items, waves = batch.items.numpy(), floating(batch.inputs["waves"].to(device, non_blocking=True))
        with torch.no_grad():
            waves = self.augment.spoil(self._at_speed(batch, waves), items, self.seed, batch.epoch)
            feats = self.front_end.normalise(self.front_end(waves))
        return self.mask(feats, items, self.seed, batch.epoch)
