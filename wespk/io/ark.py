"""Kaldi archives: writing arks with their scp, reading single objects, sets of vectors, and merging scp files.

Own code reads and writes every binary form. kaldiio serves only text arks and integer vectors, and is imported when one
is met. Random chunks for training are read by ``wespk.io.frames``.
"""

import hashlib
import io
import os
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from wespk.io.ark_format import MARK, Malformed, decode, map_file, parse_header, parse_headers, split_spec
from wespk.io.atomic import open_atomic
from wespk.io.compression import METHODS, SPEECH_FEATURE, compress
from wespk.io.pipes import is_pipe, pipe_output
from wespk.io.tables import check_key, read_table, write_table
from wespk.utils.errors import InputError

_AT_ONCE = 4096  # vectors read at a time, twice in memory while they are
_VECTOR_HEADER = len(MARK + b"FV \4") + 4  # bytes before a vector's values


class ArkWriter:
    """Write matrices and vectors to an ark, and their places to an scp; a context manager.

    Both files appear when the block ends well, the ark first, and not at all otherwise. The scp holds the ark's
    absolute path. ``compress`` is False (float32), a Kaldi compression method 1..7 (see ``wespk.io.compression``) or
    True (2, for speech features); vectors are always float32.

    >>> with ArkWriter("feats.ark", "feats.scp", compress=2) as ark:  # doctest: +SKIP
    ...     ark.write("utterance", features)
    """

    def __init__(self, ark_path, scp_path, compress=False):
        self.method = SPEECH_FEATURE if compress is True else int(compress)
        if self.method and self.method not in METHODS:
            raise InputError(f"compress is {compress}; it must be 0 (plain float32) or a Kaldi method 1 to 7")
        self.ark_path, self.scp_path = Path(os.path.abspath(ark_path)), Path(scp_path)
        self._places = {}
        self._stack = ExitStack()
        self._position = 0
        self._content = hashlib.blake2b(digest_size=16)

    def __enter__(self):
        self._scp = self._stack.enter_context(open_atomic(self.scp_path))  # renamed after the ark
        self._file = self._stack.enter_context(open_atomic(self.ark_path, "wb"))
        return self

    def __exit__(self, kind, error, trace):
        if kind is not None:
            self._stack.__exit__(kind, error, trace)
            return
        with self._stack:
            self._write_scp()
            # an old scp must not point into the new ark, should we be killed between the two renames
            self.scp_path.unlink(missing_ok=True)

    def _write_scp(self):
        """Flush the scp's temporary file before the ark gets its name, so that a full disk leaves the old pair."""
        try:
            self._scp.writelines(f"{key} {self._places[key]}\n" for key in sorted(self._places))
            self._scp.flush()
            os.fsync(self._scp.fileno())
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self.scp_path)) from error

    def write(self, key, array):
        """Append a matrix (T, F) or a vector (D,), any float dtype, stored as float32 or compressed.

        Raises ``InputError`` naming the key if it was written before, or if the array is empty or not finite.
        """
        check_key(key, self.ark_path)
        if key in self._places:
            raise InputError(f"{self.ark_path}: '{key}' is written twice; ids must be unique")
        array = np.asarray(array, dtype=np.float32)
        if array.ndim not in (1, 2) or array.size == 0:
            raise InputError(f"'{key}': shape {array.shape} cannot be stored; a non-empty matrix or vector is needed")
        if not np.isfinite(array).all():
            raise InputError(f"'{key}' holds NaN or infinite values; look at its audio ({self.ark_path})")
        mark = key.encode() + b" "
        body = MARK + self._body(array)
        for part in (mark, body):
            self._file.write(part)
            self._content.update(part)
        self._places[key] = f"{self.ark_path}:{self._position + len(mark)}"
        self._position += len(mark) + len(body)

    def digest(self):
        """Hex digest of what the ark holds so far: equal arks have equal ones."""
        return self._content.hexdigest()

    def _body(self, array):
        if array.ndim == 2 and self.method:
            return compress(array, self.method)
        token = b"FM " if array.ndim == 2 else b"FV "
        sizes = b"".join(b"\4" + int(size).to_bytes(4, "little") for size in array.shape)
        return token + sizes + np.ascontiguousarray(array, dtype="<f4").tobytes()


def read_array(spec, key=None):
    """Read one object of an scp: ``path:offset``, ``path`` of a single-object file, or ``command |``.

    Returns a float32 matrix (rows, cols) or vector (rows,), writable. Raises ``InputError`` that names ``key`` (if
    given) and the ark for a missing or truncated file, an offset past the end, or a header that is none.
    """
    path, position = split_spec(spec)
    return _read_at(_open(path, key), position, spec, key)


def _open(path, key):
    try:
        return pipe_output(path) if is_pipe(path) else map_file(path)
    except InputError as error:
        raise InputError(f"'{key}': {error}" if key else str(error)) from None


