"""Arks: read back by us and by tools we did not write, written by them and read by us; misuse is named."""

import os
import tracemalloc

import kaldi_native_io
import kaldiio
import numpy as np
import pytest

from wespk.io import ark
from wespk.io.ark import ArkWriter, merge_scp, read_array, read_scp, read_vectors
from wespk.io.tables import write_table
from wespk.utils.errors import InputError


def _matrices(count=6, dim=13):
    draw = np.random.default_rng(3)
    return {f"utt{n}": draw.normal(size=(20 + n, dim)).astype(np.float32) for n in range(count)}


def _write(folder, arrays, compress=False):
    with ArkWriter(folder / "a.ark", folder / "a.scp", compress=compress) as ark:
        for key, array in arrays.items():
            ark.write(key, array)
    return read_scp(folder / "a.scp")


def test_plain_matrices_are_read_back_exactly_by_three_readers(tmp_path):
    matrices = _matrices()
    scp = _write(tmp_path, matrices)
    native = kaldi_native_io.RandomAccessFloatMatrixReader(f"scp:{tmp_path}/a.scp")
    python = kaldiio.load_scp(str(tmp_path / "a.scp"))
    for key, matrix in matrices.items():
        np.testing.assert_array_equal(read_array(scp[key]), matrix)
        np.testing.assert_array_equal(native[key], matrix)
        np.testing.assert_array_equal(python[key], matrix)


@pytest.mark.parametrize("compress", [True, 1, 2, 3, 4, 5, 6, 7])
def test_compressed_matrices_are_read_alike_by_three_readers(tmp_path, compress):
    matrices = _matrices()
    scp = _write(tmp_path, matrices, compress)
    native = kaldi_native_io.RandomAccessFloatMatrixReader(f"scp:{tmp_path}/a.scp")
    python = kaldiio.load_scp(str(tmp_path / "a.scp"))
    for key in matrices:
        np.testing.assert_array_equal(read_array(scp[key]), native[key])
        np.testing.assert_allclose(read_array(scp[key]), python[key], atol=5e-3)  # kaldiio rounds method 4 otherwise


def test_vectors_are_read_back_exactly_by_three_readers(tmp_path):
    vectors = {key: matrix[0] for key, matrix in _matrices().items()}
    _write(tmp_path, vectors, compress=2)  # vectors are never compressed
    native = kaldi_native_io.RandomAccessFloatVectorReader(f"scp:{tmp_path}/a.scp")
    python = kaldiio.load_scp(str(tmp_path / "a.scp"))
    keys, found = read_vectors(tmp_path / "a.scp")
    for key, row in zip(keys, found, strict=True):
        for value in (row, native[key], python[key]):
            np.testing.assert_array_equal(value, vectors[key])


def test_the_ark_can_be_read_front_to_back_without_the_scp(tmp_path):
    matrices = _matrices()
    _write(tmp_path, matrices, 2)
    with kaldi_native_io.SequentialFloatMatrixReader(f"ark:{tmp_path}/a.ark") as reader:
        assert [key for key, _ in reader] == list(matrices)


def test_double_text_and_integer_objects_of_other_tools_are_read(tmp_path):
    matrix = _matrices()["utt1"]
    for form, writer, value in (
        ("ark,t", kaldi_native_io.FloatMatrixWriter, matrix),
        ("ark", kaldi_native_io.DoubleMatrixWriter, matrix.astype(np.float64)),
        ("ark,t", kaldi_native_io.FloatVectorWriter, matrix[0]),
        ("ark", kaldi_native_io.DoubleVectorWriter, matrix[0].astype(np.float64)),
        ("ark", kaldi_native_io.Int32VectorWriter, [1, 0, 1]),
    ):
        with writer(f"{form},scp:{tmp_path}/b.ark,{tmp_path}/b.scp".replace("ark,t,scp", "ark,scp,t")) as ark:
            ark.write("k", value)
        found = read_array(read_scp(tmp_path / "b.scp")["k"])
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, value, rtol=1e-6)


def test_arrays_read_can_be_changed(tmp_path):
    scp = _write(tmp_path, _matrices())
    read_array(scp["utt0"])[0, 0] = 1


