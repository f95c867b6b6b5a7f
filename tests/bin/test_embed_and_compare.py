"""The two commands over the Python interface."""

import numpy as np
import pytest
import soundfile
import torch

from tests.embedding.tiny_networks import tiny_checkpoint, tiny_config, voice
from wespk.bin.compare import compare
from wespk.bin.embed import embed
from wespk.embedding.api import load_model
from wespk.io.ark import read_vectors
from wespk.utils.cli import main


@pytest.fixture
def model(tmp_path):
    """A checkpoint file, with a.wav and b.wav beside it."""
    torch.save(tiny_checkpoint(tiny_config()), tmp_path / "model.pt")
    for seed, name in enumerate("ab"):
        soundfile.write(tmp_path / f"{name}.wav", voice(1.2, seed=seed), 16000)
    return tmp_path / "model.pt"


def test_one_file_becomes_a_npy_vector_or_a_table_of_one(model, tmp_path, capsys):
    expected = load_model(model).embed(tmp_path / "a.wav")
    main(embed, ["--model", str(model), "--wav", str(tmp_path / "a.wav"), "--out", str(tmp_path / "x.npy")])
    assert capsys.readouterr().out == f"1 embedding(s) of 16 values in {tmp_path}/x.npy\n"
    found = np.load(tmp_path / "x.npy")
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, expected)
    main(embed, ["--model", str(model), "--wav", str(tmp_path / "a.wav"), "--out", str(tmp_path / "x.scp")])
    keys, rows = read_vectors(tmp_path / "x.scp")
    assert keys == ["a"]
    np.testing.assert_array_equal(rows[0], expected)


def test_comparing_prints_the_cosine_alone(model, tmp_path, capsys):
    words = ["--model", str(model), "--a", str(tmp_path / "a.wav"), "--b", str(tmp_path / "b.wav")]
    main(compare, words)
    printed = float(capsys.readouterr().out)
    assert printed == pytest.approx(load_model(model).similarity(tmp_path / "a.wav", tmp_path / "b.wav"), abs=1e-8)
    np.save(tmp_path / "mean.npy", np.full(16, 0.1))
    main(compare, [*words, "--mean", str(tmp_path / "mean.npy")])
    assert abs(float(capsys.readouterr().out) - printed) > 1e-4


@pytest.mark.parametrize(("options", "message"), [
    ({"wav": "a.wav", "scp": "wav.scp"}, "give either --wav FILE or --scp TABLE"),
    ({}, "give either --wav FILE or --scp TABLE"),
    ({"wav": "a.wav", "out": "x.txt"}, "--out takes a name ending in .npy or .scp, not 'x.txt'"),
    ({"scp": "wav.scp", "out": "x.npy"}, "--out X.npy holds one embedding, without an id"),
    ({"wav": "c.wav"}, "c.wav: no such audio file"),
    ({"scp": "c.scp"}, "c.scp: no such file"),
])
def test_embed_refuses_in_one_line(model, tmp_path, capsys, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    options = {"model": model, "out": "x.scp", **options}
    with pytest.raises(SystemExit) as stopped:
        main(embed, [word for name, value in options.items() for word in (f"--{name}", str(value))])
    said = capsys.readouterr().err
    assert stopped.value.code == 1 and message in said and said.count("\n") == 1
    assert not (tmp_path / "x.scp").exists()


def test_a_bad_recording_in_a_table_is_named_and_nothing_is_written(model, tmp_path, capsys):
    soundfile.write(tmp_path / "short.wav", voice(0.05), 16000)
    (tmp_path / "wav.scp").write_text(f"good {tmp_path}/a.wav\nshort {tmp_path}/short.wav\n")
    with pytest.raises(SystemExit) as stopped:
        main(embed, ["--model", str(model), "--scp", str(tmp_path / "wav.scp"), "--out", str(tmp_path / "x.scp")])
    assert stopped.value.code == 1 and f"short ({tmp_path}/short.wav): 0.050 s is too short" in capsys.readouterr().err
    assert not (tmp_path / "x.scp").exists() and not (tmp_path / "x.ark").exists()
