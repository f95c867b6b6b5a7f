"""Training input from stage 2's arks: random chunks, of which only the wanted frames are read."""

from pathlib import Path

import numpy as np
import torch

from wespk.augment.spec_mask import SpecMask
from wespk.data.labels import label_for_training, unlabelled, with_label
from wespk.data.speakers import without_speed_copies
from wespk.data.stored import check_stamp
from wespk.features.front_end import FrontEnd
from wespk.io.ark import read_array, read_scp
from wespk.io.frames import FrameReader, RawChunks, dequantise
from wespk.io.tables import read_table
from wespk.utils.errors import InputError
from wespk.utils.seed import uniform
from wespk.utils.strings import PackedStrings


def told_shorter(number, frames):
    """Words about so many utterances that a chunk of so many frames does not fit into; none without any."""
    return f", {number} shorter than a chunk of {frames} frames and repeated to fill it" if number else ""


def keep_long(keys, lengths, least, what):
    """Positions of the items at least ``least`` long; raises ``InputError`` when none is. ``what`` is the unit."""
    kept = np.flatnonzero(lengths >= least)
    if not len(kept):
        raise InputError(f"none of {len(keys)} training utterances has data.min_frames={least} {what}; "
                         f"the longest has {lengths.max()}: lower data.min_frames")
    return kept


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
        table, frames = read_scp(scp), read_table(data_dir / "utt2num_frames")
        missing = next((k for k in table if k not in frames), None)
        if missing is not None:
            raise InputError(f"{data_dir / 'utt2num_frames'} lacks '{missing}', which is in {scp}; run stage 2 again")
        keys = list(table) if conf["data"]["speed_copies"] else without_speed_copies(table, conf["copies"]["speeds"])
        self.speed_copies, found = len(table) - len(keys), len(keys)  # left out; found
        keys = with_label(conf, data_dir, keys) if labelled else keys
        self.without_label = found - len(keys)
        lengths = np.array([int(frames[k]) for k in keys])
        kept = keep_long(keys, lengths, conf["data"]["min_frames"], "frames")
        self.too_short = len(keys) - len(kept)
        del frames  # some gigabytes at VoxCeleb's size
        names = [keys[i] for i in kept]
        self.speakers, self.labels, self.relabelled = (label_for_training(conf, data_dir, names) if labelled
                                                       else unlabelled(names))
        self.keys = PackedStrings(names)
        self.reader = FrameReader((table[k] for k in names), names, lengths[kept])
        self.vad = self._vad_specs(data_dir, names) if conf["features"]["vad"] else None
        self.front_end, self.mask = FrontEnd(conf["features"]), SpecMask(conf["augment"])
        if self.reader.num_cols != self.front_end.feat_dim:
            raise InputError(f"{scp} has {self.reader.num_cols} columns, the section 'features' describes "
                             f"{self.front_end.feat_dim}: run stage 2 with this configuration")
        self.frames, self.seed = conf["data"]["chunk_frames"], conf["seed"]
        self.shorter = int((lengths[kept] < self.frames).sum())

    @staticmethod
    def _vad_specs(data_dir, names):
        table = read_scp(data_dir / "vad.scp")
        missing = next((k for k in names if k not in table), None)
        if missing is not None:
            raise InputError(f"{data_dir / 'vad.scp'} lacks '{missing}'; run stage 2 again")
        return PackedStrings(table[k] for k in names)

    def identity(self):
        """One line an utterance: what a resumed run must find unchanged."""
        return (f"{key} {label} {num}" for key, label, num in zip(self.keys, self.labels, self.reader.num_frames))

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
