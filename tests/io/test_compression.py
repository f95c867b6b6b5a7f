"""The bytes of Kaldi's copy-feats, for every compression method, and the values of its decompression."""

import base64
import hashlib
import json
import zlib
from pathlib import Path

import kaldi_native_io
import numpy as np
import pytest

from wespk.io.ark import ArkWriter, read_array, read_scp
from wespk.io.compression import METHODS, compress
from wespk.utils.errors import InputError

GOLDEN = Path(__file__).parent.parent / "golden"


@pytest.mark.parametrize("method", METHODS)
def test_bytes_equal_those_of_kaldi(method):
    golden = json.loads((GOLDEN / "kaldi_compression.json").read_text())
    data = zlib.decompress(base64.b64decode(golden["float32_zlib_base64"]))
    matrix = np.frombuffer(data, "<f4").reshape(golden["shape"])
    assert hashlib.sha256(compress(matrix, method)).hexdigest() == golden["sha256"][str(method)]


def _kaldi_text(path):
    """dict key -> float32 matrix of a Kaldi text ark."""
    table = {}
    for block in Path(path).read_text().split("]")[:-1]:
        key, _, rows = block.partition("[")
        table[key.strip()] = np.array([row.split() for row in rows.strip().split("\n")], dtype=np.float32)
    return table


@pytest.mark.parametrize("method", METHODS)
def test_whole_arks_equal_those_of_copy_feats(method, real_speech, tmp_path):
    matrices = _kaldi_text(real_speech / "golden_kaldi" / "mfcc30.txt")
    for key, elements in json.loads((GOLDEN / "kaldi_mfcc30_digits.json").read_text()).items():
        for row, column, value in elements:
            assert abs(matrices[key][row, column] - float.fromhex(value)) < 1e-5  # same 7 digits, other last bit
            matrices[key][row, column] = float.fromhex(value)
    with ArkWriter(tmp_path / "a.ark", tmp_path / "a.scp", compress=method) as ark:
        for key, matrix in matrices.items():
            ark.write(key, matrix)
    theirs = real_speech / "golden_kaldi" / f"compressed_method{method}"
    assert (tmp_path / "a.ark").read_bytes() == theirs.with_suffix(".ark").read_bytes()
    offsets = [line.rpartition(":")[2] for line in theirs.with_suffix(".scp").read_text().splitlines()]
    assert [spec.rpartition(":")[2] for spec in read_scp(tmp_path / "a.scp").values()] == offsets


def _matrices():
    """Ordinary matrices, and the kinds that have tripped writers: constant, few rows, tiny or shifted ranges, ties."""
    draw = np.random.default_rng(7)
    # the scale points fall on 0, 64, 1000 and 65535, so that the second value is 0.5 codes less a float32's last bit
    yield "just below half a code", np.array([[0, 0.49999997, 64, 100, 100, 100, 1000, 65535]]).T
    for rows in (1, 2, 3, 4, 5, 8, 9, 37, 200):
        noise = draw.normal(size=(rows, 6))
        yield "noise", noise
        yield "constant", np.full((rows, 6), -3.7)
        yield "zero", np.zeros((rows, 6))
        yield "rounded", np.round(noise)
        yield "least value zero, of both signs", np.where(noise > 1, 1, np.copysign(0, noise))
        yield "shifted", 1000 + noise * 1e-4
        yield "one step", 1e5 + np.round(noise) * 2**-6
        yield "tiny", noise * 1e-35
        yield "columns of other scales", np.abs(noise) * 10.0 ** np.arange(-3, 3)
        yield "one large column", np.where(np.arange(6) == 2, 1e6, noise)


@pytest.fixture(scope="module")
def by_kaldi_native_io(tmp_path_factory):
    """The same matrices, written by kaldi_native_io: (matrix, its bytes, its values read back) by method."""
    folder = tmp_path_factory.mktemp("witness")
    written = {method: [] for method in METHODS}
    for method in METHODS:
        paths = f"ark,scp:{folder}/{method}.ark,{folder}/{method}.scp"
        matrices = [matrix.astype(np.float32) for _, matrix in _matrices()]
        with kaldi_native_io.CompressedMatrixWriter(paths) as ark:
            for number, matrix in enumerate(matrices):
                ark.write(f"k{number:03d}", matrix, kaldi_native_io.CompressionMethod(method))
        content = (folder / f"{method}.ark").read_bytes()
        starts = [int(spec.rpartition(":")[2]) for spec in read_scp(folder / f"{method}.scp").values()]
        ends = [start - len("k000 ") for start in starts[1:]] + [len(content)]
        reader = kaldi_native_io.RandomAccessFloatMatrixReader(f"scp:{folder}/{method}.scp")
        for number, (matrix, start, end) in enumerate(zip(matrices, starts, ends, strict=True)):
            spec = f"{folder}/{method}.ark:{start}"
            written[method].append((matrix, content[start + 2 : end], spec, np.array(reader[f"k{number:03d}"])))
    return written


@pytest.mark.parametrize("method", METHODS)
def test_degenerate_matrices_give_the_bytes_of_a_second_witness(method, by_kaldi_native_io):
    for (kind, _), (matrix, theirs, _, _) in zip(_matrices(), by_kaldi_native_io[method], strict=True):
        assert compress(matrix, method) == theirs, (kind, matrix.shape)


@pytest.mark.parametrize("method", METHODS)
def test_values_read_back_equal_those_of_a_second_witness_bit_for_bit(method, by_kaldi_native_io):
    for _, _, spec, values in by_kaldi_native_io[method]:
        np.testing.assert_array_equal(read_array(spec), values)


def test_error_is_within_a_step_of_each_columns_scale():
    matrix = np.random.default_rng(0).normal(size=(300, 8)).astype(np.float32)
    assert np.abs(_restored(matrix, 2) - matrix).max() < np.ptp(matrix) / 64  # 64 steps in the outer quarter
    assert np.abs(_restored(matrix, 3) - matrix).max() < np.ptp(matrix) / 65535
    assert np.abs(_restored(matrix, 5) - matrix).max() < np.ptp(matrix) / 255


def _restored(matrix, method):
    from wespk.io.ark_format import decode, parse_header

    content = b"\0B" + compress(matrix, method)
    return decode(content, parse_header(content, 0))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused(bad):
    matrix = np.ones((20, 3), dtype=np.float32)
    matrix[4, 1] = bad
    for method in (1, 2, 3, 5):
        with pytest.raises(InputError, match="NaN, infinite"):
            compress(matrix, method)


def test_a_range_beyond_float32_is_refused():
    with pytest.raises(InputError, match="very large"):
        compress(np.array([[-3e38, 3e38]], dtype=np.float32), 3)
