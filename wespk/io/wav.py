"""The header of a RIFF/WAVE file: where its samples lie, and whether all that it promises are there."""

import struct
from typing import NamedTuple

PCM = 1
_UNKNOWN = (0, 0x7FFFFFFF, 0xFFFFFFFF)  # data sizes that programs write to a pipe, where they cannot go back


class Broken(Exception):
    """What is wrong with a recording; readers turn it into an ``InputError`` with its path."""


class WavHeader(NamedTuple):
    """``data`` is the byte where the samples begin; ``frames`` counts samples of one channel."""

    coding: int
    channels: int
    rate: int
    bits: int
    data: int
    frames: int


def is_wav(buffer):
    """True if ``buffer`` begins as a RIFF/WAVE file does."""
    return buffer[:4] == b"RIFF" and buffer[8:12] == b"WAVE"


def parse_wav(buffer):
    """Read the header of a WAVE file held in ``buffer`` (bytes or mmap).

    Raises ``Broken`` for a file without format or data, or with fewer bytes than its header promises.
    """
    position, form = 12, None
    while position + 8 <= len(buffer):
        kind, size = struct.unpack_from("<4sI", buffer, position)
        position += 8
        if kind == b"fmt " and size >= 16 and position + size <= len(buffer):
            form = struct.unpack_from("<HHIIHH", buffer, position)
        elif kind == b"data":
            return _header(form, position, size, len(buffer) - position)
        position += size + size % 2
    raise Broken("truncated before its samples begin" if form else "no format and no samples in its header")


def _header(form, position, size, left):
    if form is None:
        raise Broken("its samples come before their format")
    coding, channels, rate, _, block, bits = form
    if not channels or not block or not rate:
        raise Broken(f"a header of {channels} channels, {rate} Hz, {block} bytes a frame")
    if size in _UNKNOWN:
        size = left - left % block
    if size > left:
        raise Broken(f"truncated: its header promises {size // block} samples, {left // block} are there")
    return WavHeader(coding, channels, rate, bits, position, size // block)
