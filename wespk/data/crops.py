"""Long and short crops of each utterance, without labels: what a teacher and a student see of it.

A crop is drawn like an utterance of its own (``views.view_numbers``: the teacher's have the first numbers), so that where it
lies and what is done to it are functions of (seed, epoch, utterance, crop). Nothing is read of who speaks.

Both sources have the interface of ``FeatureChunks``, but ``finish`` gives a dict: ``teacher`` (B, G, T, F), clean unless
``crops.teacher_clean`` is false, and ``student`` (B, V, T', F), augmented; without teacher's crops, the latter alone.

Source: Chen et al. 2023 (arXiv 2308.02774), with its released code. Unlike there, a crop lies within the utterance and is
padded only where the utterance is shorter than it, so that none is silence alone; each crop's features are computed from it
alone (there two are joined first); and starts are drawn independently.
"""

import numpy as np
import torch

from wespk.augment.draws import below
from wespk.data.views import FeatureViews, view_numbers
from wespk.data.waves import WaveChunks
from wespk.io.audio import floating
from wespk.io.frames import RawChunks, dequantise
from wespk.utils.errors import InputError
from wespk.utils.seed import uniform


class Crops:
    """The section ``crops`` of a configuration. Raises ``InputError`` if another section does not go with it."""

    def __init__(self, conf):
        section = conf["crops"]
        teacher, student = section["teacher_number"], section["student_number"]
        self.parts = {"teacher": (0, teacher, section["teacher_frames"]),
                      "student": (teacher, teacher + student, section["student_frames"])}
        if not teacher:
            del self.parts["teacher"]
        self.clean, self.wrap = section["teacher_clean"], section["short"] == "wrap"
        self.longest = max(frames for _, _, frames in self.parts.values())
        if conf["augment"]["speeds"]:
            raise InputError("augment.speeds makes new speakers, and training without labels knows none: set augment.speeds=[]")
        if conf["data"]["input"] == "feats" and not self.wrap:
            raise InputError("crops.short=zeros pads samples: set data.input=waves, or crops.short=wrap")

    def told_short(self, lengths, of_frames=int):
        """Words about utterances of these lengths (N,) that a crop does not fit into; of_frames: lengths' unit of frames."""
        filled = "repeated" if self.wrap else "padded with zeros"
        words = f"{int((lengths < of_frames(self.longest)).sum())} are shorter than the longest crop, and {filled}"
        if (lengths <= of_frames(self.parts["student"][2])).all():
            words += "; none is longer than the student's crops, which are all of the same piece then: lower crops.student_frames"
        return words

    def spoilt(self, part):
        """Whether the crops of a part are augmented."""
        return part == "student" or not self.clean

    def drawn(self, part, items):
        """Numbers (B, n), for random draws, of a part's n crops of the utterances ``items`` (B,), and their frames."""
        first, last, frames = self.parts[part]
        return view_numbers(items, first, last), frames


class WaveCrops(WaveChunks):
    """Crops of ``data_dir/wav.scp``, made on the training device: reverberation and noise, then features, then masks."""

    def __init__(self, data_dir, conf, musan_dir, rirs_dir, device="cpu"):
        self.crops = Crops(conf)
        super().__init__(data_dir, conf, musan_dir, rirs_dir, device, labelled=False)
        self.short = self.crops.told_short(self.samples, self.front_end.num_samples)
        self.shorter = 0  # chunks are not what is cut

    def summary(self):
        """A few words for the log."""
        return f"{super().summary()}; {self.short}"

    def fetch(self, epoch, items):
        """Samples (B, n, N) of each part: (dict of tensors for ``finish``, zeros (B,))."""
        inputs = {}
        for part in self.crops.parts:
            numbers, frames = self.crops.drawn(part, items)
            size = self.front_end.num_samples(frames)
            wanted = np.full(numbers.size, size)
            waves = self._read_crops(epoch, np.repeat(items, numbers.shape[1]), numbers.ravel(), wanted, size, self.crops.wrap)
            inputs[part] = torch.from_numpy(waves).unflatten(0, numbers.shape)
        return inputs, self.labels[items]

    def finish(self, batch, device):
        """Features of each part on ``device``, of a ``Batch`` that ``fetch`` began."""
        return {part: self._finish(part, floating(waves.to(device, non_blocking=True)), batch)
                for part, waves in batch.inputs.items()}

    @torch.no_grad()
    def _finish(self, part, waves, batch):
        numbers, rows = self.crops.drawn(part, batch.items.numpy())[0].ravel(), waves.flatten(0, 1)
        spoilt = self.crops.spoilt(part)
        if spoilt:
            rows = self.augment.spoil(rows, numbers, self.seed, batch.epoch)
        feats = self.front_end.normalise(self.front_end(rows))
        if spoilt:
            feats = self.mask(feats, numbers, self.seed, batch.epoch)
        return feats.unflatten(0, waves.shape[:2])


class FeatureCrops(FeatureViews):
    """Crops out of stage 2's arks: clean ones of the utterance itself, augmented ones of its copies with noise or
    reverberation (``copies.kinds``), drawn evenly; without copies, of the utterance, with masks.
    """

    def __init__(self, data_dir, conf):
        Crops(conf)  # contradictions before missing files
        super().__init__(data_dir, conf, labelled=False)
        self.shorter = 0  # chunks are not what is cut

    def _plan(self, conf):
        return Crops(conf)

    def summary(self):
        """A few words for the log."""
        return f"{super().summary()}; {self.views.told_short(self.reader.num_frames[self._rows[:, 0]])}"

    def fetch(self, epoch, items):
        """Chunks of each part: (dict of tensors for ``finish``, zeros (B,))."""
        inputs = {}
        for part in self.views.parts:
            numbers, frames = self.views.drawn(part, items)
            numbers, of = numbers.ravel(), np.repeat(items, numbers.shape[1])
            rows, copies = self._rows[of, 0], self._rows.shape[1] - 1
            if copies and self.views.spoilt(part):
                rows = self._rows[of, 1 + below(numbers, copies, self.seed, epoch, "copy")]
            chunks = self._chunks(rows, uniform(numbers, self.seed, epoch, "crop"), frames)
            inputs |= {f"{part}.{name}": tensor for name, tensor in chunks.items()}
        return inputs, self.labels[items]

    def finish(self, batch, device):
        """Features of each part on ``device``, of a ``Batch`` that ``fetch`` began."""
        done = {}
        for part in self.views.parts:
            raw = RawChunks(**{n.partition(".")[2]: t for n, t in batch.inputs.items() if n.startswith(part)})
            numbers, _ = self.views.drawn(part, batch.items.numpy())
            feats = self.front_end.normalise(dequantise(raw, device))
            if self.views.spoilt(part):
                feats = self.mask(feats, numbers.ravel(), self.seed, batch.epoch)
            done[part] = feats.unflatten(0, numbers.shape)
        return done
