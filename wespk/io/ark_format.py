"""Kaldi's binary matrices and vectors inside a mapped file: finding one, checking its header, decoding it.

Layout after the ``\\0B`` mark: a token (``FM DM`` float and double matrix, ``FV DV`` vector, ``CM CM2 CM3`` compressed
matrix), the sizes, the elements; all little-endian. Sizes are checked against the file before anything is decoded.
"""

import mmap
import struct
from typing import NamedTuple

import numpy as np

from wespk.io.compression import decode_columns, decode_uniform, knots_of
from wespk.utils.errors import InputError

MARK = b"\0B"
_BYTES = {b"FM": 4, b"DM": 8, b"FV": 4, b"DV": 8, b"CM": 1, b"CM2": 2, b"CM3": 1}
_COMPRESSED = struct.Struct("<ffii")
_SIZE = struct.Struct("<bi")
_LONGEST = 22  # bytes of the longest header, mark included


class Malformed(Exception):
    """What is wrong at a place in an ark; readers turn it into an ``InputError`` with the key and the ark."""


class Header(NamedTuple):
    """Where and what one matrix or vector is: ``data`` and ``size`` in bytes, ``cols`` 0 for a vector.

    ``low`` and ``span`` are the value range of the compressed kinds. For ``CM`` the data begin with 8 bytes a column.
    """

    kind: bytes
    rows: int
    cols: int
    low: float
    span: float
    data: int
    size: int


def map_file(path):
    """Map a file for reading. Raises ``InputError`` if it is missing or empty."""
    try:
        with open(path, "rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file, though an scp names it; write it again, or correct the scp") from None
    except ValueError:
        raise InputError(f"{path}: is empty, though an scp names it; write it again") from None


def split_spec(spec):
    """Split ``path:offset`` into (path, offset in bytes); without an offset the file holds one object, at 0."""
    path, colon, offset = spec.rpartition(":")
    if colon and offset.isdigit():
        return path, int(offset)
    if spec.endswith("]"):
        raise InputError(f"'{spec}': a range of rows or columns is not supported; write the part wanted to an ark")
    return spec, 0


def parse_header(buffer, position):
    """Read the header at byte ``position`` of ``buffer`` (bytes or mmap). Raises ``Malformed`` unless all is there."""
    head = buffer[position : position + _LONGEST]
    if len(head) < 8:
        raise Malformed(f"offset {position} lies at or past the end of the file ({len(buffer)} bytes)")
    if head[:2] != MARK:
        raise Malformed(f"no matrix or vector begins at byte {position}; the scp and the ark do not belong together")
    kind, blank, _ = head[2:].partition(b" ")
    if not blank or kind not in _BYTES:
        raise Malformed(f"unknown object at byte {position} (begins {bytes(head[2:8])!r})")
    try:
        header = _parse_sizes(kind, head, position)
    except struct.error:
        raise Malformed(f"truncated in the header at byte {position}; the file has {len(buffer)} bytes") from None
    if header.rows < 0 or header.cols < 0:
        raise Malformed(f"negative size {header.rows} x {header.cols} in the header at byte {position}")
    if header.data + header.size > len(buffer):
        raise Malformed(f"truncated: byte {position} needs {header.size} bytes, {len(buffer) - header.data} are left")
    return header


def _parse_sizes(kind, head, position):
    at = 3 + len(kind)
    low = span = 0.0
    if kind[:1] == b"C":
        low, span, rows, cols = _COMPRESSED.unpack_from(head, at)
        at += _COMPRESSED.size
    else:
        mark, rows = _SIZE.unpack_from(head, at)
        at += _SIZE.size
        cols = 0
        if kind[1:] == b"M":
            mark_cols, cols = _SIZE.unpack_from(head, at)
            mark |= mark_cols
            at += _SIZE.size
        if mark != 4:
            raise Malformed(f"sizes at byte {position} are not 4-byte integers")
    count = rows if kind[1:] == b"V" else rows * cols
    size = count * _BYTES[kind] + (8 * cols if kind == b"CM" else 0)
    return Header(kind, rows, cols, low, span, position + at, size)


def parse_headers(content, positions):
    """Headers at ``positions`` int64 (n,) of an ark, uint8: (kind, rows, cols), int64 (n,) each, cols 0 of vectors.

    None unless they are whole objects of one kind, the last not smaller than a header may be; ``parse_header`` tells.
    """
    if positions.min() < 0 or positions.max() + _LONGEST > len(content):
        return None
    windows = np.ndarray((len(content) - _LONGEST + 1,), f"V{_LONGEST}", buffer=content, strides=(1,))
    heads = windows[positions].view(np.uint8).reshape(-1, _LONGEST)
    kind = heads[0, 2:].tobytes().partition(b" ")[0]
    begin = MARK + kind + b" "
    if kind not in _BYTES or not (heads[:, : len(begin)] == np.frombuffer(begin, np.uint8)).all():
        return None
    sizes = [len(begin) + 8, len(begin) + 12] if kind[:1] == b"C" else [len(begin) + 1, len(begin) + 6]
    if kind[1:] == b"V":
        del sizes[1]
    if kind[:1] != b"C" and any((heads[:, at - 1] != 4).any() for at in sizes):
        return None
    rows, *cols = (np.ascontiguousarray(heads[:, at : at + 4]).view("<i4")[:, 0].astype(np.int64) for at in sizes)
    cols = cols[0] if cols else np.zeros_like(rows)
    size = (rows if kind[1:] == b"V" else rows * cols) * _BYTES[kind] + (8 * cols if kind == b"CM" else 0)
    whole = (rows >= 0) & (cols >= 0) & (positions + sizes[-1] + 4 + size <= len(content))
    whole &= rows * cols <= len(content)  # or ``size`` may be beyond int64
    return (kind, rows, cols) if whole.all() else None


def decode(buffer, header):
    """Decode a whole object: float32 (rows, cols), or (rows,) for a vector, rounded as Kaldi does; a fresh array."""
    kind, rows, cols, low, span, data, size = header
    if kind == b"CM":
        points = np.frombuffer(buffer, "<u2", 4 * cols, data).reshape(cols, 4)
        codes = np.frombuffer(buffer, np.uint8, rows * cols, data + 8 * cols).reshape(cols, rows)
        return np.ascontiguousarray(decode_columns(codes, knots_of(points, low, span)).T)
    if kind in (b"CM2", b"CM3"):
        codes = np.frombuffer(buffer, "<u2" if kind == b"CM2" else np.uint8, rows * cols, data)
        return decode_uniform(codes.reshape(rows, cols), low, span)
    values = np.frombuffer(buffer, "<f4" if kind[:1] == b"F" else "<f8", size // _BYTES[kind], data)
    values = values.astype(np.float32)
    return values.reshape(rows, cols) if kind[1:] == b"M" else values
