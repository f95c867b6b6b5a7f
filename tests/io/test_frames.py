"""Chunks read straight out of arks equal the whole matrix, cropped, to the last bit."""

import pickle
import struct

import numpy as np
import pytest
import torch

from wespk.io.ark import ArkWriter, read_array, read_scp
from wespk.io.frames import FrameReader, RawChunks, dequantise
from wespk.utils.errors import InputError

FRAMES, DIM = 20, 7


def _write(folder, compress, lengths=(20, 21, 64, 133, 40), name="a", dim=DIM):
    draw = np.random.default_rng(5)
    with ArkWriter(folder / f"{name}.ark", folder / f"{name}.scp", compress=compress) as ark:
        for number, length in enumerate(lengths):
            ark.write(f"{name}{number}", draw.normal(size=(length, dim)) * 10.0 ** draw.integers(-2, 3, dim))
    return read_scp(folder / f"{name}.scp")


@pytest.mark.parametrize("compress", range(8))
def test_chunks_equal_the_whole_matrix_cropped(tmp_path, compress):
    scp = _write(tmp_path, compress)
    reader = FrameReader(scp.values(), scp)
    assert reader.num_frames.tolist() == [20, 21, 64, 133, 40] and reader.num_cols == DIM
    indices, starts = [3, 1, 0, 3, 4, 2, 3], [113, 0, 0, 7, 19, 44, 0]
    batch = dequantise(reader.read_raw(indices, starts, FRAMES))
    assert batch.shape == (7, FRAMES, DIM) and batch.dtype == torch.float32
    for chunk, index, start in zip(batch, indices, starts, strict=True):
        expected = read_array(scp[f"a{index}"])[start : start + FRAMES]
        np.testing.assert_array_equal(chunk, expected)
        np.testing.assert_array_equal(reader.read(index, start, FRAMES), expected)


def test_every_code_on_many_scales_is_decompressed_as_in_the_whole_matrix(tmp_path):
    draw = np.random.default_rng(2)
    points = np.sort(draw.choice(65536, (500, 4), replace=False), axis=1).astype("<u2")
    codes = np.tile(np.arange(256, dtype=np.uint8), (500, 1))
    header = b"\0BCM " + struct.pack("<ffii", -17.3, 41.7, 256, 500)
    (tmp_path / "one").write_bytes(header + points.tobytes() + codes.tobytes())
    spec = str(tmp_path / "one")
    np.testing.assert_array_equal(FrameReader([spec]).read(0), read_array(spec))


def test_doubles_of_other_tools_and_batches_of_mixed_kinds_are_exact_too(tmp_path):
    kaldi_native_io = pytest.importorskip("kaldi_native_io")
    specs = [next(iter(_write(tmp_path, method, (30,), f"m{method}").values())) for method in (0, 2, 3, 5)]
    with kaldi_native_io.DoubleMatrixWriter(f"ark,scp:{tmp_path}/d.ark,{tmp_path}/d.scp") as ark:
        ark.write("d", np.random.default_rng(0).normal(size=(30, DIM)))
    specs.append(read_scp(tmp_path / "d.scp")["d"])
    batch = dequantise(FrameReader(specs).read_raw(range(5), [4] * 5, FRAMES))
    for chunk, spec in zip(batch, specs, strict=True):
        np.testing.assert_array_equal(chunk, read_array(spec)[4 : 4 + FRAMES])


@pytest.mark.parametrize("compress", [0, 2, 3])
def test_an_utterance_shorter_than_the_chunk_goes_round(tmp_path, compress):
    scp = _write(tmp_path, compress, (6, 30))
    whole = read_array(scp["a0"])
    batch = dequantise(FrameReader(scp.values()).read_raw([0, 1], [4, 0], FRAMES))
    np.testing.assert_array_equal(batch[0], whole[np.arange(4, 24) % 6])


def test_a_whole_utterance_is_a_fresh_array(tmp_path):
    scp = _write(tmp_path, 2)
    reader = FrameReader(scp.values())
    reader.read(2)[:] = 0
    np.testing.assert_array_equal(reader.read(2), read_array(scp["a2"]))
    np.testing.assert_array_equal(reader.read(2, 60), read_array(scp["a2"])[60:])


