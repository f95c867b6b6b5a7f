"""Copies of training utterances, made in stage 2: at other speeds, with noise, music, babble, reverberation."""

import hashlib
from pathlib import Path

import numpy as np

from wespk.augment.bank import ReaderBank
from wespk.augment.noise import add_kind, check_talkers
from wespk.augment.reverb import add_reverb
from wespk.augment.speed import speed, speed_name
from wespk.io.audio import audio_info, read_audio
from wespk.io.tables import read_table
from wespk.utils.errors import InputError

_TABLES = {"noise": "noise.scp", "music": "music.scp", "babble": "speech.scp", "reverb": "rirs.scp"}


def open_bank(tables, sample_rate):
    """A bank that reads the recordings in ``tables`` (kind -> scp file) as they are drawn.

    Raises ``InputError`` naming a missing or empty table now, and a recording of another rate when it is met.
    """
    specs = {}
    for kind, path in tables.items():
        if not Path(path).is_file():
            raise InputError(f"{path} does not exist: prepare it in stage 1 (--musan, --rirs)")
        specs[kind] = list(read_table(path).values())
        if not specs[kind]:
            raise InputError(f"{path} lists no recording; prepare it again in stage 1")

    def length(kind, file):
        samples, rate, _ = audio_info(specs[kind][file])
        if rate != sample_rate:
            raise InputError(f"{specs[kind][file]}: {rate} Hz, but features.sample_rate is {sample_rate}; resample it")
        return samples

    def read(kind, file, start, num):
        samples = read_audio(specs[kind][file], start, num)[0]
        if kind == "rir" and not samples.any():
            raise InputError(f"{specs[kind][file]}: the impulse response is silent; take it off the list")
        return samples

    return ReaderBank({kind: len(items) for kind, items in specs.items()}, length, read)


def utterance_index(utterance):
    """A 64-bit number that stands for an utterance in random draws, wherever in a list it is."""
    return int.from_bytes(hashlib.blake2b(utterance.encode(), digest_size=8).digest(), "big", signed=True)


class CopyMaker:
    """The copies that the section `copies` asks for, each a function of (seed, utterance id) alone."""

    def __init__(self, conf, seed, sample_rate, musan_dir=None, rirs_dir=None):
        """conf: the `copies` section; musan_dir, rirs_dir: folders of stage 1 with noise.scp, ... and rirs.scp."""
        self.conf, self.seed = conf, seed
        self.noise_bank = self.rir_bank = None
        kinds = [kind for kind in conf["kinds"] if kind != "reverb"]
        if kinds:
            folder = self._folder(musan_dir, "--musan", ", ".join(kinds))
            self.noise_bank = open_bank({kind: folder / _TABLES[kind] for kind in kinds}, sample_rate)
        if "babble" in kinds:
            check_talkers(self.noise_bank, "babble", conf["babble_speakers"])
        if "reverb" in conf["kinds"]:
            folder = self._folder(rirs_dir, "--rirs", "reverb")
            self.rir_bank = open_bank({"rir": folder / _TABLES["reverb"]}, sample_rate)

    @staticmethod
    def _folder(given, option, kinds):
        if not given:
            raise InputError(f"copies.kinds asks for {kinds}: give the prepared folder with {option}")
        return Path(given)

    def speeds(self, utterance, speaker, wave):
        """[(copy's id, copy's speaker, samples), ...]: the utterance at each speed, as a new speaker's."""
        return [(speed_name(utterance, factor), speed_name(speaker, factor), speed(wave, factor))
                for factor in self.conf["speeds"]]

    def spoilt(self, utterance, speaker, wave):
        """[(copy's id, speaker, samples), ...]: the utterance with each kind of noise and reverberation."""
        index, key = np.array([utterance_index(utterance)]), (self.seed, "copies")
        found = []
        for kind in self.conf["kinds"]:
            if kind == "reverb":
                copy = add_reverb(wave[None], self.rir_bank, index, *key)
            else:
                copy = add_kind(wave[None], self.noise_bank, kind, index, self.conf[f"{kind}_snr"],
                                self.conf["babble_speakers"], *key)
            found.append((f"{utterance}-{kind}", speaker, copy[0]))
        return found
