"""Random frames straight out of feature arks: for training, which wants 200 frames of an utterance, not all of it.

``FrameReader`` knows where every matrix lies in a few flat numpy arrays (about 50 bytes an utterance, shared by forked
loader workers, since there are no Python objects whose reference counts would touch the pages), maps each ark when it
is first needed, and copies only the wanted frames, still compressed. ``dequantise`` decompresses a whole batch at once,
on the training device. The result is exactly what ``wespk.io.ark.read_array`` gives, cropped.
"""

from typing import NamedTuple

import numpy as np
import torch

from wespk.io.ark_format import Malformed, decode, map_file, parse_header
from wespk.io.column_kinds import Places, places_of
from wespk.io.compression import UNIT16
from wespk.utils.errors import InputError
from wespk.utils.strings import PackedStrings

_ELEMENT = {b"CM2": np.dtype("<i2"), b"CM3": np.dtype(np.uint8), b"FM": np.dtype("<f4")}  # the row-major kinds
_MOST_MAPPED = 256  # arks kept open at once
_CACHED = 4  # chunks decompressed together on a CPU


class RawChunks(NamedTuple):
    """A batch of B chunks of T frames as they lie in the arks, all of one kind; three tensors, cheap to send and pin.

    ``codes`` is (B, F, T) uint8 with ``points`` (B, F, 4), int16 holding uint16, for Kaldi's speech-feature
    compression; otherwise (B, T, F), uint8, int16 (holding uint16) or float32, with no ``points``. ``scale`` is (B, 2)
    float32: least value and span of each matrix.
    """

    codes: torch.Tensor
    scale: torch.Tensor
    points: torch.Tensor


class FrameReader:
    """Reads frames of feature matrices by utterance number.

    specs: iterable of ``ark:offset``, as in feats.scp, or ``Places``; keys: their utterance ids, for messages (default:
    the spec); ``Places`` and ``PackedStrings`` are kept as they are, not copied.
    num_frames: (N,) from utt2num_frames. Without it every header is read at once (some seconds a million); with it each
    header is compared when its matrix is read. All matrices must have one dimension, ``num_cols``.

    Raises ``InputError`` naming the utterance and the ark for a missing or truncated ark, an offset past its end, a
    wrong header, an object that is no matrix, or a length that is not the stated one.
    """

    def __init__(self, specs, keys=None, num_frames=None):
        self._paths, self._file, self._offset = specs if isinstance(specs, Places) else places_of(specs)
        self._keys = keys if keys is None or isinstance(keys, PackedStrings) else PackedStrings(keys)
        self._maps = {}
        if not len(self):
            raise InputError("no feature matrices to read: the list is empty")
        self.num_cols = self._header(0)[1].cols
        self.num_frames = self._count_frames() if num_frames is None else np.asarray(num_frames, dtype=np.int64)
        if len(self.num_frames) != len(self) or (keys is not None and len(self._keys) != len(self)):
            raise InputError(f"{len(self)} matrices, {len(self.num_frames)} lengths; take all from one data folder")

    def __len__(self):
        return len(self._file)

    def __getstate__(self):
        return {**self.__dict__, "_maps": {}}  # a spawned worker maps the arks itself

    def name(self, index):
        """The utterance and its place, for messages."""
        spec = f"{self._paths[self._file[index]]}:{self._offset[index]}"
        return spec if self._keys is None else f"'{self._keys[index]}' in {spec}"

    def read(self, index, start=0, num=None):
        """Frames ``start`` to ``start + num`` (to the end if None) of one utterance: float32 (num, F), a fresh array.

        An utterance shorter than ``num`` frames is repeated; otherwise the chunk must lie inside it.
        """
        num = self.num_frames[index] - start if num is None else num
        return dequantise(self.read_raw([index], [start], num))[0].contiguous().numpy()

    def read_raw(self, indices, starts, num):
        """Chunks of ``num`` frames from ``starts`` (B,) of the utterances ``indices`` (B,): ``RawChunks``.

        An utterance shorter than ``num`` frames is repeated; otherwise the chunk must lie inside it.
        """
        found = [self._header(index) for index in indices]
        kinds = {header.kind for _, header in found}
        if kinds == {b"CM"}:
            return self._read_columns(found, indices, starts, num)
        if len(kinds) == 1 and kinds <= _ELEMENT.keys():
            return self._read_rows(found, indices, starts, num)
        chunks = np.empty((len(found), num, self.num_cols), dtype=np.float32)  # kinds mixed in a batch, or float64
        for chunk, (content, header), index, start in zip(chunks, found, indices, starts):
            chunk[:] = decode(content, header)[self._rows(index, start, num, header.rows)]
        return RawChunks(torch.from_numpy(chunks), torch.zeros(len(found), 2), torch.zeros(0, dtype=torch.int16))

    def _read_columns(self, found, indices, starts, num):
        cols = self.num_cols
        codes = np.empty((len(found), cols, num), dtype=np.uint8)
        points = np.empty((len(found), 8 * cols), dtype=np.uint8)
        scale = np.empty((len(found), 2), dtype=np.float32)
        for at, ((content, header), index, start) in enumerate(zip(found, indices, starts)):
            data = header.data + 8 * cols
            matrix = content[data : header.data + header.size].reshape(cols, header.rows)
            codes[at] = matrix[:, self._rows(index, start, num, header.rows)]
            points[at] = content[header.data : data]
            scale[at] = header.low, header.span
        points = points.view("<i2").reshape(len(found), cols, 4)
        return RawChunks(torch.from_numpy(codes), torch.from_numpy(scale), torch.from_numpy(points))

    def _read_rows(self, found, indices, starts, num):
        element = _ELEMENT[found[0][1].kind]
        width = self.num_cols * element.itemsize
        codes = np.empty((len(found), num, width), dtype=np.uint8)
        scale = np.empty((len(found), 2), dtype=np.float32)
        for at, ((content, header), index, start) in enumerate(zip(found, indices, starts)):
            matrix = content[header.data : header.data + header.size].reshape(header.rows, width)
            codes[at] = matrix[self._rows(index, start, num, header.rows)]
            scale[at] = header.low, header.span
        return RawChunks(
            torch.from_numpy(codes.view(element)), torch.from_numpy(scale), torch.zeros(0, dtype=torch.int16)
        )

    def _rows(self, index, start, num, rows):
        """The rows of a chunk: a slice, or indices that go round where the utterance is too short."""
        if 0 <= start <= rows - num:
            return slice(start, start + num)
        if rows < num and 0 <= start < max(rows, 1):
            return np.arange(start, start + num) % rows
        raise InputError(f"{self.name(index)}: frames {start} to {start + num} are wanted of {rows}")

    def _header(self, index):
        """(the ark as a uint8 array, the header of the utterance's matrix), checked."""
        file = int(self._file[index])
        try:
            mapped = self._maps.get(file) or self._map(file)
            header = parse_header(mapped[0], int(self._offset[index]))
        except (Malformed, InputError) as error:
            reason = str(error)
        else:
            if self._fits(index, header):
                return mapped[1], header
            reason = f"it is {header.rows} x {header.cols} ({header.kind.decode()}), not {self._wanted(index)}"
        raise InputError(f"{self.name(index)}: {reason}; compute the features again")

    def _map(self, file):
        if len(self._maps) >= _MOST_MAPPED:
            del self._maps[next(iter(self._maps))]
        content = map_file(self._paths[file])
        self._maps[file] = content, np.frombuffer(content, dtype=np.uint8)
        return self._maps[file]

    def _fits(self, index, header):
        if header.kind[1:] == b"V" or header.rows == 0 or header.cols == 0:
            return False
        known = self.__dict__  # while the reader is being made, neither is known yet
        return header.cols == known.get("num_cols", header.cols) and (
            "num_frames" not in known or header.rows == self.num_frames[index]
        )

    def _wanted(self, index):
        if not hasattr(self, "num_cols"):
            return "a matrix with frames in it"
        rows = self.num_frames[index] if hasattr(self, "num_frames") else "any number of"
        return f"{rows} frames of dimension {self.num_cols}"

    def _count_frames(self):
        """Read all headers, front to back through each ark: the number of frames (N,)."""
        rows = np.empty(len(self), dtype=np.int64)
        for index in np.lexsort((self._offset, self._file)):
            rows[index] = self._header(index)[1].rows
        return rows


