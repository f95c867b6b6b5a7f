"""Where stage 4 takes whole utterances from: the feature arks of stage 2, or audio through the model's own front end.

A source has ``keys`` (utterances, sorted), ``num_frames`` (N,) (for grouping; before VAD, so an upper bound with it)
``read(index) -> (T, F) float32``, not normalised, callable from several threads, and ``state(indices)``, values that
change when what is read for ``indices`` does.
"""

import threading
from pathlib import Path

import numpy as np
import torch

from wespk.corpora.features import read_utterances
from wespk.data.stored import check_stamp
from wespk.io.ark import read_array, read_scp
from wespk.io.audio import read_audio
from wespk.io.frames import FrameReader, dequantise
from wespk.io.job_marks import file_state, recording_state
from wespk.io.tables import read_numbers, read_table
from wespk.utils.errors import InputError


def open_source(data, network, kind):
    """The source for a data folder: ``kind`` feats or waves. Raises ``InputError`` if the folder lacks something."""
    return FeatureArks(data, network.config["features"]) if kind == "feats" else WaveFiles(data, network.front_end)


def data_utterances(data):
    """The utterances of a data folder, sorted: the keys of utt2spk, else of wav.scp, else of feats.scp."""
    for name in ("utt2spk", "wav.scp", "feats.scp"):
        if (Path(data) / name).is_file():
            return sorted(read_table(Path(data) / name))
    raise InputError(f"{data} holds no utt2spk, wav.scp or feats.scp; make it in stage 1")


def _state(data):
    """Path, size and time of change of all tables that a source may read."""
    names = ("utt2spk", "wav.scp", "segments", "utt2dur", "feats.scp", "utt2num_frames", "vad.scp")
    return [(str(data.absolute() / name), file_state(data / name)) for name in names]


def _lookup(table, path, keys, fix):
    """The values of ``keys`` in a table read from ``path``; names the first that is not there."""
    for key in keys:
        if key not in table:
            raise InputError(f"{path}: utterance {key} is not there; {fix}")
    return [table[key] for key in keys]


def speech_features(front_end, samples, name):
    """Features (T, F) of a waveform (N,), not normalised; only its speech frames if the front end has ``vad``."""
    if not front_end.vad:
        return front_end(samples)
    return _speech_only(*front_end.many_with_speech([samples])[0], name)


def _speech_only(feats, speech, name):
    """The frames of ``feats`` (T, F) that ``speech`` (T,) marks; ``InputError`` if there are none or T differs."""
    if len(speech) != len(feats):
        raise InputError(f"{name}: {len(speech)} VAD decisions for {len(feats)} frames; features and vad.scp are from "
                         "two runs, repeat stage 2")
    if not speech.any():
        raise InputError(f"{name}: the VAD finds no speech in it; listen to it, and leave it out")
    return feats[speech]


class FeatureArks:
    """Utterances of DATA/feats.scp; with ``features.vad``, without the silence that DATA/vad.scp marks.

    conf: the section `features` of the model's configuration; the folder's own record (features.json) must agree.
    """

    def __init__(self, data, conf):
        data = Path(data)
        self.keys, self._tables = data_utterances(data), _state(data)
        path = data / "feats.scp"
        specs = _lookup(read_scp(path), path, self.keys, "compute its features (stage 2)")
        check_stamp(data, conf)
        path, frames = data / "utt2num_frames", None
        if path.is_file():  # else every header of the folder is read, by every job
            frames = _lookup(read_numbers(path), path, self.keys, "repeat stage 2")
        self._feats, self._lock = FrameReader(specs, self.keys, frames), threading.Lock()
        self.num_frames = self._feats.num_frames
        self._vad = None
        if conf["vad"]:
            path = data / "vad.scp"
            self._vad = _lookup(read_scp(path), path, self.keys, "the model was trained with features.vad: run stage 2 "
                                "with the experiment's configuration")

    def state(self, indices):
        """The folder's tables, as stage 2 writes them anew when it has written arks."""
        return [*self._tables, *indices]

    def read(self, index):
        """Features (T, F) float32 of utterance number ``index``."""
        with self._lock:  # the reader's cache of open arks is not made for several threads; decompression is
            raw = self._feats.read_raw([index], [0], self.num_frames[index])
        feats = dequantise(raw)[0]
        if self._vad is None:
            return feats
        speech = torch.from_numpy(read_array(self._vad[index], self.keys[index]) > 0)
        return _speech_only(feats, speech, f"utterance {self.keys[index]}")


class WaveFiles:
    """Utterances of DATA/wav.scp (and segments) through the model's front end, on the CPU. Needs DATA/utt2dur."""

    def __init__(self, data, front_end):
        data = Path(data)
        self.keys, self._front_end, self._tables = data_utterances(data), front_end, _state(data)
        places = read_utterances(data, front_end.sample_rate)
        self._places = _lookup(places, data / "wav.scp", self.keys, "add its audio")
        seconds = _lookup(read_numbers(data / "utt2dur", float), data / "utt2dur", self.keys, "repeat stage 1")
        self.num_frames = np.array([front_end.num_frames(round(s * front_end.sample_rate)) for s in seconds])

    def state(self, indices):
        """The folder's tables, and the recordings, of which plain files count by size and time of change."""
        return [*self._tables, *indices, *map(recording_state, dict.fromkeys(self._places[i][0] for i in indices))]

    def read(self, index):
        """Features (T, F) float32 of utterance number ``index``."""
        name, (spec, first, num) = f"utterance {self.keys[index]}", self._places[index]
        try:
            samples, rate = read_audio(spec, first, num)
        except InputError as error:
            raise InputError(f"{name}: {error}") from None
        if rate != self._front_end.sample_rate:
            raise InputError(f"{name} ({spec}): {rate} Hz, but the model was trained at {self._front_end.sample_rate} "
                             "Hz; resample the file (wespk.bin.embed does it by itself)")
        return speech_features(self._front_end, samples, name)