def test_the_scp_is_sorted_and_holds_absolute_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with ArkWriter("a.ark", "a.scp") as ark:
        for key in ("b", "a", "B"):
            ark.write(key, np.ones(3))
    scp = read_scp("a.scp")
    assert list(scp) == ["B", "a", "b"]
    assert all(spec.startswith(f"{tmp_path}/a.ark:") for spec in scp.values())


def test_nothing_is_visible_before_the_end_and_nothing_after_a_failure(tmp_path):
    with pytest.raises(RuntimeError), ArkWriter(tmp_path / "a.ark", tmp_path / "a.scp") as ark:
        ark.write("a", np.ones((2, 3)))
        assert not (tmp_path / "a.ark").exists() and not (tmp_path / "a.scp").exists()
        raise RuntimeError
    assert not list(tmp_path.iterdir())


def test_a_failed_rewrite_leaves_the_old_pair(tmp_path):
    scp = _write(tmp_path, _matrices())
    with pytest.raises(InputError), ArkWriter(tmp_path / "a.ark", tmp_path / "a.scp") as ark:
        ark.write("a", np.ones((2, 3)))
        ark.write("a", np.ones((2, 3)))
    assert read_scp(tmp_path / "a.scp") == scp
    np.testing.assert_array_equal(read_array(scp["utt5"]), _matrices()["utt5"])
    assert sorted(os.listdir(tmp_path)) == ["a.ark", "a.scp"]


@pytest.mark.parametrize("key, array, message", [
    ("a b", np.ones(2), "'a b' cannot be a key"),
    ("", np.ones(2), "cannot be a key"),
    ("k", np.ones((0, 3)), "'k': shape .0, 3. cannot be stored"),
    ("k", np.ones((2, 0)), "'k': shape .2, 0. cannot be stored"),
    ("k", np.float32(1), "'k': shape .. cannot be stored"),
    ("k", np.ones((2, 2, 2)), "'k': shape .2, 2, 2. cannot be stored"),
    ("k", np.array([[1, np.nan]]), "'k' holds NaN or infinite"),
    ("k", np.array([1e39]), "'k' holds NaN or infinite"),
    ("old", np.ones(2), "'old' is written twice"),
])
def test_what_cannot_be_stored_is_named(tmp_path, key, array, message):
    writer = ArkWriter(tmp_path / "a.ark", tmp_path / "a.scp", compress=2)
    with np.errstate(over="ignore"), pytest.raises(InputError, match=message), writer as ark:
        ark.write("old", np.ones(2))
        ark.write(key, array)


@pytest.mark.parametrize("compress", [8, -1, 99])
def test_an_unknown_compression_method_is_refused(tmp_path, compress):
    with pytest.raises(InputError, match="method 1 to 7"):
        ArkWriter(tmp_path / "a.ark", tmp_path / "a.scp", compress=compress)


def test_objects_are_read_through_commands_whose_failure_counts(tmp_path):
    scp = _write(tmp_path, {"k": np.ones((2, 3))})
    (tmp_path / "one").write_bytes((tmp_path / "a.ark").read_bytes()[int(scp["k"].rpartition(":")[2]) :])
    np.testing.assert_array_equal(read_array(f"cat {tmp_path}/one |"), np.ones((2, 3)))
    np.testing.assert_array_equal(read_array(str(tmp_path / "one")), np.ones((2, 3)))
    np.testing.assert_array_equal(read_array("echo '[ 1 2 3 ]' |"), [1, 2, 3])
    for command in (f"cat {tmp_path}/one; exit 3 |", f"(cat {tmp_path}/one; exit 3) | cat |"):
        with pytest.raises(InputError, match="'k'.*failed with status 3"):
            read_array(command, "k")


def test_vectors_come_in_the_order_asked_for(tmp_path):
    _write(tmp_path, {f"k{n}": np.full(4, n) for n in range(9)})
    keys, found = read_vectors(tmp_path / "a.scp", ["k7", "k0", "k7"])
    assert keys == ["k7", "k0", "k7"] and found[:, 0].tolist() == [7, 0, 7] and found.dtype == np.float32


