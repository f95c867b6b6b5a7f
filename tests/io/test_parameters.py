"""Kaldi's vectors, matrices and PLDA models, each alone in a file."""

import base64
import json

import numpy as np
import pytest

from tests.conftest import ROOT
from wespk.io.parameters import read_array64, read_plda, write_array64, write_plda
from wespk.utils.errors import InputError

GOLDEN = json.loads((ROOT / "tests" / "golden" / "kaldi_plda.json").read_text())


@pytest.fixture
def kaldi(tmp_path):
    """Kaldi's binary model on disk."""
    (tmp_path / "plda").write_bytes(base64.b64decode(GOLDEN["plda_binary"]))
    return tmp_path / "plda"


def test_a_binary_model_is_written_as_kaldi_wrote_it_byte_for_byte(kaldi, tmp_path):
    write_plda(tmp_path / "again", *read_plda(kaldi))
    assert (tmp_path / "again").read_bytes() == kaldi.read_bytes()


def test_kaldis_text_form_is_the_binary_model_to_its_seven_digits(kaldi, tmp_path):
    (tmp_path / "text").write_text(GOLDEN["plda_text"])
    for found, expected in zip(read_plda(tmp_path / "text"), read_plda(kaldi)):
        assert found == pytest.approx(expected, rel=1e-6)


def test_our_text_form_loses_nothing_and_is_laid_out_as_kaldis(kaldi, tmp_path):
    write_plda(tmp_path / "text", *read_plda(kaldi), text=True)
    for found, expected in zip(read_plda(tmp_path / "text"), read_plda(kaldi)):
        assert np.array_equal(found, expected)
    ours, kaldis = ((tmp_path / "text").read_text().split("\n"), GOLDEN["plda_text"].split("\n"))
    assert ours[0].startswith("<Plda>  [ ") and ours[1] == " [" and ours[-1] == "</Plda> "
    assert len(ours) == len(kaldis) and [len(line.split()) for line in ours] == [len(line.split()) for line in kaldis]


@pytest.mark.parametrize("text", [False, True])
@pytest.mark.parametrize("shape", [(3,), (1, 3), (3, 1), (1, 1), (4, 3)])
def test_vectors_and_matrices_come_back_with_their_shape(tmp_path, shape, text):
    array = np.random.default_rng(0).normal(size=shape)
    write_array64(tmp_path / "file", array, text)
    found = read_array64(tmp_path / "file")
    assert found.dtype == np.float64 and np.array_equal(found, array)


def test_single_precision_is_read_too(tmp_path):
    (tmp_path / "file").write_bytes(b"\0BFV \4\2\0\0\0" + np.array([1.5, -2], "<f4").tobytes())
    assert read_array64(tmp_path / "file").tolist() == [1.5, -2]


@pytest.mark.parametrize("spoil", [
    lambda data: data[:-400], lambda data: data + b"x", lambda data: b"",
    lambda data: data.replace(b"<Plda>", b"<Pldb>"), lambda data: data.replace(b"DV ", b"XV "),
    lambda data: data.replace(b"</Plda>", b""),
])  # fmt: skip
def test_a_file_that_is_no_whole_model_is_named(kaldi, spoil):
    kaldi.write_bytes(spoil(kaldi.read_bytes()))
    with pytest.raises(InputError, match=r"plda: is not a PLDA model as Kaldi writes it .*train it again"):
        read_plda(kaldi)


def test_text_of_another_form_is_named(tmp_path):
    for text in ("<Plda>  [ 1 2 ]\n</Plda> ", " [ 1 x ]\n", "<Plda>  [ 1 2 ]\n [\n 1 2\n 1]\n [ 1 2 ]\n</Plda> "):
        (tmp_path / "plda").write_text(text)
        with pytest.raises(InputError, match="is not a PLDA model"):
            read_plda(tmp_path / "plda")


def test_sizes_that_do_not_fit_and_nan_are_refused(tmp_path):
    write_plda(tmp_path / "plda", np.ones(2), np.eye(3), np.ones(2))
    with pytest.raises(InputError, match=r"not mean \(2,\), transform \(3, 3\)"):
        read_plda(tmp_path / "plda")
    write_array64(tmp_path / "vector", np.array([1, np.nan]))
    with pytest.raises(InputError, match="NaN"):
        read_array64(tmp_path / "vector")
    with pytest.raises(InputError, match="no such file"):
        read_array64(tmp_path / "nowhere")