def dequantise(raw, device="cpu"):
    """Decompress ``RawChunks`` on ``device``: float32 (B, T, F), equal to Kaldi's decompression bit for bit.

    For speech-feature compression the result is a transposed view (its frames are contiguous in memory).
    """
    codes, scale, points = (part.to(device, non_blocking=True) for part in raw)
    if codes.dtype == torch.float32:
        return codes
    if len(points):
        if codes.device.type != "cpu":
            return _decode_columns(codes, scale, points).transpose(1, 2)
        values = torch.empty(codes.shape)
        for at in range(0, len(codes), _CACHED):  # temporaries that stay in the processor's cache
            piece = slice(at, at + _CACHED)
            values[piece] = _decode_columns(codes[piece], scale[piece], points[piece])
        return values.transpose(1, 2)
    steps = 255.0
    if codes.dtype == torch.int16:
        codes, steps = codes.to(torch.int32) & 0xFFFF, 65535.0
    low, span = scale[:, :1, None], scale[:, 1:, None]
    return low + codes.float() * (span.double() * (1.0 / steps)).float()


def _decode_columns(codes, scale, points):
    """Values (B, F, T) of codes (B, F, T) on scales of three linear pieces, see ``wespk.io.compression``."""
    low, span = scale[:, :1, None], scale[:, 1:, None]
    knots = low + span * float(UNIT16) * (points.to(torch.int32) & 0xFFFF).float()
    widths = knots[..., 1:] - knots[..., :3]
    code = codes.float()
    # on random codes torch.where mispredicts its branches; products with 0 and 1 select as exactly, and much faster
    in_third = (code - 192).clamp_(0, 1)
    in_first = (65 - code).clamp_(0, 1)
    in_second = (1 - in_first).sub_(in_third)
    values = (code * (widths[..., 0:1] * (1 / 64))).add_(knots[..., 0:1]).mul_(in_first)
    values += (code - 64).mul_(widths[..., 1:2] * (1 / 128)).add_(knots[..., 1:2]).mul_(in_second)
    third = code.sub_(192).mul_(widths[..., 2:3]).double().mul_(1 / 63).add_(knots[..., 2:3]).float()
    return values.add_(third.mul_(in_third))
