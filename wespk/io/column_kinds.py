"""What the values of a table become as a column: texts, names with numbers, numbers, places in arks.

Each kind takes the ``Block`` s of ``wespk.io.columns`` in turn (``add``) and gives the column in the end (``done``): a
numpy array, or what has ``take(indices)`` like one. An object serves for one table.
"""

from array import array
from typing import NamedTuple

import numpy as np

from wespk.io.ark_format import split_spec
from wespk.io.tables import read_numbers
from wespk.utils.errors import InputError
from wespk.utils.strings import PackedStrings, as_strings, padded

_DIGITS = {int: 18, float: 15}  # as many are exact in int64, and in a float64's mantissa


class Texts:
    """``PackedStrings`` of the values."""

    def __init__(self):
        self.data, self.lengths = bytearray(), array("q")

    def add(self, block, path):
        """Take the next lines."""
        inside = np.zeros(len(block.data) + 1, np.int8)
        inside[block.values] = 1
        inside[block.ends] -= 1
        self.data += block.data[np.cumsum(inside[:-1], dtype=np.int8).view(bool)].data
        self.lengths.frombytes((block.ends - block.values).tobytes())

    def done(self):
        """The column."""
        return PackedStrings.of(np.frombuffer(self.data, np.uint8), np.frombuffer(self.lengths, np.int64))


class Named(NamedTuple):
    """A column of few different values: ``names``, a list in the order met; ``numbers`` int32 (N,) positions in it."""

    names: list
    numbers: np.ndarray

    def take(self, indices):
        """The rows ``indices`` (n,)."""
        return Named(self.names, self.numbers[indices])


class Names:
    """``Named``: a number for each different value, such as a speaker. Quick where equal values stand together."""

    def __init__(self):
        self.found, self.numbers = {}, bytearray()

    def add(self, block, path):
        """Take the next lines."""
        self.numbers += self.number(block.data, block.values, block.ends).data

    def number(self, data, starts, ends):
        """Numbers int32 (n,) of the names at the spans of ``data``."""
        lengths = ends - starts
        rows = as_strings(padded(data, starts, lengths))
        new = np.ones(len(rows), bool)
        new[1:] = (rows[1:] != rows[:-1]) | (lengths[1:] != lengths[:-1])
        first = np.flatnonzero(new)
        text = data.tobytes()
        words = [text[a:b] for a, b in zip(starts[first].tolist(), ends[first].tolist())]
        numbers = np.array([self.found.setdefault(word, len(self.found)) for word in words], dtype=np.int32)
        return np.repeat(numbers, np.diff(first, append=len(rows)))

    def done(self):
        """The column."""
        return Named([name.decode() for name in self.found], np.frombuffer(self.numbers, np.int32))


class _Numbers:
    """Numbers, exactly what Python makes of the same words; ``InputError`` naming the line of a word that is none."""

    def __init__(self):
        self.found = bytearray()

    def add(self, block, path):
        """Take the next lines."""
        numbers, plain = parse_numbers(block, self.kind)
        for line in np.flatnonzero(~plain):
            word = block.value(line)
            try:
                numbers[line] = self.kind(word)
            except ValueError:
                read_numbers(path, self.kind)  # which names the line
                raise
            except OverflowError:
                raise InputError(f"{path}: the value '{word}' is too large; measure it again") from None
        self.found += numbers.data

    def done(self):
        """The column."""
        return np.frombuffer(self.found, self.dtype)


class Integers(_Numbers):
    """int64 (N,)."""

    kind, dtype = int, np.int64


class Decimals(_Numbers):
    """float64 (N,)."""

    kind, dtype = float, np.float64


def parse_numbers(block, kind):
    """(numbers (n,) int64 or float64, bool (n,): which of them were digits, for float with a point, and are right)."""
    number, digits, behind, strange = digits_of(padded(block.data, block.values, block.ends - block.values))
    plain = ~strange & (digits > 0) & (digits <= _DIGITS[kind])
    if kind is int:
        return number, plain & (behind < 0)
    return number / 10.0 ** np.clip(behind, 0, 22), plain  # of two exact numbers the quotient is the nearest one


def digits_of(rows):
    """Read digits: (number int64, how many digits, how many of them behind a point or -1 without one, other things).

    rows: uint8 (n, W), zeros behind; all (n,). With more than 18 digits the number is not theirs.
    """
    number, digits = np.zeros(len(rows), np.int64), np.zeros(len(rows), np.int64)
    behind, strange = np.full(len(rows), -1), np.zeros(len(rows), bool)
    for column in np.ascontiguousarray(rows.T):
        value = column - 48  # of a uint8: what stands before '0' becomes large
        digit, point = value < 10, (column == 46) & (behind < 0)
        number = np.where(digit, number * 10 + value, number)
        digits += digit
        behind += digit & (behind >= 0)
        behind[point] = 0
        strange |= ~digit & ~point & (column != 0)
    return number, digits, behind, strange


class Places(NamedTuple):
    """Where objects lie: ``paths``, a list of arks; ``files`` int32 (N,), positions in it; ``offsets`` int64 (N,)."""

    paths: list
    files: np.ndarray
    offsets: np.ndarray

    def take(self, indices):
        """The rows ``indices`` (n,)."""
        return Places(self.paths, self.files[indices], self.offsets[indices])


class Specs:
    """``Places`` of an scp's values. Raises ``InputError`` for what ``split_spec`` refuses."""

    def __init__(self):
        self.names, self.files, self.offsets = Names(), bytearray(), bytearray()

    def add(self, block, path):
        """Take the next lines."""
        colons = np.flatnonzero(block.data == ord(":"))
        which = np.searchsorted(colons, block.ends) - 1
        colon = colons[which] if len(colons) else np.full(len(block), -1)
        size = block.ends - colon - 1
        plain = (which >= 0) & (colon >= block.values) & (size > 0) & (size <= _DIGITS[int])
        if plain.all():
            offsets, digits, _, _ = digits_of(padded(block.data, colon + 1, size))
            plain = digits == size
        if plain.all():
            self.files += self.names.number(block.data, block.values, colon).data
            self.offsets += offsets.data
        else:
            self._walk(block)

    def _walk(self, block):
        files, offsets = _split(map(block.value, range(len(block))), self.names.found, str.encode)
        self.files += files.data
        self.offsets += offsets.data

    def done(self):
        """The column."""
        names = [name.decode() for name in self.names.found]
        return Places(names, np.frombuffer(self.files, np.int32), np.frombuffer(self.offsets, np.int64))


def _split(specs, found, name=str):
    """(files int32, offsets int64) of specs given as strings; ``found`` numbers the paths, as ``name`` makes them."""
    files, offsets = array("i"), array("q")
    for spec in specs:
        path, offset = split_spec(spec)
        if offset >= 1 << 63:
            raise InputError(f"'{spec}': no file is so long; write the scp again")
        files.append(found.setdefault(name(path), len(found)))
        offsets.append(offset)
    return np.frombuffer(files, np.int32), np.frombuffer(offsets, np.int64)


def places_of(specs):
    """``Places`` of specs given as strings."""
    found = {}
    files, offsets = _split(specs, found)
    return Places(list(found), files, offsets)
