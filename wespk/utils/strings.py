"""Many strings in little memory, and joining such lists by equal strings without an object for each."""

import numpy as np

_AT_ONCE = 1 << 16  # strings that one pass handles, fewer of long ones
_BYTES = 1 << 23  # bytes of the padded matrix of a pass
_MIX = np.uint64(0x9E3779B97F4A7C15)


def padded(data, starts, lengths, multiple=1):
    """Spans of ``data``, uint8, as rows of a matrix: uint8 (n, W), zeros behind each; ``multiple`` divides W."""
    width = max(1, int(lengths.max(initial=0)))
    if width > len(data):
        return np.zeros((len(starts), multiple), np.uint8)  # all spans of no data
    windows = np.ndarray((len(data) - width + 1,), f"V{width}", buffer=data, strides=(1,))
    rows = windows[np.minimum(starts, len(windows) - 1)].view(np.uint8).reshape(-1, width)
    if lengths.min(initial=width) < width:
        rows *= np.arange(width, dtype=np.int32) < lengths.astype(np.int32)[:, None]
    if width % multiple:
        rows = np.pad(rows, ((0, 0), (0, -width % multiple)))
    for at in np.flatnonzero(starts >= len(windows)):  # few, at the end of the data, where a window does not fit
        rows[at, : lengths[at]] = data[starts[at] : starts[at] + lengths[at]]
    return rows


def as_strings(rows):
    """Rows of ``padded`` as numpy byte strings (n,), which compare as ``LC_ALL=C`` does, zeros at their ends aside."""
    return rows.view(f"S{rows.shape[1]}")[:, 0]