def _read_at(buffer, position, spec, key):
    try:
        first = buffer[position : position + 3]
        if first[:1].strip() in (b"", b"[") and first or first == MARK + b"\4":
            return _read_with_kaldiio(buffer[position:])
        return decode(buffer, parse_header(buffer, position))
    except Malformed as error:
        raise InputError(f"{_name(spec, key)}: {error}; write the ark again") from None


def _name(spec, key):
    return f"'{key}' in {spec}" if key else spec


def _read_with_kaldiio(data):
    """Read a text matrix or vector, or a binary integer vector."""
    from kaldiio.matio import read_kaldi

    try:
        return np.array(read_kaldi(io.BytesIO(data)), dtype=np.float32)
    except (ValueError, AssertionError, RuntimeError, EOFError) as error:
        raise Malformed(f"not a readable text matrix or vector ({error})") from None


def read_scp(path):
    """Read an scp: dict key -> spec, in the file's order (see ``wespk.io.tables.read_table``)."""
    return read_table(path)


def read_vectors(scp, keys=None):
    """Read vectors of one dimension: (list of keys, (N, D) float32), in the order of ``keys`` or of the scp.

    ``scp`` is a path or a dict key -> spec. Arks are read front to back whatever the order. Raises ``InputError`` for a
    key that the scp lacks, an object that is no vector, or dimensions that differ.
    """
    table = scp if isinstance(scp, dict) else read_scp(scp)
    name = "the table" if isinstance(scp, dict) else scp
    keys = list(table) if keys is None else list(keys)
    for key in keys:
        if key not in table:
            raise InputError(f"{name}: has no '{key}'; extract it, or take it from the list that asks for it")
    if not keys:
        raise InputError(f"{name}: no vectors to read; the list is empty")
    of_ark = {}
    for row, key in enumerate(keys):
        path, position = split_spec(table[key])
        of_ark.setdefault(path, []).append((position, row))
    vectors = like = None
    for path, places in sorted(of_ark.items()):
        places.sort()
        like = like or keys[places[0][1]]
        buffer = _open(path, keys[places[0][1]])
        for first in range(0, len(places), _AT_ONCE):
            positions, rows = zip(*places[first : first + _AT_ONCE])
            named = [keys[row] for row in rows]
            found = _float_vectors(buffer, np.array(positions))
            if found is None or vectors is not None and found.shape[1] != vectors.shape[1]:
                found = _one_by_one(buffer, positions, named, table, like, None if vectors is None else vectors.shape[1])
            vectors = np.empty((len(keys), found.shape[1]), dtype=np.float32) if vectors is None else vectors
            vectors[list(rows)] = found
    return keys, vectors


def _float_vectors(buffer, positions):
    """The objects at ``positions`` (n,) of an ark, if all are float32 vectors of one size: (n, D) float32; else None."""
    content = np.frombuffer(buffer, np.uint8)
    kind, sizes, _ = parse_headers(content, positions) or (None, None, None)
    if kind != b"FV" or sizes[0] == 0 or (sizes != sizes[0]).any():
        return None
    size = 4 * int(sizes[0])
    windows = np.ndarray((len(content) - size + 1,), f"V{size}", buffer=content, strides=(1,))
    return windows[positions + _VECTOR_HEADER].view("<f4").reshape(len(positions), -1)


def _one_by_one(buffer, positions, keys, table, like, size):
    """The vectors of ``keys`` at ``positions`` of an ark, of any kind: (n, D); ``size``: D, or None if ``like`` decides."""
    found = []
    for position, key in zip(positions, keys):
        vector = _read_at(buffer, position, table[key], key)
        size = vector.size if size is None else size
        if vector.ndim != 1 or vector.size != size:
            raise InputError(
                f"{_name(table[key], key)}: shape {vector.shape}, but '{like}' is a vector of {size}; "
                "embeddings of one set come from one model"
            )
        found.append(vector)
    return np.stack(found)


def merge_scp(parts, out, expected_keys):
    """Merge the scp (or other table) files of parallel jobs into one sorted table; returns its number of lines.

    Raises ``InputError`` naming the first key that two parts hold, that is missing, or that nobody asked for; ``out``
    is then left as it was. Beside ``expected_keys`` it holds one dict of the values: some hundred bytes a key.
    """
    parts, extra = list(parts), set()
    merged = dict.fromkeys(expected_keys)  # the very keys of the caller, not a second copy of each
    for part in parts:
        for key, value in read_table(part).items():
            if key in extra or merged.get(key) is not None:
                first = next(earlier for earlier in parts if key in read_table(earlier))
                raise InputError(f"{part}: '{key}' is also in {first}; two jobs did it, rerun the stage")
            if key in merged:
                merged[key] = value
            else:
                extra.add(key)
    missing = [key for key, value in merged.items() if value is None]
    for keys, what in ((missing, "is missing from"), (extra, "was not asked for, but is in")):
        if keys:
            raise InputError(
                f"{out}: '{min(keys)}' {what} the jobs' output ({len(keys)} such); read the jobs' logs, rerun"
            )
    write_table(out, merged)
    return len(merged)
