"""Many strings in little memory."""

import numpy as np


class PackedStrings:
    """A read-only list of strings in one byte array: no Python object for each.

    Loader workers forked from a process share its pages, but touching a Python object writes its reference count and
    copies the page; a numpy array stays shared.
    """

    def __init__(self, strings):
        pieces, ends = bytearray(), [0]
        for string in strings:
            pieces += string.encode()
            ends.append(len(pieces))
        self._bytes, self._ends = np.frombuffer(bytes(pieces), dtype=np.uint8), np.array(ends, dtype=np.int64)

    def __len__(self):
        return len(self._ends) - 1

    def __getitem__(self, index):
        if not 0 <= index < len(self):
            raise IndexError(index)
        return self._bytes[self._ends[index] : self._ends[index + 1]].tobytes().decode()