class PackedStrings:
    """A read-only list of strings in one byte array: no Python object for each.

    Loader workers forked from a process share its pages, but touching a Python object writes its reference count and
    copies the page; a numpy array stays shared.
    """

    def __init__(self, strings=()):
        pieces, lengths = bytearray(), []
        for string in strings:
            encoded = string.encode()
            pieces += encoded
            lengths.append(len(encoded))
        self._keep(np.frombuffer(pieces, np.uint8), np.array(lengths, dtype=np.int64))

    @classmethod
    def of(cls, data, lengths):
        """The strings of ``lengths`` (N,) bytes that stand one after another in ``data``, uint8, which is kept."""
        packed = cls.__new__(cls)
        packed._keep(data, lengths)
        return packed

    def _keep(self, data, lengths):
        self._bytes = data
        self._ends = np.zeros(len(lengths) + 1, dtype=np.uint32 if len(data) < 1 << 32 else np.int64)
        np.cumsum(lengths, out=self._ends[1:])

    def __len__(self):
        return len(self._ends) - 1

    def __getitem__(self, index):
        if not 0 <= index < len(self):
            raise IndexError(index)
        return self._bytes[self._ends[index] : self._ends[index + 1]].tobytes().decode()

    @property
    def data(self):
        """The bytes of all strings, one after another: uint8."""
        return self._bytes

    def spans(self, indices=slice(None)):
        """(starts, lengths) in ``data`` of the strings ``indices``, an array or a slice: int64 (n,) each."""
        starts = self._ends[:-1][indices].astype(np.int64)
        return starts, self._ends[1:][indices] - starts

    def take(self, indices):
        """The strings ``indices`` (n,) as ``PackedStrings``."""
        return self._cut(indices, 0, 0)

    def _cut(self, indices, front, back):
        """``take`` without the first ``front`` and the last ``back`` bytes of each string."""
        lengths = self.spans(indices)[1] - front - back
        taken, ends = np.empty(lengths.sum(), np.uint8), np.cumsum(lengths)
        for part in self._parts(len(indices)):
            starts, sizes = self.spans(indices[part])[0] + front, lengths[part]
            taken[ends[part][0] - sizes[0] : ends[part][-1]] = _gathered(self._bytes, starts, sizes)
        return PackedStrings.of(taken, lengths)

    def same(self, other):
        """Whether another ``PackedStrings`` has the same strings in the same order."""
        return self is other or (np.array_equal(self._ends, other._ends) and np.array_equal(self._bytes, other._bytes))

    def find(self, wanted):
        """Where the M strings ``wanted`` are in this list of different ones: int64 (M,), -1 for those that are not."""
        if self.same(wanted):
            return np.arange(len(self))
        found = np.full(len(wanted), -1, dtype=np.int64)
        if len(self):
            hashes = self._hashes()
            order = np.argsort(hashes)
            hashes = hashes[order]
            for part in wanted._parts(len(wanted)):
                found[part] = self._found(hashes, order, wanted, part)
        return found

    def _found(self, hashes, order, wanted, part):
        """``find`` for a slice of ``wanted``; ``hashes`` are sorted, ``order`` says whose they are."""
        starts, lengths = wanted.spans(part)
        rows = padded(wanted.data, starts, lengths, 8)
        asked = _hash(rows, lengths)
        found, place = np.full(len(asked), -1, dtype=np.int64), np.searchsorted(hashes, asked)
        open_ = np.arange(len(asked))
        while len(open_):  # once, but for different strings of one hash
            place, open_ = place[place < len(hashes)], open_[place < len(hashes)]
            alike = hashes[place] == asked[open_]
            place, open_ = place[alike], open_[alike]
            starts, sizes = self.spans(order[place])
            equal = sizes == lengths[open_]
            equal &= as_strings(padded(self._bytes, starts, sizes, 8)) == as_strings(rows[open_])
            found[open_[equal]] = order[place[equal]]
            place, open_ = place[~equal] + 1, open_[~equal]
        return found

    def distinct(self):
        """Whether no string is there twice; now and then False though none is: two of one hash."""
        hashes = np.sort(self._hashes())
        return not (hashes[1:] == hashes[:-1]).any()

    def stripped(self, prefix="", suffix=""):
        """(positions of the strings that begin and end so, those without prefix and suffix as ``PackedStrings``)."""
        prefix, suffix = prefix.encode(), suffix.encode()
        starts, lengths = self.spans()
        at = np.flatnonzero(lengths >= len(prefix) + len(suffix))
        for offset, byte in enumerate(prefix):
            at = at[self._bytes[starts[at] + offset] == byte]
        for offset, byte in enumerate(suffix, start=-len(suffix)):
            at = at[self._bytes[starts[at] + lengths[at] + offset] == byte]
        return at, self._cut(at, len(prefix), len(suffix))

    def _parts(self, number):
        """Slices of ``range(number)`` for passes over strings as long as these."""
        longest = int(np.diff(self._ends).max(initial=0)) + 8
        step = max(1, min(_AT_ONCE, _BYTES // longest))
        return [slice(first, min(first + step, number)) for first in range(0, number, step)]

    def _hashes(self):
        """64 bits of each string: uint64 (N,)."""
        found = np.empty(len(self), np.uint64)
        for part in self._parts(len(self)):
            starts, lengths = self.spans(part)
            found[part] = _hash(padded(self._bytes, starts, lengths, 8), lengths)
        return found


def _hash(rows, lengths):
    """uint64 (n,) of rows padded to words of 8 bytes; words of padding alone count nothing."""
    value = lengths.astype(np.uint64) * _MIX
    for number, word in enumerate(rows.view("<u8").T):
        mixed = (value ^ word) * _MIX
        mixed ^= mixed >> np.uint64(29)
        value = np.where(lengths > 8 * number, mixed, value)
    value *= _MIX
    return value ^ (value >> np.uint64(32))


def _gathered(data, starts, lengths):
    """The spans of ``data``, one after another: uint8."""
    shift = starts - (np.cumsum(lengths) - lengths)
    return data[np.repeat(shift, lengths) + np.arange(lengths.sum())]
