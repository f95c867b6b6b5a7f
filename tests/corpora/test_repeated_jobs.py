"""A job of stage 2 that is run again: done already, or done anew because something is not as it was."""

import hashlib
import os

import pytest

from tests.corpora.feature_folders import burst, conf, make_audio, make_data, make_noises
from tools import stage_mark
from wespk.corpora import features
from wespk.corpora.features import compute_job
from wespk.corpora.merge_features import merge_jobs
from wespk.io.tables import read_table, write_table
from wespk.utils.errors import InputError

COPIES = {"speeds": [0.9], "kinds": ["noise"]}
FIRST = "id10001-session-00000"


@pytest.fixture
def data(tmp_path):
    """A data folder of 4 utterances whose first of two jobs has been run, copies and VAD included."""
    folder = make_data(tmp_path / "train", 4)
    make_noises(tmp_path)
    run(folder)
    return folder


def run(data, job=1, num_jobs=2, **changes):
    whole = conf({"vad": True}, COPIES)
    for section, values in changes.items():
        whole[section].update(values)
    noises = data.parent / "musan", data.parent / "rirs"
    return compute_job(data, whole, data / "feats", job, num_jobs, *noises, with_copies=True)


def was_done_again(data, **changes):
    mark = data / "feats" / "job.1.json"
    before = mark.stat().st_mtime_ns
    run(data, **changes)
    return mark.stat().st_mtime_ns != before


def test_a_job_that_is_done_is_not_done_again_and_says_so(data, monkeypatch):
    said = []
    monkeypatch.setattr(features.get_logger(), "info", lambda text, *words: said.append(text % words))
    monkeypatch.setattr(features, "read_audio", None)
    counts = run(data)
    assert counts["utterances"] == 2 and counts["copies"] == 4
    assert said == [f"job 1 of 2 is done already; remove {data}/feats/job.1.json to do it again"]


def test_after_a_failed_job_the_others_are_kept_and_the_whole_is_merged(data):
    before = (data / "feats" / "feats.1.ark").stat().st_mtime_ns
    path = data / "audio" / "id10002-session-00000.wav"
    sound = path.read_bytes()
    path.write_bytes(b"")
    with pytest.raises(InputError, match="is empty"):
        run(data, job=2)
    path.write_bytes(sound)
    for job in (1, 2):
        run(data, job)
    merge_jobs(data, data / "feats", 2)
    assert (data / "feats" / "feats.1.ark").stat().st_mtime_ns == before
    assert len(read_table(data / "feats.scp")) == 4 and len(read_table(data.parent / "train_aug" / "feats.scp")) == 12


def test_a_change_to_another_jobs_share_does_not_matter(data):
    make_audio(data / "audio", "id10002-session-00000", burst(1, 9))
    assert not was_done_again(data)


def _edit(name, key, value):
    return lambda data: write_table(data / name, {**read_table(data / name), key: value})


def _ark(change):
    return lambda data: change(data / "feats" / "copies_vad.1.ark")


@pytest.mark.parametrize("change", [
    _edit("utt2spk", FIRST, "another"),
    _edit("wav.scp", FIRST, "cat {} |"),
    lambda data: make_audio(data / "audio", FIRST, burst(0.6, 5)),
    lambda data: os.utime(data / "audio" / f"{FIRST}.wav"),
    lambda data: write_table(data / "segments", {u: f"{u} 0 0.5" for u in read_table(data / "wav.scp")}),
    lambda data: write_table(data.parent / "musan" / "noise.scp", {"a": data / "audio" / f"{FIRST}.wav"}),
    lambda data: (data / "feats" / "feats.1.scp").unlink(),
    _ark(lambda path: os.truncate(path, 50)),
    _ark(lambda path: path.write_bytes(b"x" * path.stat().st_size)),
    lambda data: (data / "feats" / "job.1.json").write_text('{"num_jobs": 2'),
], ids=["speaker", "table", "audio", "audio time", "segments", "noises", "gone", "cut", "overwritten", "mark"])
def test_a_job_whose_inputs_or_files_have_changed_is_done_again(data, change):
    path = read_table(data / "wav.scp")[FIRST]
    change(data)
    table = (data / "wav.scp").read_text().replace("{}", path)
    (data / "wav.scp").write_text(table)
    assert was_done_again(data) and not was_done_again(data)


@pytest.mark.parametrize("changes", [
    {"num_jobs": 3}, {"features": {"num_mel_bins": 25}}, {"features": {"vad": False}}, {"copies": {"noise_snr": [3, 9]}},
])
def test_a_job_asked_for_with_other_options_is_done_again(data, changes):
    assert was_done_again(data, **changes) and not was_done_again(data, **changes)


def test_a_moved_folder_is_computed_again_as_its_tables_hold_absolute_paths(data):
    moved = data.with_name("moved")
    data.rename(moved)
    for name, path in read_table(moved / "wav.scp").items():
        _edit("wav.scp", name, path.replace(str(data), str(moved)))(moved)
    assert was_done_again(moved)


def test_unfinished_files_of_a_killed_job_are_removed_by_its_next_run_and_by_no_other(data):
    folder = data / "feats"
    names = [".feats.{}.ark.123.tmp", ".copies_vad.{}.scp.77.tmp", ".utt2num_frames.{}.5.tmp", ".job.{}.json.5.tmp"]
    for job in (2, 3):
        for name in names:
            (folder / name.format(job)).write_text("unfinished")
    (folder / ".notes.2.tmp").write_text("not ours")
    run(data, job=2)
    assert sorted(path.name for path in folder.glob(".*")) == sorted([".notes.2.tmp", *(n.format(3) for n in names)])
    merge_jobs(data, folder, 2)
    assert [path.name for path in folder.glob(".*")] == [".notes.2.tmp"]


def test_arks_made_again_are_known_again_by_the_digest_in_the_jobs_mark(data):
    ark, mark = data / "feats" / "feats.1.ark", data / "feats" / "job.1.json"
    run(data)
    first, before = stage_mark.noted_digest(ark, ark.stat()), ark.stat().st_mtime_ns
    mark.unlink()
    run(data)
    assert ark.stat().st_mtime_ns != before and stage_mark.noted_digest(ark, ark.stat()) == first
    assert first == hashlib.blake2b(ark.read_bytes(), digest_size=16).hexdigest()
    ark.touch()
    assert stage_mark.noted_digest(ark, ark.stat()) is None
