"""Training input from stage 2's arks: random chunks, of which only the wanted frames are read."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import torch

from wespk.augment.spec_mask import SpecMask
from wespk.data.identity import Identity
from wespk.data.labels import label_for_training, unlabelled, with_label
from wespk.data.speakers import without_speed_copies
from wespk.data.stored import check_stamp
from wespk.features.front_end import FrontEnd
from wespk.io.ark import read_array
from wespk.io.column_kinds import Integers, Specs, Texts
from wespk.io.columns import column_of, read_column
from wespk.io.frames import FrameReader, RawChunks, dequantise
from wespk.utils.errors import InputError
from wespk.utils.seed import uniform


def told_shorter(number, frames):
    """Words about so many utterances that a chunk of so many frames does not fit into; none without any."""
    return f", {number} shorter than a chunk of {frames} frames and repeated to fill it" if number else ""


def chosen(kept, *columns):
    """The rows of each column where ``kept``, bool (N,), says so; if all, the columns themselves. One comes alone."""
    if not kept.all():
        rows = np.flatnonzero(kept)
        columns = [column.take(rows) for column in columns]
    return columns if len(columns) > 1 else columns[0]


def keep_long(lengths, least, what):
    """Which items are at least ``least`` long, bool (N,); raises ``InputError`` when none is. ``what`` is the unit."""
    if not len(lengths):
        raise InputError("there is no utterance to train on: the data folder, or labels.file, lists none; run stages 1 and 2 "
                         "again, or give other labels")
    kept = lengths >= least
    if not kept.any():
        raise InputError(f"none of {len(lengths)} training utterances has data.min_frames={least} {what}; "
                         f"the longest has {lengths.max()}: lower data.min_frames")
    return kept


def _lacks(path, which=""):
    """The error that a table of stage 2 lacks a key: a function of the key."""
    return lambda key: InputError(f"{path} lacks '{key}'{which}; run stage 2 again")


class FeatureChunks:
    """Chunks of ``data.chunk_frames`` frames out of ``data_dir/feats.scp``, a new one of each utterance every epoch.

    ``labels`` int64 (N,) and ``speakers`` describe the N utterances with at least ``data.min_frames`` frames, of which
    ``relabelled`` bear another speaker's label because the section ``labels`` asks for it. ``fetch`` runs in the loader's
    workers and returns frames as they lie in the ark; ``finish`` decompresses, normalises and masks them on the training
    device. An utterance shorter than a chunk is repeated. With ``features.vad``, chunks are taken from the speech frames
    alone (which means reading whole utterances). With ``data.speed_copies: false`` the copies at other speeds, and so the
    speakers made of them, are left out.

    Raises ``InputError`` for missing files, utterances without a speaker, and features that are not what the
    configuration describes.

    labelled: without, nothing is read of who speaks; ``speakers`` is empty and all ``labels`` are 0.
    """

    def __init__(self, data_dir, conf, labelled=True):
        data_dir = Path(data_dir)
        scp = data_dir / "feats.scp"
        if not scp.is_file():
            raise InputError(f"{scp} does not exist: compute the features first (stage 2)")
        check_stamp(data_dir, conf["features"])
        keys, places = read_column(scp, Specs())
        path, kept = data_dir / "utt2num_frames", np.ones(len(keys), bool)
        lengths = column_of(path, Integers(), keys, _lacks(path, f", which is in {scp}"))
        if not conf["data"]["speed_copies"]:
            kept = without_speed_copies(keys, conf["copies"]["speeds"])
        numbers = [len(keys), np.count_nonzero(kept)]  # of those left
        if labelled:
            kept[kept] = with_label(conf, data_dir, chosen(kept, keys))
        numbers.append(np.count_nonzero(kept))
        kept[kept] = keep_long(chosen(kept, lengths), conf["data"]["min_frames"], "frames")
        numbers.append(np.count_nonzero(kept))
        self.speed_copies, self.without_label, self.too_short = (a - b for a, b in pairwise(numbers))
        self.keys, places, lengths = chosen(kept, keys, places, lengths)
        self.speakers, self.labels, self.relabelled = (label_for_training(conf, data_dir, self.keys) if labelled
                                                       else unlabelled(self.keys))
        self.reader = FrameReader(places, self.keys, lengths)
        self.vad = self._vad_specs(data_dir, self.keys) if conf["features"]["vad"] else None
        self.front_end, self.mask = FrontEnd(conf["features"]), SpecMask(conf["augment"])
        if self.reader.num_cols != self.front_end.feat_dim:
            raise InputError(f"{scp} has {self.reader.num_cols} columns, the section 'features' describes "
                             f"{self.front_end.feat_dim}: run stage 2 with this configuration")
        self.frames, self.seed = conf["data"]["chunk_frames"], conf["seed"]
        self.shorter = int((lengths < self.frames).sum())

    @staticmethod
    def _vad_specs(data_dir, keys):
        path = data_dir / "vad.scp"
        return column_of(path, Texts(), keys, _lacks(path))

    def identity(self):
        """One line an utterance: what a resumed run must find unchanged."""
        return Identity(self.keys, self.labels, self.reader.num_frames)

    def describe(self, items):
        """The ids of the utterances numbered ``items``, for messages."""
        return " ".join(self.keys[int(i)] for i in items)

    def summary(self):
        """A few words for the log."""
        copies = f"{self.speed_copies} left out as copies at other speeds, " if self.speed_copies else ""
        listed = f"{self.without_label} left out as not in labels.file, " if self.without_label else ""
        return f"{copies}{listed}{self.too_short} left out as too short{told_shorter(self.shorter, self.frames)}"

    def fetch(self, epoch, items):
        """Chunks of the utterances ``items`` (B,): (dict of tensors for ``finish``, labels (B,))."""
        return self._chunks(items, uniform(items, self.seed, epoch, "crop")), self.labels[items]

    def _chunks(self, rows, draws, frames=None):
        """Chunks of the utterances in ``rows`` (N,) from places by ``draws`` (N,) in [0, 1), as ``finish`` takes them.

        frames: their length; None: ``data.chunk_frames``.
        """
        frames = frames or self.frames
        if self.vad is not None:
            chunks = np.stack([self._speech_chunk(i, u, frames) for i, u in zip(rows, draws)])
            raw = RawChunks(torch.from_numpy(chunks), torch.zeros(len(rows), 2), torch.zeros(0, dtype=torch.int16))
        else:
            spare = np.maximum(self.reader.num_frames[rows] - frames, 0)
            raw = self.reader.read_raw(rows, (draws * (spare + 1)).astype(np.int64), frames)
        return raw._asdict()

    def _speech_chunk(self, item, draw, frames):
        feats, speech = self.reader.read(item), read_array(self.vad[item])
        if len(speech) != len(feats):
            raise InputError(f"{self.keys[int(item)]}: {len(feats)} frames, but {len(speech)} VAD decisions; "
                             "run stage 2 again")
        feats = feats[speech > 0.5]
        if not len(feats):
            raise InputError(f"{self.keys[int(item)]}: the VAD found no speech in it; leave it out of the data folder")
        start = int(draw * (max(len(feats) - frames, 0) + 1))
        return feats[np.arange(start, start + frames) % len(feats)]

    def finish(self, batch, device):
        """Features (B, T, F) float32 on ``device``, normalised and masked, of a ``Batch`` that ``fetch`` began."""
        feats = self.front_end.normalise(dequantise(RawChunks(**batch.inputs), device))
        return self.mask(feats, batch.items.numpy(), self.seed, batch.epoch)