@pytest.mark.parametrize("at_once", [2, 4096])
def test_vectors_of_every_kind_and_of_several_arks_are_read_as_one_by_one(tmp_path, monkeypatch, at_once):
    monkeypatch.setattr(ark, "_AT_ONCE", at_once)
    draw = np.random.default_rng(0)
    table = {}
    for name in "ba":
        with ArkWriter(tmp_path / f"{name}.ark", tmp_path / f"{name}.scp") as writer:
            for number in range(5):  # keys of several lengths, so that vectors lie at uneven distances
                writer.write(f"{name}{10**number}", draw.normal(size=6))
        table.update(read_scp(tmp_path / f"{name}.scp"))
    double = b"\0BDV \4" + (6).to_bytes(4, "little") + draw.normal(size=6).tobytes()
    (tmp_path / "mixed").write_bytes((tmp_path / "a.ark").read_bytes() + b"double " + double)
    table["in a mixed ark"] = f"{tmp_path}/mixed:{(tmp_path / 'a.ark').stat().st_size + 7}"
    table["beside it"] = table["a10"].replace("a.ark", "mixed")
    (tmp_path / "text").write_text("key [ 1 2 3 4 5 6 ]\n")
    table |= {"text": f"{tmp_path}/text:4", "command": f"tail -c {len(double)} {tmp_path}/mixed |"}
    keys, found = read_vectors(table)
    assert keys == list(table) and found.dtype == np.float32
    np.testing.assert_array_equal(found, [read_array(spec) for spec in table.values()])


def test_vectors_that_are_missing_or_unlike_are_named(tmp_path):
    scp = _write(tmp_path, {"a": np.ones(4), "b": np.ones(5), "c": np.ones((2, 2))})
    for keys, message in ((["a", "z"], "has no 'z'"), (["a", "b"], "'b' in .*'a' is a vector of 4"),
                          (["a", "c"], "'c' in .*shape .2, 2."), ([], "the list is empty")):
        with pytest.raises(InputError, match=message):
            read_vectors(tmp_path / "a.scp", keys)
        with pytest.raises(InputError, match=message):
            read_vectors(scp, keys)


def test_parts_are_merged_sorted_and_counted(tmp_path):
    write_table(tmp_path / "1", {"b": "x:1", "d": "x:2"})
    write_table(tmp_path / "2", {"a": "y:1"})
    assert merge_scp([tmp_path / "1", tmp_path / "2"], tmp_path / "out", ["a", "b", "d"]) == 3
    assert (tmp_path / "out").read_text() == "a y:1\nb x:1\nd x:2\n"


@pytest.mark.parametrize("second, expected, message", [
    ({"b": "y:1"}, ["a", "b"], "2: 'b' is also in .*1"),
    ({"c": "y:1"}, ["a", "b", "c", "d", "e"], "out: 'd' is missing .*2 such"),
    ({"c": "y:1"}, ["a", "b"], "out: 'c' was not asked for"),
    ({"b": "y:1"}, ["a"], "2: 'b' is also in .*1"),
])
def test_parts_that_do_not_add_up_are_named_and_not_merged(tmp_path, second, expected, message):
    write_table(tmp_path / "1", {"a": "x:1", "b": "x:2"})
    write_table(tmp_path / "2", second)
    with pytest.raises(InputError, match=message):
        merge_scp([tmp_path / "1", tmp_path / "2"], tmp_path / "out", expected)
    assert not (tmp_path / "out").exists()


def test_merging_takes_little_memory_beside_the_keys_it_is_given(tmp_path):
    keys = [f"id10001-x6uYqmx31kE-{number:06d}-noise" for number in range(20000)]
    for part in range(20):
        values = {key: f"/some/where/data/train/feats/copies.{part}.ark:123456789" for key in keys[part::20]}
        write_table(tmp_path / str(part), values)
    tracemalloc.start()
    try:
        merge_scp([tmp_path / str(part) for part in range(20)], tmp_path / "out", keys)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak / len(keys) < 230  # bytes; a second dict, or a set of the keys, adds fifty or more


def test_a_part_that_was_never_written_is_named(tmp_path):
    with pytest.raises(InputError, match="feats.3.scp: no such file"):
        merge_scp([tmp_path / "feats.3.scp"], tmp_path / "out", ["a"])
