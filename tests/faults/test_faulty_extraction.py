"""Stage 4 and the Python interface given what goes wrong in practice: one line that names it, and no half result."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import soundfile
import torch

from tests.embedding.tiny_networks import tiny_checkpoint, tiny_config, voice
from wespk.bin.compare import compare
from wespk.bin.extract_embeddings import extract_embeddings
from wespk.io.ark import ArkWriter, read_scp, read_vectors
from wespk.io.tables import read_table, write_table
from wespk.utils.cli import main

COUNT = 12


@pytest.fixture
def place(tmp_path):
    """tmp_path with model.pt, and data/ holding audio and features of 12 utterances."""
    torch.save(tiny_checkpoint(tiny_config()), tmp_path / "model.pt")
    data, rng = tmp_path / "data", np.random.default_rng(0)
    keys = [f"s{i % 3}-r-{i:02d}" for i in range(COUNT)]
    with ArkWriter(data / "feats.ark", data / "feats.scp", compress=2) as ark:
        for key in keys:
            ark.write(key, 3 * rng.standard_normal((rng.integers(40, 60), 80)) - 8)
    soundfile.write(data / "a.wav", voice(0.5), 16000)
    write_table(data / "wav.scp", dict.fromkeys(keys, data / "a.wav"))
    write_table(data / "utt2dur", dict.fromkeys(keys, 0.5))
    write_table(data / "utt2spk", {key: key.split("-")[0] for key in keys})
    return tmp_path


def words(place, **options):
    own = {"data": place / "data", "out": place / "out", "checkpoint": place / "model.pt", "device": "cpu"}
    return [word for name, value in (own | options).items() for word in (f"--{name}", str(value))]


def fails(command, capsys, line, status=1):
    """Assert that the command ends with ``status`` and one line on stderr; returns the line."""
    with pytest.raises(SystemExit) as stopped:
        main(command, line)
    said = [row for row in capsys.readouterr().err.splitlines() if ": error: " in row]
    assert stopped.value.code == status and len(said) == 1
    return said[0]


def results(place):
    """What an onlooker could take for a result in the output folder."""
    out = place / "out"
    return sorted(path.name for path in out.iterdir() if not path.name.startswith(".")) if out.exists() else []


def test_a_misspelt_option_stops_before_anything_is_read(place, capsys):
    said = fails(extract_embeddings, capsys, words(place, speaker_mean="true"), status=2)
    assert "unknown option --speaker-mean (did you mean 'speaker-means'?)" in said and not results(place)


@pytest.mark.parametrize(("file", "options", "message"), [
    ("data/feats.scp", {}, "data/feats.scp: no such file"),
    ("data/wav.scp", {"input": "waves"}, "data/wav.scp: no such file"),
    ("data/utt2dur", {"input": "waves"}, "data/utt2dur: no such file"),
    ("data/feats.ark", {}, "data/feats.ark"),
    ("model.pt", {}, "model.pt: no such experiment folder or checkpoint file"),
])
def test_a_stage_without_its_inputs_names_the_missing_file(place, capsys, file, options, message):
    (place / file).unlink()
    assert message in fails(extract_embeddings, capsys, words(place, **options)) and not results(place)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_truncated_ark_is_named_with_its_utterance(place, capsys, num_workers):
    ark = place / "data" / "feats.ark"
    os.truncate(ark, ark.stat().st_size - 1000)
    last = list(read_scp(place / "data" / "feats.scp"))[-1]
    said = fails(extract_embeddings, capsys, words(place, num_workers=num_workers))
    assert last in said and str(ark) in said and not results(place)


def test_an_scp_that_points_at_something_else_names_the_utterance(place, capsys):
    table = read_scp(place / "data" / "feats.scp")
    key = list(table)[4]
    write_table(place / "data" / "feats.scp", table | {key: f"{place}/data/feats.ark:7"})
    said = fails(extract_embeddings, capsys, words(place))
    assert key in said and "feats.ark:7" in said and not results(place)


def test_a_duplicate_utterance_is_named_with_its_line(place, capsys):
    path = place / "data" / "feats.scp"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([*lines, lines[3]]))
    said = fails(extract_embeddings, capsys, words(place))
    assert f"feats.scp:{COUNT + 1}: duplicate key '{lines[3].split()[0]}'" in said and not results(place)


@pytest.mark.parametrize(("content", "message"), [
    (np.zeros(0, np.float32), "no samples in it"),
    (np.full(8000, np.nan, np.float32), "is NaN or infinite"),
    (voice(0.5)[:500], "1 frames, but the model needs at least 9"),
    (voice(0.5)[:100], "0 frames, but the model needs at least 9"),
    (np.stack([voice(0.5)] * 2, axis=1), "2 channels"),
])
def test_audio_that_cannot_be_embedded_names_the_utterance(place, capsys, content, message):
    table = read_table(place / "data" / "wav.scp")
    key = list(table)[7]
    soundfile.write(place / "bad.wav", content, 16000, subtype="FLOAT")
    write_table(place / "data" / "wav.scp", table | {key: place / "bad.wav"})
    said = fails(extract_embeddings, capsys, words(place, input="waves"))
    assert key in said and message in said and not results(place)
    said = fails(compare, capsys, ["--model", str(place / "model.pt"), "--a", str(place / "bad.wav"), "--b",
                                   str(place / "data" / "a.wav")])
    assert "bad.wav" in said


def test_a_command_that_prints_audio_and_then_fails_is_not_believed(place, capsys):
    table = read_table(place / "data" / "wav.scp")
    key = list(table)[2]
    write_table(place / "data" / "wav.scp", table | {key: f"cat {place}/data/a.wav; exit 3 |"})
    said = fails(extract_embeddings, capsys, words(place, input="waves"))
    assert key in said and "3" in said and not results(place)


@pytest.mark.parametrize(("value", "message"), [(0.0, "its embedding is zero"), (3e38, "its embedding is not finite")])
def test_a_zero_or_overflowing_embedding_names_the_utterance(place, capsys, value, message):
    state = tiny_checkpoint(tiny_config())
    state["model"]["linear.weight"].fill_(value)
    state["model"]["linear.bias"].fill_(value)
    torch.save(state, place / "model.pt")
    said = fails(extract_embeddings, capsys, words(place))
    assert "utterance s" in said and message in said and not results(place)


@pytest.mark.parametrize("share", [0.2, 0.95])
def test_a_checkpoint_cut_short_is_never_loaded(place, capsys, share):
    path = place / "model.pt"
    os.truncate(path, int(path.stat().st_size * share))
    message = "model.pt is cut short or not a wespk checkpoint"
    assert message in fails(extract_embeddings, capsys, words(place)) and not results(place)
    wav = str(place / "data" / "a.wav")
    assert message in fails(compare, capsys, ["--model", str(path), "--a", wav, "--b", wav])


def test_a_failed_job_is_named_by_the_merge_and_its_rerun_repairs_it(place, capsys):
    for job in (1, 2, 4, 5, 6, 7):
        main(extract_embeddings, words(place, job=job, num_jobs=7, max_frames=60))
    merging = ["--data", str(place / "data"), "--out", str(place / "out"), "--num_jobs", "7", "--merge", "true"]
    said = fails(extract_embeddings, capsys, merging)
    assert "xvector.3.json is not there: job 3 of 7 failed or has not run" in said
    assert "xvector.scp" not in results(place)
    main(extract_embeddings, words(place, job=3, num_jobs=7, max_frames=60))
    main(extract_embeddings, merging)
    assert read_vectors(place / "out" / "xvector.scp")[0] == sorted(read_table(place / "data" / "utt2spk"))


@pytest.mark.parametrize("row", [np.zeros(16), np.full(16, 3e38)])
def test_embeddings_damaged_between_the_jobs_and_the_merge_are_refused(place, capsys, row):
    main(extract_embeddings, words(place))
    keys, rows = read_vectors(place / "out" / "xvector.1.scp")
    with ArkWriter(place / "out" / "xvector.1.ark", place / "out" / "xvector.1.scp") as ark:
        for key, vector in zip(keys, rows, strict=True):
            ark.write(key, row if key == keys[5] else vector)
    if row.any():  # NaN cannot be written by our own writer: put it there by hand
        damaged = (place / "out" / "xvector.1.ark").read_bytes().replace(np.float32(3e38).tobytes(), b"\0\0\xc0\x7f")
        (place / "out" / "xvector.1.ark").write_bytes(damaged)
    said = fails(extract_embeddings, capsys, words(place, merge="true"))
    assert f"utterance {keys[5]}: its embedding is" in said and "xvector.scp" not in results(place)


def start(place, shell, **options):
    """Run the command in a process of its own behind a line of bash; returns the process."""
    line = [sys.executable, "-m", "wespk.bin.extract_embeddings", *words(place, **options)]
    return subprocess.Popen(["bash", "-c", f'{shell}; exec "$@"', "bash", *line], stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True, start_new_session=True)


def test_a_full_disk_is_one_line_and_leaves_no_table(place):
    process = start(place, "ulimit -f 0")
    said = process.communicate()[1].splitlines()
    assert process.returncode == 1 and not results(place)
    assert ": error: " in said[-1] and "xvector.1" in said[-1] and not any(row.startswith("Traceback") for row in said)


def test_a_killed_job_leaves_no_table(place):
    table = read_table(place / "data" / "wav.scp")
    slow = f"touch {place}/reading; sleep 60; cat {place}/data/a.wav |"
    write_table(place / "data" / "wav.scp", table | {list(table)[-1]: slow})
    process = start(place, "true", input="waves")
    while not (place / "reading").exists() and process.poll() is None:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert (place / "reading").exists() and process.returncode == -signal.SIGKILL and not results(place)
