"""Whatever has happened to an ark, a reader gives the right frames or an InputError with the key, never less."""

import numpy as np
import pytest

from wespk.io.ark import ArkWriter, read_array, read_scp, read_vectors
from wespk.io.frames import FrameReader, dequantise
from wespk.utils.errors import InputError

_LENGTHS = (9, 4, 11)


def _write(folder, compress, vectors=False):
    draw = np.random.default_rng(0)
    with ArkWriter(folder / "a.ark", folder / "a.scp", compress=compress) as ark:
        for number, length in enumerate(_LENGTHS):
            ark.write(f"k{number}", draw.normal(size=3 if vectors else (length, 3)))
    scp = read_scp(folder / "a.scp")
    return scp, {key: read_array(spec) for key, spec in scp.items()}


def _ends(scp, size):
    """The byte after each object: where the next key begins."""
    starts = [int(spec.rpartition(":")[2]) for spec in scp.values()]
    return [start - len("k0 ") for start in starts[1:]] + [size]


@pytest.mark.parametrize("compress", [0, 2, 3, 5])
def test_an_ark_cut_at_any_byte_gives_whole_matrices_or_names_the_key(tmp_path, compress):
    scp, whole = _write(tmp_path, compress)
    content = (tmp_path / "a.ark").read_bytes()
    ends = _ends(scp, len(content))
    for kept in range(len(content)):
        (tmp_path / "a.ark").write_bytes(content[:kept])
        for (key, spec), end in zip(scp.items(), ends, strict=True):
            if end <= kept:
                np.testing.assert_array_equal(read_array(spec, key), whole[key])
                continue
            with pytest.raises(InputError, match=f"'{key}'.*{tmp_path}/a.ark"):
                read_array(spec, key)
            with pytest.raises(InputError, match=f"'{key}'.*{tmp_path}/a.ark"):
                FrameReader([spec], [key])


def test_vectors_cut_at_any_byte_name_the_key(tmp_path):
    scp, _ = _write(tmp_path, False, vectors=True)
    content = (tmp_path / "a.ark").read_bytes()
    for kept in range(len(content)):
        (tmp_path / "a.ark").write_bytes(content[:kept])
        with pytest.raises(InputError, match="'k[012]'.*a.ark"):
            read_vectors(scp)


@pytest.mark.parametrize("compress", [0, 2, 3, 5])
def test_an_ark_that_shrinks_after_the_index_was_made_is_met_at_reading(tmp_path, compress):
    scp, _ = _write(tmp_path, compress)
    reader = FrameReader(scp.values(), scp, _LENGTHS)
    (tmp_path / "a.ark").write_bytes((tmp_path / "a.ark").read_bytes()[:-1])
    reader = FrameReader(scp.values(), scp, _LENGTHS)
    reader.read_raw([0, 1], [0, 0], 4)
    with pytest.raises(InputError, match="'k2' in .*a.ark:.*truncated"):
        reader.read_raw([0, 2], [0, 0], 4)


@pytest.mark.parametrize("compress", [0, 2, 3, 5])
def test_a_damaged_header_gives_an_input_error_or_a_matrix_never_a_crash(tmp_path, compress):
    scp, _ = _write(tmp_path, compress)
    content = (tmp_path / "a.ark").read_bytes()
    refused = 0
    for position in range(3, 26):
        for value in (0, 1, 32, 127, 128, 255):
            damaged = bytearray(content)
            damaged[position] = value
            (tmp_path / "a.ark").write_bytes(damaged)
            try:
                with np.errstate(all="ignore"):
                    dequantise(FrameReader([scp["k0"]], ["k0"]).read_raw([0], [0], 3))
            except InputError as error:
                assert "'k0'" in str(error)
                refused += 1
    assert refused > 40  # mark, token and sizes; a changed value range cannot be seen


@pytest.mark.parametrize("compress, at, value, message", [
    (0, 5, 8, "sizes at byte 3 are not 4-byte integers"),
    (0, 9, 255, "negative size"),
    (0, 6, 10, "truncated"),
    (2, 16, 255, "negative size"),
    (2, 4, 90, "unknown object"),
    (2, 0, 90, "do not belong together"),
])
def test_each_field_of_a_header_is_checked(tmp_path, compress, at, value, message):
    scp, _ = _write(tmp_path, compress)
    content = bytearray((tmp_path / "a.ark").read_bytes())
    content[3 + at] = value
    (tmp_path / "a.ark").write_bytes(content[: int(scp["k1"].rpartition(":")[2])])
    with pytest.raises(InputError, match=f"'k0' in .*{message}"):
        read_array(scp["k0"], "k0")


def test_an_scp_of_another_ark_is_named(tmp_path):
    scp, _ = _write(tmp_path, 2)
    with ArkWriter(tmp_path / "a.ark", tmp_path / "b.scp", compress=2) as ark:
        ark.write("another", np.random.default_rng(0).normal(size=(50, 3)))
    for key, spec in scp.items():
        with pytest.raises(InputError, match=f"'{key}' .*the scp and the ark do not belong together"):
            read_array(spec, key)


def test_a_missing_and_an_empty_ark_are_named(tmp_path):
    scp, _ = _write(tmp_path, 2)
    (tmp_path / "a.ark").write_bytes(b"")
    with pytest.raises(InputError, match="'k1'.*a.ark: is empty"):
        read_array(scp["k1"], "k1")
    (tmp_path / "a.ark").unlink()
    with pytest.raises(InputError, match="'k1'.*a.ark: no such file"):
        read_array(scp["k1"], "k1")
    with pytest.raises(InputError, match="'k0' in .*a.ark: no such file"):
        FrameReader(scp.values(), scp)


def test_a_range_in_an_scp_is_refused_not_ignored(tmp_path):
    scp, _ = _write(tmp_path, 2)
    with pytest.raises(InputError, match="a range of rows or columns is not supported"):
        read_array(scp["k0"] + "[0:3]")
