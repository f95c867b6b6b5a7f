"""Kaldi's tables as columns: flat arrays instead of a Python object for each line, read in blocks of a megabyte.

    keys, values = read_column(path, Integers())            the keys as PackedStrings, the values as an array
    values = column_of(path, Integers(), keys, lacks)       the values of given keys, in their order

The kinds of values are in ``wespk.io.column_kinds``. Accepted is what ``wespk.io.tables.read_table`` accepts, which
names the line of a defective table. A block of plain lines (fields one blank apart, no other control character, UTF-8)
is taken apart by numpy; any other one line by line.
"""

from dataclasses import dataclass

import numpy as np

from wespk.io.tables import read_table, read_text, split_line
from wespk.utils.strings import PackedStrings, as_strings, padded

_SIZE = 1 << 20  # bytes read at once; a longer line is read whole
_PADDED = 1 << 24  # bytes of the matrix of all lines of a block, padded to the longest


@dataclass
class Block:
    """Some lines of a table: ``data`` uint8, and where in it keys and values begin and end, int64 (n,) each.

    Where lines are plain, a blank stands behind each key, and a newline behind each value.
    """

    data: np.ndarray
    starts: np.ndarray
    key_ends: np.ndarray
    values: np.ndarray
    ends: np.ndarray

    def __len__(self):
        return len(self.starts)

    def key_rows(self):
        """The keys, padded: uint8 (n, W)."""
        return padded(self.data, self.starts, self.key_ends - self.starts)

    def value(self, number):
        """The value of the line ``number`` of the block, as a string."""
        return self.data[self.values[number] : self.ends[number]].tobytes().decode()

    def parts(self):
        """Yield blocks of these lines whose matrices, padded to the longest line, are small; a long line stands alone."""
        if len(self) < 2 or len(self) * int((self.ends - self.starts).max()) <= _PADDED:
            yield self
            return
        half = len(self) // 2
        for lines in (slice(0, half), slice(half, None)):
            yield from self._part(lines).parts()

    def _part(self, lines):
        """The lines of a slice, with their own bytes alone, or each part would cost as much as all lines."""
        places = [places[lines] for places in (self.starts, self.key_ends, self.values, self.ends)]
        first, last = places[0][0], places[-1][-1] + 1
        return Block(self.data[first:last], *(place - first for place in places))


class Defective(Exception):
    """A block that holds a line which is no entry of a table."""


def read_blocks(path, strict=False):
    """Yield the ``Block`` s of a table. Raises ``Defective`` where a line is no entry, or if ``strict`` not plain.

    A missing file raises ``InputError``. Whether keys are unique is not looked at.
    """
    for text in _pieces(path):
        block = _plain_block(text)
        if block is None:
            if strict:
                raise Defective
            block = _odd_block(text)
        yield from block.parts()


def _pieces(path):
    """The bytes of a file in pieces that end with a line, the last one perhaps without the newline."""
    try:
        file = open(path, "rb")  # noqa: SIM115 closed below
    except OSError:
        read_text(path)  # which says what is wrong
        raise
    with file:
        rest, size = b"", _SIZE
        while piece := file.read(size):
            cut = piece.rfind(b"\n") + 1
            if cut:
                yield rest + piece[:cut]
                rest, size = piece[cut:], _SIZE
            else:
                rest, size = rest + piece, 2 * size
        if rest:
            yield rest


def _plain_block(text):
    """The ``Block`` of lines that are all plain, else None."""
    data = np.frombuffer(text, np.uint8)
    at = np.flatnonzero(data <= 32)
    marks = data[at]
    lines = np.flatnonzero(marks == 10)
    first = np.zeros(len(lines), np.int64)  # of the blanks and newlines, each line's first
    first[1:] = lines[:-1] + 1
    if not text.endswith(b"\n") or np.count_nonzero(marks == 32) + len(lines) < len(marks):
        return None
    if at[0] == 0 or (np.diff(at) == 1).any() or (first == lines).any():
        return None  # blanks at either end of a line or several together; a key without a value
    ends, key_ends = at[lines], at[first]
    if not text.isascii() and not _decodes(text, ends[data[ends - 1] >= 128]):
        return None
    starts = np.zeros(len(lines), np.int64)
    starts[1:] = ends[:-1] + 1
    return Block(data, starts, key_ends, key_ends + 1, ends)


