"""Stores of noises and room impulse responses that augmentation draws from: held in memory, or read when asked for.

A bank holds several kinds of signals and has ``count(kind)``, ``lengths(kind, files) -> int64 (n,)`` samples and
``fetch(kind, files, starts, num, repeat) -> (n, num) float32``: samples ``starts`` to ``starts + num`` of each file,
the file being repeated for ever, or with ``repeat=False`` followed by zeros.
"""

import numpy as np
import torch

from wespk.utils.errors import InputError
from wespk.utils.transfer import to_device


class TensorBank:
    """All signals in one tensor on one device; a batch is a single gather.

    signals: dict kind -> list of 1-D float arrays or tensors in [-1, 1]. With ``dtype`` torch.int16 they take half the
    room, at the precision of 16-bit audio.
    """

    def __init__(self, signals, device="cpu", dtype=torch.float32):
        self._lengths, self._offsets, parts, at = {}, {}, [], 0
        for kind, items in signals.items():
            lengths = np.array([len(item) for item in items], dtype=np.int64)
            if not len(lengths) or not lengths.all():
                raise InputError(f"the bank of {kind} signals is empty or holds an empty signal")
            self._lengths[kind] = lengths
            self._offsets[kind] = at + np.concatenate([[0], np.cumsum(lengths)[:-1]])
            at += int(lengths.sum())
            parts += [self._store(torch.as_tensor(item), dtype) for item in items]
        self._samples = torch.cat(parts).to(device)
        self._scale = 1 / 32768 if dtype == torch.int16 else 1.0

    @staticmethod
    def _store(signal, dtype):
        if signal.dtype == dtype:
            return signal
        if dtype == torch.int16:
            return (signal.float() * 32768).round().clamp(-32768, 32767).to(dtype)
        return signal.to(dtype)

    def count(self, kind):
        """Number of signals of a kind."""
        return len(self._lengths[kind])

    def lengths(self, kind, files):
        """Samples (n,) of the signals numbered ``files``."""
        return self._lengths[kind][files]

    def fetch(self, kind, files, starts, num, repeat=True):
        """Samples (n, num) float32 on the bank's device; see the module."""
        device = self._samples.device
        table = np.stack([self._offsets[kind][files], self._lengths[kind][files], starts])
        offset, length, start = to_device(table, device)[..., None]
        at = start + torch.arange(num, device=device)
        found = self._samples[offset + at % length].float() * self._scale
        return found if repeat else torch.where(at < length, found, 0)


class ReaderBank:
    """Signals read on demand: nothing is held but the lengths of files already met.

    counts: dict kind -> number of files; length: function (kind, file) -> samples; read: function (kind, file, start,
    num) -> float array (num,).
    """

    def __init__(self, counts, length, read):
        self._counts, self._length, self._read = counts, length, read
        self._known = {}

    def count(self, kind):
        """Number of signals of a kind."""
        return self._counts[kind]

    def lengths(self, kind, files):
        """Samples (n,) of the signals numbered ``files``."""
        for file in files:
            if (kind, int(file)) not in self._known:
                self._known[kind, int(file)] = self._length(kind, int(file))
        return np.array([self._known[kind, int(file)] for file in files], dtype=np.int64)

    def fetch(self, kind, files, starts, num, repeat=True):
        """Samples (n, num) float32 on the CPU; see the module."""
        found = np.zeros((len(files), num), np.float32)
        for row, file, start, length in zip(found, files, starts, self.lengths(kind, files)):
            piece = self._read(kind, int(file), int(start), int(min(num, length - start)))
            row[: len(piece)] = piece
            if repeat and len(piece) < num:
                whole = self._read(kind, int(file), 0, int(min(length, num - len(piece))))
                row[len(piece) :] = np.resize(whole, num - len(piece))
        return torch.from_numpy(found)
