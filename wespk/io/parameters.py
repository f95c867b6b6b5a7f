"""Kaldi's parameter files: one vector, one matrix or one PLDA model to a file, binary or text, in double precision.

Written as double (``DV``, ``DM``), read as whatever they are, single precision included. A PLDA model is what Kaldi's
``Plda::Write`` makes: ``<Plda>``, mean, transform, psi, ``</Plda>``.
"""

import re
from pathlib import Path

import numpy as np

from wespk.io.ark_format import MARK, Malformed, parse_header
from wespk.io.atomic import open_atomic
from wespk.utils.errors import InputError

_BRACKETS = re.compile(r"\s*\[([^\[\]]*)\]\s*")
_OPEN, _CLOSE = "<Plda>", "</Plda>"


def read_array64(path):
    """The vector (D,) or matrix (R, D) that fills a file, float64. Raises ``InputError`` naming one that holds none."""
    return _read(path, 1)[0]


def write_array64(path, array, text=False):
    """Write a vector (D,) or matrix (R, D) alone in a file, atomically; text: in Kaldi's text form."""
    _write(path, [array], "", "", text)


def read_plda(path):
    """A PLDA model: mean (D,), transform (D, D), psi (D,), float64.

    Raises ``InputError`` naming a file that is no such model, whole, of fitting sizes and finite.
    """
    mean, transform, psi = _read(path, 3, _OPEN, _CLOSE)
    if not (mean.ndim == psi.ndim == 1 and transform.shape == (mean.size, mean.size) and psi.size == mean.size):
        sizes = f"mean {mean.shape}, transform {transform.shape}, psi {psi.shape}"
        raise InputError(f"{path}: the parts of PLDA models must be (D,), (D, D) and (D,), not {sizes}; train it again")
    return mean, transform, psi


def write_plda(path, mean, transform, psi, text=False):
    """Write a PLDA model as Kaldi's programs read it, atomically; arguments as ``read_plda`` returns them."""
    _write(path, [mean, transform, psi], _OPEN, _CLOSE, text)


def _write(path, arrays, first, last, text):
    begin, end = ((word and word + " ").encode() for word in (first, last))
    body = begin + b"".join(map(_as_text if text else _as_bytes, arrays)) + end
    body = body if text else MARK + body
    with open_atomic(path, "wb") as file:
        file.write(body)


def _as_bytes(array):
    sizes = b"".join(b"\4" + int(size).to_bytes(4, "little") for size in array.shape)
    return (b"DV ", b"DM ")[array.ndim - 1] + sizes + np.ascontiguousarray(array, dtype="<f8").tobytes()


def _as_text(array):
    rows = ["".join(f"{value!r} " for value in row) for row in np.atleast_2d(array).astype(float).tolist()]
    return (f" [ {rows[0]}]\n" if array.ndim == 1 else " [\n  " + "\n  ".join(rows) + "]\n").encode()


def _read(path, number, first="", last=""):
    """The ``number`` arrays between the words ``first`` and ``last``."""
    try:
        data = Path(path).read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; run the command that trains it, or correct the path") from None
    what = "a PLDA model" if first else "a vector or matrix"
    try:
        parse = _binary if data.startswith(MARK) else _text
        arrays = parse(data, number, first.encode(), last.encode())
    except (Malformed, ValueError) as error:
        raise InputError(f"{path}: is not {what} as Kaldi writes it ({error}); train it again") from None
    if not all(array.size and np.isfinite(array).all() for array in arrays):
        raise InputError(f"{path}: holds empty parts, NaN or infinite values; train it again")
    return arrays


def _binary(data, number, first, last):
    at, arrays = len(MARK), []
    at = _skip(data, at, first and first + b" ")
    for _ in range(number):
        header = parse_header(MARK + data[at:], 0)
        if header.kind[:1] == b"C":
            raise Malformed("compressed")
        values = np.frombuffer(data, {b"F": "<f4", b"D": "<f8"}[header.kind[:1]], header.size // _width(header),
                               at + header.data - len(MARK)).astype(np.float64)
        arrays.append(values.reshape(header.rows, header.cols) if header.kind[1:] == b"M" else values)
        at += header.data - len(MARK) + header.size
    if _skip(data, at, last) < len(data.rstrip(b" ")):
        raise Malformed("there is more behind its end")
    return arrays


def _width(header):
    return {b"F": 4, b"D": 8}[header.kind[:1]]


def _skip(data, at, word):
    if data[at : at + len(word)] != word:
        raise Malformed(f"no {word.decode()} at byte {at}")
    return at + len(word)


def _text(data, number, first, last):
    text = data.decode("utf-8").strip()
    if not (text.startswith(first.decode()) and text.endswith(last.decode())):
        raise Malformed(f"{first.decode()} ... {last.decode()} expected")
    text = text[len(first) : len(text) - len(last)]
    found = _BRACKETS.findall(text)
    if len(found) != number or _BRACKETS.sub("", text):
        raise Malformed(f"{len(found)} arrays in brackets where {number} are expected")
    return [_numbers(part) for part in found]


def _numbers(text):
    """Kaldi starts a matrix on a new line, and a vector on the line of its bracket."""
    rows = [[float(word) for word in line.split()] for line in text.strip().split("\n")]
    return np.array(rows) if text.lstrip(" ").startswith("\n") else np.array(rows[0] if len(rows) == 1 else rows)
