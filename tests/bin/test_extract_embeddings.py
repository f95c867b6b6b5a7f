"""The stage 4 command: options, both inputs, VAD, and what it refuses."""

import re
import shutil

import numpy as np
import pytest
import soundfile
import torch

from tests.embedding.tiny_networks import tiny_checkpoint, tiny_config, voice
from wespk.bin.embed import embed
from wespk.bin.extract_embeddings import extract_embeddings
from wespk.embedding.api import load_model
from wespk.features.front_end import FrontEnd
from wespk.io.ark import ArkWriter, read_vectors
from wespk.io.audio import read_audio
from wespk.io.tables import read_table, write_table
from wespk.utils.cli import main

LENGTHS = [1.0, 1.7, 0.8, 1.2, 1.1, 0.9]


@pytest.fixture(scope="module")
def exp(tmp_path_factory):
    """An experiment whose features keep their silence; ``exp-vad`` beside it drops it."""
    top = tmp_path_factory.mktemp("models")
    for name, vad in (("exp", False), ("exp-vad", True)):
        folder = top / name / "checkpoints"
        folder.mkdir(parents=True)
        torch.save(tiny_checkpoint(tiny_config(vad=vad)), folder / "average.pt")
    return top / "exp"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A data folder as stages 1 and 2 leave it, with plain float32 features and VAD decisions."""
    folder, front_end = tmp_path_factory.mktemp("data"), FrontEnd(tiny_config(vad=True)["features"])
    waves, frames = {}, {}
    with (ArkWriter(folder / "feats.ark", folder / "feats.scp") as feats,
          ArkWriter(folder / "vad.ark", folder / "vad.scp") as vad):
        for number, seconds in enumerate(LENGTHS):
            key = f"spk{number % 2}-rec-{number}"
            waves[key] = folder / f"{key}.wav"
            quiet = np.zeros(8000, np.float32) + 1e-4 * np.random.default_rng(number).standard_normal(8000)
            soundfile.write(waves[key], np.concatenate([quiet, voice(seconds, seed=number)]), 16000)
            found, speech = front_end.many_with_speech([read_audio(str(waves[key]))[0]])[0]
            feats.write(key, found)
            vad.write(key, speech.float())
            frames[key] = len(found)
    write_table(folder / "wav.scp", waves)
    write_table(folder / "utt2dur", {k: len(read_audio(str(p))[0]) / 16000 for k, p in waves.items()})
    write_table(folder / "utt2num_frames", frames)
    write_table(folder / "utt2spk", {k: k.split("-")[0] for k in waves})
    return folder


def run(capsys, expect=0, **options):
    """Run the command; returns what it printed on stdout, or on stderr if it is to fail with status ``expect``."""
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    if not expect:
        main(extract_embeddings, words)
        return capsys.readouterr().out
    with pytest.raises(SystemExit) as stopped:
        main(extract_embeddings, words)
    assert stopped.value.code == expect
    return capsys.readouterr().err


def test_jobs_then_merging_give_every_utterance_and_speaker(exp, data, tmp_path, capsys):
    out, done = tmp_path / "out", 0
    for job in (1, 2, 3):
        said = run(capsys, exp=exp, data=data, out=out, job=job, num_jobs=3, device="cpu")
        words = rf"job {job} of 3: (\d) of 6 utterances embedded into {out}/xvector.{job}.scp\n"
        done += int(re.fullmatch(words, said)[1])
    assert done == 6
    said = run(capsys, data=data, out=out, num_jobs=3, merge="true", speaker_means="true")
    assert said == f"6 embeddings of 3 job(s) in {out}/xvector.scp; means of 2 speakers in {out}/spk_xvector.scp\n"
    keys, rows = read_vectors(out / "xvector.scp")
    assert keys == sorted(read_table(data / "wav.scp")) and rows.shape == (6, 16)
    assert read_vectors(out / "spk_xvector.scp")[0] == ["spk0", "spk1"]


def test_speaker_means_follow_the_table_that_is_given(exp, data, tmp_path, capsys):
    words = {"data": data, "out": tmp_path / "out", "merge": "true", "speaker_means": "true", "utt2spk": tmp_path / "utt2spk"}
    keys = sorted(read_table(data / "wav.scp"))
    write_table(tmp_path / "utt2spk", {key: "a" if key in keys[::2] else "b" for key in keys} | {"sp0.9-copy": "c"})
    run(capsys, exp=exp, data=data, out=tmp_path / "out", device="cpu")
    assert "means of 2 speakers" in run(capsys, **words)
    found, means = read_vectors(tmp_path / "out" / "spk_xvector.scp")
    rows = read_vectors(tmp_path / "out" / "xvector.scp")[1]
    assert found == ["a", "b"]
    np.testing.assert_allclose(means, [rows[::2].mean(0), rows[1::2].mean(0)], rtol=0, atol=1e-6)
    write_table(tmp_path / "utt2spk", dict.fromkeys(keys[1:], "a"))
    assert f"utt2spk: no speaker for '{keys[0]}'" in run(capsys, 1, **words)


@pytest.mark.parametrize("name", ["exp", "exp-vad"])
def test_features_waves_and_the_python_interface_agree(exp, data, tmp_path, capsys, name):
    exp = exp.with_name(name)
    found = {}
    for source in ("feats", "waves"):
        run(capsys, exp=exp, data=data, out=tmp_path / source, input=source, device="cpu")
        run(capsys, data=data, out=tmp_path / source, merge="true")
        found[source] = read_vectors(tmp_path / source / "xvector.scp")[1]
    waves = read_table(data / "wav.scp")
    found["api"] = load_model(exp).embed_many(waves[key] for key in sorted(waves))
    np.testing.assert_allclose(found["waves"], found["feats"], rtol=0, atol=1e-5)
    np.testing.assert_allclose(found["api"], found["feats"], rtol=0, atol=1e-5)


def test_silence_is_dropped_exactly_when_the_model_says_so(exp, data, tmp_path, capsys):
    found = {}
    for name in ("exp", "exp-vad"):
        run(capsys, exp=exp.with_name(name), data=data, out=tmp_path / name / "out", device="cpu")
        found[name] = read_vectors(tmp_path / name / "out" / "xvector.1.scp")[1]
    assert np.abs(found["exp"] - found["exp-vad"]).max() > 1e-2
    bare = shutil.copytree(data, tmp_path / "bare")
    (bare / "vad.scp").unlink()
    run(capsys, exp=exp, data=bare, out=tmp_path / "out", device="cpu")
    said = run(capsys, 1, exp=exp.with_name("exp-vad"), data=bare, out=tmp_path / "out", device="cpu")
    assert "vad.scp: no such file" in said


def test_a_named_checkpoint_goes_before_the_experiments_own(exp, data, tmp_path, capsys):
    torch.save(tiny_checkpoint(tiny_config(), seed=5), tmp_path / "other.pt")
    run(capsys, exp=exp, data=data, out=tmp_path / "own", device="cpu")
    run(capsys, exp=exp, data=data, out=tmp_path / "named", checkpoint=tmp_path / "other.pt", device="cpu")
    own, named = (read_vectors(tmp_path / name / "xvector.1.scp")[1] for name in ("own", "named"))
    assert np.abs(own - named).max() > 1e-2


def test_the_embed_command_agrees_with_stage_4_and_takes_piped_audio(exp, data, tmp_path, capsys):
    run(capsys, exp=exp, data=data, out=tmp_path / "out", device="cpu")
    keys, rows = read_vectors(tmp_path / "out" / "xvector.1.scp")
    write_table(tmp_path / "wav.scp", {k: f"cat {v} |" for k, v in read_table(data / "wav.scp").items()})
    main(embed, ["--model", str(exp), "--scp", str(tmp_path / "wav.scp"), "--out", str(tmp_path / "x.scp")])
    found_keys, found = read_vectors(tmp_path / "x.scp")
    assert found_keys == keys
    np.testing.assert_allclose(found, rows, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("options", "message"), [
    ({"input": "audio"}, "--input takes feats or waves, not 'audio'"),
    ({"num_jobs": 0}, "--num-jobs must be 1 or more, not 0"),
    ({"job": 3, "num_jobs": 2}, "--job 3 is not among 1..2"),
    ({"speaker_means": "true"}, "--speaker-means true works on merged embeddings"),
    ({"utt2spk": "table", "merge": "true"}, "--utt2spk is read for --speaker-means true alone"),
    ({"exp": ""}, "name the model: --exp FOLDER, or --checkpoint FILE"),
    ({"exp": "/nowhere"}, "/nowhere: no such experiment folder"),
    ({"device": "cuda:99"}, "--device cuda:99"),
    ({"max_frames": -1}, "must be 0 (chosen by device) or more"),
    ({"num_workers": -1}, "--num-workers must be 0 or more, not -1"),
    ({"threads": -2}, "--threads must be 0 or more, not -2"),
])
def test_options_that_cannot_be_honoured_stop_with_one_line(exp, data, tmp_path, capsys, options, message):
    said = run(capsys, 1, **{"exp": exp, "data": data, "out": tmp_path / "out", "device": "cpu", **options})
    assert message in said.splitlines()[-1] and not (tmp_path / "out").exists()