def test_a_reader_survives_pickling_without_its_maps(tmp_path):
    scp = _write(tmp_path, 2)
    reader = FrameReader(scp.values())
    reader.read(0)
    again = pickle.loads(pickle.dumps(reader))
    np.testing.assert_array_equal(again.read(3), reader.read(3))


def test_the_index_holds_no_object_for_each_utterance(tmp_path):
    spec = next(iter(_write(tmp_path, 0, (20,)).values()))
    reader = FrameReader([spec] * 5000, [f"u{n}" for n in range(5000)], np.full(5000, 20))
    assert len(pickle.dumps(reader)) < 60 * 5000
    lists = [value for value in vars(reader).values() if isinstance(value, (list, dict))]
    assert all(len(value) <= 1 for value in lists)  # paths and maps: one ark
    assert all(value.dtype != object for value in vars(reader).values() if isinstance(value, np.ndarray))


def test_raw_chunks_are_tensors_that_a_loader_can_send_and_pin(tmp_path):
    scp = _write(tmp_path, 2)
    raw = FrameReader(scp.values()).read_raw([3], [5], FRAMES)
    assert all(isinstance(part, torch.Tensor) for part in raw)
    assert raw.codes.dtype == torch.uint8 and raw.codes.numel() == FRAMES * DIM  # a byte an element
    np.testing.assert_array_equal(dequantise(RawChunks(**raw._asdict())), dequantise(raw))


def test_decompression_does_not_depend_on_the_batch(tmp_path):
    scp = _write(tmp_path, 2, (40,) * 11)
    reader = FrameReader(scp.values())
    batch = dequantise(reader.read_raw(range(11), [3] * 11, FRAMES))
    for index in range(11):
        np.testing.assert_array_equal(batch[index], dequantise(reader.read_raw([index], [3], FRAMES))[0])


@pytest.mark.parametrize("start", [-1, 2, 21, 1000])
def test_a_chunk_outside_the_utterance_is_refused(tmp_path, start):
    scp = _write(tmp_path, 2)
    with pytest.raises(InputError, match=f"'a1' in .*a.ark:.*: frames {start} to {start + 20} are wanted of 21"):
        FrameReader(scp.values(), scp).read_raw([0, 1], [0, start], FRAMES)


def test_lengths_that_the_ark_does_not_have_are_named_when_met(tmp_path):
    scp = _write(tmp_path, 2)
    reader = FrameReader(scp.values(), scp, [20, 21, 64, 200, 40])
    reader.read_raw([0], [0], FRAMES)
    with pytest.raises(InputError, match="'a3' in .*it is 133 x 7 .CM., not 200 frames of dimension 7"):
        reader.read_raw([3], [0], FRAMES)


def test_matrices_of_several_dimensions_are_named(tmp_path):
    specs = {**_write(tmp_path, 2), **_write(tmp_path, 2, (30,), "b", dim=8)}
    with pytest.raises(InputError, match="'b0' in .*30 x 8 .CM., not any number of frames of dimension 7"):
        FrameReader(specs.values(), specs)


def test_vectors_and_empty_lists_are_refused(tmp_path):
    with ArkWriter(tmp_path / "v.ark", tmp_path / "v.scp") as ark:
        ark.write("v", np.ones(20))
    with pytest.raises(InputError, match="v.ark:2: it is 20 x 0 .FV., not a matrix with frames"):
        FrameReader(read_scp(tmp_path / "v.scp").values())
    with pytest.raises(InputError, match="the list is empty"):
        FrameReader([])


def test_more_arks_than_may_be_open_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr("wespk.io.frames._MOST_MAPPED", 2)
    specs = [next(iter(_write(tmp_path, 2, (30,), f"m{n}").values())) for n in range(5)]
    reader = FrameReader(specs)
    for n in (0, 4, 2, 0, 1, 3, 3):
        np.testing.assert_array_equal(reader.read(n), read_array(specs[n]))
    assert len(reader._maps) == 2
