"""What a resumed run must find unchanged of its training data: by the line, or many times as fast by the block."""

import numpy as np

from wespk.utils.strings import padded

_AT_ONCE = 1 << 16  # lines
_LONGEST = 256  # bytes of a key: a block is padded to the longest


class Identity:
    """The lines ``KEY LABEL LENGTH`` of all utterances: iterating gives strings, ``blocks`` their bytes.

    keys: ``PackedStrings``; labels, lengths: integers (N,).
    """

    def __init__(self, keys, labels, lengths):
        self.keys, self.labels, self.lengths = keys, labels, lengths

    def __iter__(self):
        return self._lines(slice(None))

    def _lines(self, part):
        numbers = range(*part.indices(len(self.keys)))
        return (f"{self.keys[i]} {label} {length}"
                for i, label, length in zip(numbers, self.labels[part], self.lengths[part]))

    def blocks(self):
        """Yield the bytes of many lines at once, each ended by a newline."""
        for first in range(0, len(self.keys), _AT_ONCE):
            part = slice(first, min(first + _AT_ONCE, len(self.keys)))
            starts, sizes = self.keys.spans(part)
            labels, lengths = self.labels[part], self.lengths[part]
            text = self.keys.data[starts[0] : starts[-1] + sizes[-1]]
            if min(labels.min(), lengths.min()) < 0 or not text.all() or sizes.max() > _LONGEST:
                yield "".join(f"{line}\n" for line in self._lines(part)).encode()
                continue
            blank, end = (np.full((len(sizes), 1), ord(mark), np.uint8) for mark in " \n")
            keys = padded(self.keys.data, starts, sizes)
            rows = np.concatenate([keys, blank, _decimals(labels), blank, _decimals(lengths), end], axis=1)
            yield rows[rows != 0].data


def _decimals(numbers):
    """The digits of integers (n,), none negative: uint8 (n, W), zero bytes in front."""
    width = len(str(numbers.max()))
    rows = np.zeros((len(numbers), width), np.uint8)
    rest = numbers.astype(np.int64)
    for column in range(width - 1, -1, -1):
        rest, digit = np.divmod(rest, 10) if column else (rest, rest)
        rows[:, column] = digit + ord("0")
    least = np.full(len(numbers), 1)
    for column in range(width - 2, -1, -1):
        least *= 10
        rows[numbers < least, column] = 0
    return rows
