"""Kaldi's lossy matrix compression: the bytes of its ``copy-feats --compression-method``, in vectorised numpy.

Methods and what they store (Kaldi's ``CompressionMethod``; features are frames x dimensions):

1. automatic: 2 for more than 8 rows, else 3
2. speech features (token ``CM``): a byte an element, on a scale of three linear pieces that is fitted to each column
3. two bytes an element (``CM2``), scaled to the matrix's own least and greatest value
4. the same with the fixed range [-32768, 32767], for samples
5. a byte an element (``CM3``), scaled to the matrix's own least and greatest value
6. the same with the fixed range [0, 255]
7. the same with the fixed range [0, 1]

As in Kaldi, values outside a fixed range are clipped to it. Every step rounds as Kaldi's C++ does (float32, with the
final rounding offset added in double), so equal input gives equal bytes.
"""

import struct

import numpy as np

from wespk.utils.errors import InputError

METHODS = range(1, 8)
SPEECH_FEATURE = 2
_TOKEN = {2: b"CM ", 3: b"CM2 ", 4: b"CM2 ", 5: b"CM3 ", 6: b"CM3 ", 7: b"CM3 "}
_FIXED = {4: (-32768.0, 65535.0), 6: (0.0, 255.0), 7: (0.0, 1.0)}
UNIT16 = np.float32(1.52590218966964e-05)  # Kaldi's literal for 1/65535
_PIECES = (64, 128, 63)  # codes in each piece of a column's scale: 0..64, 64..192, 192..255
# adding this in float32 and truncating rounds exactly as Kaldi's `int(x + 0.5)` in double; 0.5 fails just below 0.5
_HALF = np.float32(0.49999997)


def compress(matrix, method):
    """Compress a float32 matrix (rows, columns), neither zero, by ``method`` 1..7.

    Returns the bytes that follow the ``\\0B`` mark in an ark: token, header and codes. Raises ``InputError`` for values
    that are not finite or whose range is beyond float32; the caller adds the key.
    """
    if method == 1:
        method = 2 if len(matrix) > 8 else 3
    low, span = _range(matrix)
    low, span = (np.float32(v) for v in _FIXED.get(method, (low, span)))
    header = _TOKEN[method] + struct.pack("<ffii", low, span, *matrix.shape)
    if method == 2:
        points, codes = _columns(np.ascontiguousarray(matrix.T), low, span)
        return b"".join((header, points.tobytes(), codes.tobytes()))
    steps, kind = (65535, "<u2") if method < 5 else (255, np.uint8)
    return header + _uniform(matrix, low, span, steps).astype(kind).tobytes()


def _range(matrix):
    """Least value and span as Kaldi stores them; the span of a constant matrix is made positive."""
    low, high = matrix.min(), matrix.max()
    if low == 0:
        low = matrix.flat[np.argmax(matrix == 0)]  # of 0.0 and -0.0 Kaldi stores the one it meets first
    if low == high:
        high = np.float32(np.float64(low) + (1.0 + abs(np.float64(low))))
    with np.errstate(over="ignore", invalid="ignore"):
        span = high - low
    if not np.isfinite(span):
        raise InputError("the matrix holds NaN, infinite or very large values, which cannot be compressed")
    return low, span


def _uniform(values, low, span, steps):
    """Codes 0..steps (float64, to be truncated) of values on the uniform scale from ``low`` to ``low + span``."""
    scaled = values - low
    scaled /= span
    np.maximum(scaled, np.float32(0), out=scaled)
    np.minimum(scaled, np.float32(1), out=scaled)
    scaled *= np.float32(steps)
    return np.add(scaled, 0.499, dtype=np.float64)


def _columns(columns, low, span):
    """Method 2 on columns (C, T) float32: their scale points (C, 4) uint16 and codes (C, T) uint8."""
    points = _scale_points(columns, low, span)
    knots = low + span * UNIT16 * points.astype(np.float32)
    codes = np.zeros(columns.shape, dtype=np.uint8)
    work = np.empty_like(columns)
    for piece, steps in enumerate(_PIECES):
        codes += _piece(columns, knots[:, piece, None], knots[:, piece + 1, None], steps, work)
    return points, codes


def _scale_points(columns, low, span):
    """Least value, quartiles and greatest value of each column on the 16-bit scale, strictly increasing."""
    length = columns.shape[1]
    if length >= 5:
        quarter = length // 4
        wanted = np.sort(columns, axis=1)[:, [0, quarter, 3 * quarter, length - 1]]
    else:
        wanted = np.sort(columns, axis=1)
    points = np.zeros((len(columns), 4), dtype=np.int64)
    points[:, : wanted.shape[1]] = _uniform(wanted, low, span, 65535)
    points[:, 0] = np.minimum(points[:, 0], 65532)
    for at in (1, 2, 3):
        points[:, at] = np.minimum(np.maximum(points[:, at], points[:, at - 1] + 1), 65532 + at)
    return points.astype("<u2")


def _piece(columns, start, end, steps, work):
    """Codes 0..steps (uint8) on one linear piece [start, end] of each column's scale; ``work`` is scratch, (C, T).

    A value below the piece gets 0 and one above it ``steps``, so that the codes of the three pieces add up.
    """
    np.maximum(columns, start, out=work)
    np.minimum(work, end, out=work)
    work -= start
    width = end - start
    flat = width[:, 0] == 0  # the span is too small beside the values for float32 to tell the points apart
    if flat.any():
        width[flat] = 1
    work /= width
    work *= np.float32(steps)
    work += _HALF
    codes = work.astype(np.uint8)
    if flat.any() and steps != _PIECES[-1]:
        codes[flat] = (columns[flat] >= end[flat]) * np.uint8(steps)
    return codes


def knots_of(points, low, span):
    """The values (..., 4) float32 of a column's scale points (..., 4) uint16; ``low`` and ``span`` from the header."""
    return np.float32(low) + np.float32(span) * UNIT16 * points.astype(np.float32)


def decode_columns(codes, knots):
    """Method 2 codes (C, T) uint8 with knots (C, 4) float32 -> values (C, T) float32, rounded as Kaldi rounds them."""
    code = codes.astype(np.float32)
    first, second, third = (
        (knots[:, p + 1, None] - knots[:, p, None]) * (code - base) for p, base in enumerate((0, 64, 192))
    )
    first = knots[:, 0, None] + first * np.float32(1 / 64)
    second = knots[:, 1, None] + second * np.float32(1 / 128)
    third = (knots[:, 2, None] + third * np.float64(1 / 63)).astype(np.float32)  # Kaldi's sum here is in double
    return np.where(codes <= 64, first, np.where(codes <= 192, second, third))


def decode_uniform(codes, low, span):
    """Codes of methods 3 to 7 (any shape, uint16 or uint8) -> float32 values, rounded as Kaldi rounds them."""
    steps = 65535.0 if codes.dtype.itemsize == 2 else 255.0
    return np.float32(low) + codes.astype(np.float32) * np.float32(np.float64(span) * (1.0 / steps))
