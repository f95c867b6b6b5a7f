"""Several views of each utterance: some as they are, the others augmented; for objectives that compare them.

A view is drawn like an utterance of its own, as ``view_numbers`` says: what it gets is a function of (seed, epoch, utterance,
view), and the first one is what a source without views would give. Both sources here have the interface of
``FeatureChunks``, but ``finish`` gives (B, V, T, F): the ``views.clean`` clean views first.
"""

import numpy as np
import torch

from wespk.augment.draws import below, distinct
from wespk.data.chunks import FeatureChunks
from wespk.data.identity import Identity
from wespk.data.labels import training_labels
from wespk.data.waves import WaveChunks
from wespk.io.audio import floating
from wespk.io.frames import RawChunks, dequantise
from wespk.utils.errors import InputError
from wespk.utils.seed import uniform

_APART = 1 << 40  # more than any corpus has utterances


def view_numbers(items, first, last):
    """Numbers, for random draws, of the views ``first`` to ``last`` of the utterances ``items`` (B,): (B, last - first)."""
    return np.asarray(items, dtype=np.int64)[:, None] + np.arange(first, last) * _APART


class Views:
    """The section ``views`` of a configuration. Raises ``InputError`` if its options contradict each other.

    kinds: how many augmented views the source can tell apart, and from a clean one, by more than crops and masks.
    """

    def __init__(self, conf, kinds):
        section, masks = conf["views"], conf["augment"]["mask_prob"] > 0
        self.number, self.clean, self.all_masked = section["number"], section["clean"], section["masked"] == "all"
        self.own_crops = section["crops"] == "own"
        if self.clean > self.number:
            raise InputError(f"views.clean={self.clean} of views.number={self.number}: there are not as many views")
        if self.clean == self.number and (conf["augment"]["prob"] or masks and not self.all_masked):
            raise InputError(f"views.clean={self.clean} of views.number={self.number} leaves no view for augment.prob"
                             f"={conf['augment']['prob']:g} and augment.mask_prob={conf['augment']['mask_prob']:g}: have fewer "
                             "clean ones, or set these to 0")
        clean_alike = self.clean > 1 and not (masks and self.all_masked)
        others_alike = self.number - self.clean > kinds and not masks
        if self.number > 1 and not self.own_crops and (clean_alike or others_alike):
            raise InputError("views: several of an utterance would always be equal: set views.crops=own, views.clean=1, and "
                             "have the others augmented (augment.mask_prob; data.input=waves: augment.prob; feats: "
                             "copies.kinds, at least as many)")

    def crop_numbers(self, items):
        """Numbers (B, V) for drawing each view's crop."""
        numbers = view_numbers(items, 0, self.number)
        return numbers if self.own_crops else np.repeat(numbers[:, :1], self.number, axis=1)

    def masked(self, mask, feats, items, seed, epoch):
        """``mask`` (a ``SpecMask``) over the augmented views, or all, of feats (B, V, T, F)."""
        first = 0 if self.all_masked else self.clean
        if first == self.number:
            return feats
        chosen = feats[:, first:]
        rows = mask(chosen.flatten(0, 1), view_numbers(items, first, self.number).ravel(), seed, epoch)
        return torch.cat([feats[:, :first], rows.unflatten(0, chosen.shape[:2])], 1)


def plan_views(conf):
    """The ``Views`` of a whole configuration, whichever its ``data.input``."""
    if conf["data"]["input"] == "feats":
        return Views(conf, kinds=len(conf["copies"]["kinds"]))
    return Views(conf, kinds=conf["views"]["number"] if conf["augment"]["prob"] else 0)


class WaveViews(WaveChunks):
    """Views made on the training device: reverberation or noise as the section ``augment`` says, then features, then masks.

    All views of an utterance have the same speed, so that they are one class.
    """

    def __init__(self, data_dir, conf, musan_dir, rirs_dir, device="cpu", one_speed=False):
        super().__init__(data_dir, conf, musan_dir, rirs_dir, device, one_speed)
        self.views = plan_views(conf)

    def fetch(self, epoch, items):
        """Samples (B, V, N), or (B, 1, N) if all views are of one crop."""
        numbers = self.views.crop_numbers(items)[:, : self.views.number if self.views.own_crops else 1]
        inputs, labels = self._fetch(epoch, np.repeat(items, numbers.shape[1]), numbers.ravel())
        return {"waves": inputs["waves"].unflatten(0, numbers.shape)}, labels[:: numbers.shape[1]]

    def finish(self, batch, device):
        """Features (B, V, T, F) float32 on ``device`` of a ``Batch`` that ``fetch`` began."""
        items, views = batch.items.numpy(), self.views
        waves = floating(batch.inputs["waves"].to(device, non_blocking=True))
        with torch.no_grad():
            crops = waves.shape[1]
            waves = self._at_speed(batch, waves.flatten(0, 1)).unflatten(0, (-1, crops)).expand(-1, views.number, -1)
            numbers = view_numbers(items, views.clean, views.number)
            spoilt = self.augment.spoil(waves[:, views.clean:].flatten(0, 1), numbers.ravel(), self.seed, batch.epoch)
            waves = torch.cat([waves[:, :views.clean], spoilt.unflatten(0, numbers.shape)], 1)
            feats = self.front_end.normalise(self.front_end(waves.flatten(0, 1))).unflatten(0, waves.shape[:2])
        return views.masked(self.mask, feats, items, self.seed, batch.epoch)