def _decodes(text, ends):
    """Whether bytes are UTF-8, with no blank that Unicode alone knows before any of the ``ends`` (n,)."""
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return not any(text[max(0, end - 4) : end].decode(errors="ignore")[-1].isspace() for end in ends.tolist())


def _odd_block(text):
    """The ``Block`` of any lines that are entries of a table, by ``read_table``'s rules."""
    try:
        lines = [line.rstrip("\r") for line in text.decode().removesuffix("\n").split("\n")]
    except UnicodeDecodeError:
        raise Defective from None
    fields = [split_line(line, 1) for line in lines]
    if any(len(parts) < 2 for parts in fields):
        raise Defective
    encoded = [(key.encode(), value.rstrip().encode()) for key, value in fields]
    keys, values = (np.array([len(pair[side]) for pair in encoded]) for side in (0, 1))
    ends = np.cumsum(keys + values)
    starts = ends - keys - values
    data = np.frombuffer(b"".join(part for pair in encoded for part in pair), np.uint8)
    return Block(data, starts, starts + keys, starts + keys, ends)


class _Keys:
    """The keys of a table's blocks, of which none are kept while they are those of ``like``, in its order."""

    def __init__(self, like):
        self.like, self.same = like, like is not None
        self.number = self.size = 0  # keys and bytes so far
        self.data, self.lengths = bytearray(), bytearray()
        self.rising, self.last = True, b""

    def add(self, block):
        rows, lengths = block.key_rows(), block.key_ends - block.starts
        data = rows[np.arange(rows.shape[1]) < lengths[:, None]]
        if self.same and not self._alike(data, lengths):
            self._begin_own()
        if not self.same:
            self.data += data.data
            self.lengths += lengths.astype(np.int32).data
            self._watch_order(as_strings(rows))
        self.number += len(lengths)
        self.size += len(data)

    def _alike(self, data, lengths):
        here = slice(self.number, self.number + len(lengths))
        there = self.like.data[self.size : self.size + len(data)]
        return np.array_equal(self.like.spans(here)[1], lengths) and np.array_equal(there, data)

    def _begin_own(self):
        """Copy what was like ``like`` so far."""
        lengths = self.like.spans(slice(0, self.number))[1]
        self.data += self.like.data[: self.size].data
        self.lengths += lengths.astype(np.int32).data
        self.same, self.rising = False, False

    def _watch_order(self, keys):
        self.rising = self.rising and keys[0] > self.last and bool((keys[1:] > keys[:-1]).all())
        self.last = keys[-1]

    def done(self):
        """(the keys, whether they are certain to be unique)."""
        if self.same and self.number == len(self.like):
            return self.like, True
        if self.same:
            self._begin_own()
        lengths = np.frombuffer(self.lengths, np.int32)
        return PackedStrings.of(np.frombuffer(self.data, np.uint8), lengths), self.rising


def read_column(path, kind, like=None):
    """(keys as ``PackedStrings``, values as ``kind`` makes them) of a table, in the file's order.

    like: keys (all different) that the table may have; where they are the table's, they are returned themselves. Raises
    ``InputError`` as ``read_table`` does, and what ``kind`` raises for a value.
    """
    keys = _Keys(like)
    try:
        for block in read_blocks(path):
            keys.add(block)
            kind.add(block, path)
    except Defective:
        read_table(path)
        raise AssertionError(f"{path}: no defect found") from None
    found, unique = keys.done()
    if not unique and not found.distinct():
        read_table(path)  # which names the key that is there twice
    return found, kind.done()


def read_values(path, kind):
    """The values alone of a table whose keys have been looked at."""
    for block in read_blocks(path):
        kind.add(block, path)
    return kind.done()


def column_of(path, kind, keys, lacks):
    """Values of the ``keys`` (``PackedStrings``, all different), in their order, of a table that may hold others too.

    lacks: the first key that the table lacks -> the exception to raise. Errors else as in ``read_column``.
    """
    found, values = read_column(path, kind, keys)
    if found is keys:
        return values
    places = found.find(keys)
    if (places < 0).any():
        raise lacks(keys[int(np.argmax(places < 0))])
    return values.take(places)