class FeatureViews(FeatureChunks):
    """Views out of stage 2's arks: the utterance itself, and for each augmented view one of its copies with noise or
    reverberation (``copies.kinds``), drawn evenly, another one for each view as far as there are enough. Without copies, views differ by crop and mask alone.

    The utterances counted and visited are those that are no such copies; speed copies are utterances like others.
    """

    def __init__(self, data_dir, conf, labelled=True):
        super().__init__(data_dir, conf, labelled)
        kinds = conf["copies"]["kinds"]
        self.views = self._plan(conf)
        self._rows = _copies_by_utterance(self.keys, kinds, data_dir)
        self._all_labels, self.labels = self.labels, self.labels[self._rows[:, 0]]
        if self.relabelled:
            wrong = training_labels(conf, data_dir)[1]
            self.relabelled = sum(self.keys[int(row)] in wrong for row in self._rows[:, 0])
        self._names = self.keys.take(self._rows[:, 0])

    def _plan(self, conf):
        """What of the configuration says which views there are."""
        return plan_views(conf)

    def identity(self):
        """One line an utterance or copy: what a resumed run must find unchanged."""
        return Identity(self.keys, self._all_labels, self.reader.num_frames)

    def describe(self, items):
        """The ids of the utterances numbered ``items``, for messages."""
        return " ".join(self._names[int(i)] for i in items)

    def summary(self):
        """A few words for the log."""
        return f"{self._rows.shape[1] - 1} copies of each for its views; of all, {super().summary()}"

    def fetch(self, epoch, items):
        """Chunks of all views: (dict of tensors for ``finish``, labels (B,))."""
        views, copies, key = self.views, self._rows.shape[1] - 1, (self.seed, epoch, "copy")
        rows, augmented = np.repeat(self._rows[items, :1], views.number, axis=1), views.number - views.clean
        if copies and augmented:
            if augmented <= copies:
                drawn = distinct(items, copies, augmented, *key)
            else:
                drawn = below(view_numbers(items, views.clean, views.number).ravel(), copies, *key).reshape(-1, augmented)
            rows[:, views.clean:] = np.take_along_axis(self._rows[items], 1 + drawn, axis=1)
        draws = uniform(views.crop_numbers(items).ravel(), self.seed, epoch, "crop")
        return self._chunks(rows.ravel(), draws), self.labels[items]

    def finish(self, batch, device):
        """Features (B, V, T, F) float32 on ``device`` of a ``Batch`` that ``fetch`` began."""
        feats = self.front_end.normalise(dequantise(RawChunks(**batch.inputs), device))
        feats = feats.unflatten(0, (len(batch.items), self.views.number))
        return self.views.masked(self.mask, feats, batch.items.numpy(), self.seed, batch.epoch)


def _copies_by_utterance(keys, kinds, data_dir):
    """Rows (N, 1 + K) int64 of positions in ``keys``: each utterance that is no copy, and its copies of the K ``kinds``."""
    pairs, whole = [], np.ones(len(keys), bool)
    for kind in kinds:
        at, originals = keys.stripped(suffix=f"-{kind}")
        of = keys.find(originals)
        pairs.append((of[of >= 0], at[of >= 0]))
        whole[at[of >= 0]] = False
    rows = np.full((np.count_nonzero(whole), 1 + len(kinds)), -1, dtype=np.int64)
    rows[:, 0] = np.flatnonzero(whole)
    for column, (of, copies) in enumerate(pairs, start=1):
        place = np.full(len(keys), -1, dtype=np.int64)
        place[of] = copies
        rows[:, column] = place[rows[:, 0]]
    if (rows < 0).any():
        row, column = np.argwhere(rows < 0)[0]
        missing = f"{keys[int(rows[row, 0])]}-{kinds[column - 1]}"
        raise InputError(f"{data_dir}/feats.scp lacks '{missing}', a copy that copies.kinds={kinds} asks for; run stage 2 with "
                         "this configuration")
    return rows
