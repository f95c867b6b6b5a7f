"""A whole data directory has no defect; each of the broken ones has the one that it was given, named by line."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile

from wespk.io import data_dir_contents
from wespk.io.ark import ArkWriter
from wespk.io.data_dir import validate
from wespk.io.defects import scan_table
from wespk.io.tables import spk2utt_of, write_table
from wespk.utils.log import get_logger

RATE = 16000
_IDS = ["id1-s-1", "id1-s-2", "id2-s-1", "id2-t-1"]


def _sound(number):
    return np.random.default_rng(number).normal(size=RATE // 10 * (number + 1)) * 0.1


@pytest.fixture
def data(tmp_path):
    """A valid directory of 2 speakers x 2 utterances: audio, features, VAD, trials."""
    folder = tmp_path / "data"
    folder.mkdir()
    for number, name in enumerate(_IDS):
        soundfile.write(tmp_path / f"{name}.wav", _sound(number), RATE, subtype="PCM_16")
    utt2spk = {name: name.split("-")[0] for name in _IDS}
    write_table(folder / "wav.scp", {name: tmp_path / f"{name}.wav" for name in _IDS})
    write_table(folder / "utt2spk", utt2spk)
    write_table(folder / "spk2utt", {s: " ".join(u) for s, u in spk2utt_of(utt2spk).items()})
    write_table(folder / "utt2dur", {name: 0.1 * (n + 1) for n, name in enumerate(_IDS)})
    write_table(folder / "utt2num_frames", {name: 8 + 10 * n for n, name in enumerate(_IDS)})
    for kind, shape in (("feats", (4,)), ("vad", ())):
        with ArkWriter(tmp_path / f"{kind}.ark", folder / f"{kind}.scp") as ark:
            for n, name in enumerate(_IDS):
                ark.write(name, np.ones((8 + 10 * n, *shape)))
    (folder / "trials").mkdir()
    trials = "id1-s-1 id1-s-2 target\nid1-s-1 id2-s-1 nontarget\nid2-s-1 id2-t-1 target\n"
    (folder / "trials" / "main").write_text(trials)
    return folder


def _replace(path, old, new):
    text = path.read_bytes()
    assert old.encode() in text
    path.write_bytes(text.replace(old.encode(), new if isinstance(new, bytes) else new.encode()))


def _table(name, old, new):
    return lambda data: _replace(data / name, old, new)


def _models(text):
    def write(data):
        (data / "enroll_maps").mkdir()
        (data / "enroll_maps" / "main").write_text(text)

    return write


def _audio(name, samples, rate=RATE, **options):
    return lambda data: soundfile.write(data.parent / f"{name}.wav", samples, rate, **options)


def _drop(name, line):
    def change(data):
        lines = (data / name).read_text().splitlines(keepends=True)
        del lines[line]
        (data / name).write_text("".join(lines))

    return change


def _other_matrix(content):
    def change(data):
        (data.parent / "other").write_bytes(b"\0B" + content)
        _replace(data / "feats.scp", "feats.ark:8\n", "other:0\n")

    return change


def _truncate(name, share):
    return lambda data: os.truncate(data.parent / name, int((data.parent / name).stat().st_size * share))


def _nan():
    samples = _sound(2)
    samples[5] = np.nan
    return samples


def _segments(text):
    def change(data):
        (data / "segments").write_text(text)
        rows = "".join(f"{name} {data.parent / name}.wav\n" for name in ("id1-s-1", "id2-s-1"))
        (data / "wav.scp").write_text(rows)

    return change


_GOOD_SEGMENTS = "id1-s-1 id1-s-1 0 0.04\nid1-s-2 id1-s-1 0.04 0.1\nid2-s-1 id2-s-1 0 0.1\nid2-t-1 id2-s-1 0.1 0.3\n"

# what is broken, and the whole beginning of the line that reports it ({data}: the directory, {root}: its parent)
_BROKEN = {
    "no utt2spk": (lambda data: (data / "utt2spk").unlink(), "{data}/utt2spk: no such file; "),
    "no spk2utt": (lambda data: (data / "spk2utt").unlink(), "{data}/spk2utt: no such file; "),
    "neither audio nor features": (
        lambda data: [(data / name).unlink() for name in ("wav.scp", "feats.scp")],
        "{data}/wav.scp: no such file, and no feats.scp either; ",
    ),
    "empty table": (lambda data: (data / "utt2dur").write_bytes(b""), "{data}/utt2dur: is empty; "),
    "blank line": (_table("wav.scp", "id1-s-2", "\nid1-s-2"), "{data}/wav.scp:2: blank line; remove it"),
    "key without value": (_table("utt2dur", "id2-s-1 ", "id2-s-1\n#"), "{data}/utt2dur:3: 'id2-s-1' has no value; "),
    "duplicate key": (
        _table("utt2dur", "id2-s-1", "id1-s-2"),
        "{data}/utt2dur:3: 'id1-s-2' is a duplicate of line 2; keep one",
    ),
    "not sorted": (
        lambda data: (data / "utt2dur").write_text("id1-s-2 0.2\nid1-s-1 0.1\nid2-s-1 0.3\nid2-t-1 0.4\n"),
        "{data}/utt2dur:2: 'id1-s-1' comes after 'id1-s-2': not sorted; LC_ALL=C sort -o ",
    ),
    "not UTF-8": (_table("utt2dur", "id2-s-1", b"id2\xe9"), "{data}/utt2dur:3: byte 0xe9 is not UTF-8; "),
    "CRLF": (
        _table("utt2spk", "\n", "\r\n"),
        "{data}/utt2spk:1: CRLF line end, which Kaldi's tools take for text; sed",
    ),
    "no last newline": (
        lambda data: _truncate("data/utt2spk", 0.99)(data),
        "{data}/utt2spk:4: the last line has no newline, ",
    ),
    "two speakers on a line": (
        _table("utt2spk", "id1-s-2 id1", "id1-s-2 id1 id2"),
        "{data}/utt2spk:2: 'id1-s-2' has the speaker 'id1 id2', ",
    ),
    "no speaker prefix": (
        lambda data: [
            _replace(data / "utt2spk", "id1-s-2 id1", "id1-s-2 x"),
            (data / "spk2utt").write_text("id1 id1-s-1\nid2 id2-s-1 id2-t-1\nx id1-s-2\n"),
        ],
        "{data}/utt2spk:2: 'id1-s-2' does not begin with its speaker 'x'; name it 'x-id1-s-2' in every table",
    ),
    "speakers sort otherwise than utterances": (
        lambda data: [
            _replace(data / "utt2spk", "id1-s-1 id1", "id1-s-1 id1-s"),
            (data / "spk2utt").write_text("id1 id1-s-2\nid1-s id1-s-1\nid2 id2-s-1 id2-t-1\n"),
        ],
        "{data}/utt2spk:2: 'id1-s-2' of speaker 'id1' comes after speaker 'id1-s'; ",
    ),
    "spk2utt lacks an utterance": (
        _table("spk2utt", " id1-s-2", ""),
        "{data}/utt2spk:2: 'id1-s-2' has no place in spk2utt; make spk2utt",
    ),
    "spk2utt has an unknown utterance": (
        _table("spk2utt", "id2-t-1", "id2-t-1 id2-z"),
        "{data}/spk2utt:2: 'id2' lists 'id2-z', which is not in utt2spk; ",
    ),
    "spk2utt has an utterance twice": (
        _table("spk2utt", "id2-t-1", "id2-t-1 id2-t-1"),
        "{data}/spk2utt:2: 'id2' lists 'id2-t-1', which is listed before",
    ),
    "spk2utt gives an utterance to another": (
        lambda data: (data / "spk2utt").write_text("id1 id1-s-1\nid2 id1-s-2 id2-s-1 id2-t-1\n"),
        "{data}/spk2utt:2: 'id2' lists 'id1-s-2', which utt2spk gives to 'id1'; ",
    ),
    "wav.scp lacks an utterance": (_drop("wav.scp", 1), "{data}/utt2spk:2: 'id1-s-2' has no line in wav.scp; "),
    "feats.scp lacks an utterance": (_drop("feats.scp", 3), "{data}/utt2spk:4: 'id2-t-1' has no line in feats.scp; "),
    "vad.scp lacks an utterance": (_drop("vad.scp", 0), "{data}/utt2spk:1: 'id1-s-1' has no line in vad.scp; "),
    "utt2dur has one too many": (
        _table("utt2dur", "id2-t-1", "id2-s-9 1\nid2-t-1"),
        "{data}/utt2dur:4: 'id2-s-9' is not in utt2spk; ",
    ),
    "duration that is no number": (
        _table("utt2dur", "id1-s-1 0.1", "id1-s-1 short"),
        "{data}/utt2dur:1: 'id1-s-1' has the value 'short', which is not a positive number of seconds; ",
    ),
    "length of no frames": (
        _table("utt2num_frames", "id1-s-1 8", "id1-s-1 0"),
        "{data}/utt2num_frames:1: 'id1-s-1' has the value '0', which is not a positive integer; ",
    ),
    "length other than the matrix": (
        lambda data: [_replace(data / "utt2num_frames", "id1-s-1 8", "id1-s-1 9"), (data / "vad.scp").unlink()],
        "{data}/feats.scp:1: 'id1-s-1' in {root}/feats.ark:8: 8 frames, but utt2num_frames says 9; compute it again",
    ),
    "truncated ark": (
        _truncate("feats.ark", 0.9),
        "{data}/feats.scp:4: 'id2-t-1' in {root}/feats.ark:941: truncated: byte 941 needs ",
    ),
    "offset past the end": (
        _table("feats.scp", ":8\n", ":800000\n"),
        "{data}/feats.scp:1: 'id1-s-1' in {root}/feats.ark:800000: offset 800000 lies at or past the end",
    ),
    "offset of something else": (
        _table("feats.scp", ":8\n", ":9\n"),
        "{data}/feats.scp:1: 'id1-s-1' in {root}/feats.ark:9: no matrix or vector begins",
    ),
    "matrix without frames": (
        _other_matrix(b"FM \4\0\0\0\0\4\0\0\0\0"),
        "{data}/feats.scp:1: 'id1-s-1' in {root}/other:0: no frames; compute it again (stage 2)",
    ),
    "matrices of two dimensions": (
        _other_matrix(b"FM \4\x08\0\0\0\4\5\0\0\0" + bytes(4 * 8 * 5)),
        "{data}/feats.scp:2: 'id1-s-2' in {root}/feats.ark:159: dimension 4, but 5 before; ",
    ),
    "missing ark": (
        lambda data: (data.parent / "vad.ark").rename(data.parent / "vad"),
        "{data}/vad.scp:1: 'id1-s-1' in {root}/vad.ark:8: {root}/vad.ark: no such file",
    ),
    "vector for a matrix": (
        _table("feats.scp", "feats.ark:8\n", "vad.ark:8\n"),
        "{data}/feats.scp:1: 'id1-s-1' in {root}/vad.ark:8: a FV object where a matrix belongs; ",
    ),
    "missing recording": (
        lambda data: (data.parent / "id1-s-2.wav").unlink(),
        "{data}/wav.scp:2: 'id1-s-2' {root}/id1-s-2.wav: no such file; fetch or convert it again",
    ),
    "empty recording": (
        _audio("id1-s-2", np.zeros(0)),
        "{data}/wav.scp:2: 'id1-s-2' {root}/id1-s-2.wav: no samples in it",
    ),
    "empty file": (_truncate("id1-s-2.wav", 0), "{data}/wav.scp:2: 'id1-s-2' {root}/id1-s-2.wav: is empty (0 bytes); "),
    "truncated recording": (
        _truncate("id2-s-1.wav", 0.5),
        "{data}/wav.scp:3: 'id2-s-1' {root}/id2-s-1.wav: truncated: its header promises 4800",
    ),
    "two channels": (
        _audio("id2-s-1", np.ones((4800, 2)) * 0.1),
        "{data}/wav.scp:3: 'id2-s-1' {root}/id2-s-1.wav: 2 channels where one",
    ),
    "NaN sample": (
        _audio("id2-s-1", _nan(), subtype="FLOAT"),
        "{data}/wav.scp:3: 'id2-s-1' {root}/id2-s-1.wav: sample 5 is NaN or ",
    ),
    "silence": (
        _audio("id2-s-1", np.zeros(4800)),
        "{data}/wav.scp:3: 'id2-s-1' {root}/id2-s-1.wav: every sample is zero; ",
    ),
    "other sample rate": (
        _audio("id2-s-1", _sound(2)[:2400], 8000),
        "{data}/wav.scp:3: 'id2-s-1' has 8000 samples a second, not 16000; ",
    ),
    "failing command": (
        lambda data: [
            _replace(data / "wav.scp", "id2-s-1 ", "id2-s-1 cat "),
            _replace(data / "wav.scp", "-s-1.wav\nid2-t", "-s-1.wav; exit 9 |\nid2-t"),
        ],
        "{data}/wav.scp:3: 'id2-s-1' `cat {root}/id2-s-1.wav; exit 9` failed with status 9; run it by hand",
    ),
    "duration other than the recording": (
        _audio("id2-t-1", _sound(9)),
        "{data}/wav.scp:4: 'id2-t-1' lasts 1.000 s, but utt2dur says 0.4 s; measure utt2dur",
    ),
    "one path for two": (
        _table("wav.scp", "id2-t-1.wav", "id2-s-1.wav"),
        "{data}/wav.scp:4: 'id2-t-1' has the same recording as 'id2-s-1'; give each id its own",
    ),
    "same content under two names": (
        _audio("id2-t-1", _sound(2), subtype="PCM_16"),
        "{data}/wav.scp:4: 'id2-t-1' has the same samples as 'id2-s-1'; drop one",
    ),
    "segment that ends before it starts": (
        _segments(_GOOD_SEGMENTS.replace("0.04 0.1", "0.1 0.04")),
        "{data}/segments:2: 'id1-s-2' has 'id1-s-1 0.1 0.04'; a line is utterance, recording, start, end, in seconds",
    ),
    "segment of an unknown recording": (
        _segments(_GOOD_SEGMENTS.replace("id2-t-1 id2-s-1", "id2-t-1 id2-x")),
        "{data}/segments:4: 'id2-t-1' lies in 'id2-x', which is not in wav.scp; ",
    ),
    "segment beyond the recording": (
        _segments(_GOOD_SEGMENTS.replace("0.1 0.3", "0.1 33")),
        "{data}/wav.scp:2: 'id2-s-1' lasts 0.300 s, but segment 'id2-t-1' ends at 33.0 s; ",
    ),
    "recording without segment": (
        _segments(_GOOD_SEGMENTS.replace("id2-s-1 0", "id1-s-1 0")),
        "{data}/wav.scp:2: 'id2-s-1' has no segment; ",
    ),
    "trial of an absent utterance": (
        _table("trials/main", "id1-s-2", "id1-s-3"),
        "{data}/trials/main:1: 'id1-s-3' is not in utt2spk; add the utterance",
    ),
    "no trial at all": (lambda data: (data / "trials/main").write_text(""), "{data}/trials/main: is empty; "),
    "a line that is no trial": (
        _table("trials/main", "nontarget", "0"),
        "{data}/trials/main:2: 'id1-s-1 id2-s-1 0' is not a trial; a trial is `enroll test target|nontarget`",
    ),
    "one class only": (_drop("trials/main", 1), "{data}/trials/main: has no nontarget trial; "),
    "label against the speakers": (
        _table("trials/main", "id2-t-1 target", "id2-t-1 nontarget"),
        "{data}/trials/main:3: 'id2-s-1 id2-t-1' is nontarget, but utt2spk says the speakers are 'id2' and 'id2'; ",
    ),
    "one pair with two labels": (
        _table("trials/main", "id2-s-1 id2-t-1 target", "id1-s-1 id1-s-2 nontarget"),
        "{data}/trials/main:3: 'id1-s-1 id1-s-2' is nontarget here and target on line 1; ",
    ),
    "trials not UTF-8": (
        _table("trials/main", "nontarget", b"\xff"),
        "{data}/trials/main: {data}/trials/main:2: byte 0xff is not UTF-8; ",
    ),
    "session of an absent utterance": (
        lambda data: (data / "utt2sess").write_text("id1-s-1 s\nid1-s-2 s\nid2-s-1 s\nid2-t-1 t\nid2-t-2 t\n"),
        "{data}/utt2sess:5: 'id2-t-2' is not in utt2spk; ",
    ),
    "genre missing": (
        lambda data: (data / "utt2genre").write_text("id1-s-1 vlog\nid1-s-2 vlog\nid2-s-1 vlog\n"),
        "{data}/utt2spk:4: 'id2-t-1' has no line in utt2genre; ",
    ),
    "enrolment made of an absent utterance": (
        _models("id1-s-1 id1-s-2 id1-s-9\n"),
        "{data}/enroll_maps/main:1: 'id1-s-1' is made of 'id1-s-9', which is not in utt2spk; ",
    ),
    "enrolment of two speakers": (
        _models("id1-model id1-s-1 id2-s-1\n"),
        "{data}/enroll_maps/main:1: 'id1-model' is made of utterances of several speakers: id1, id2; ",
    ),
}


def test_a_whole_directory_has_no_defect(data):
    assert validate(data, jobs=2) == []


def test_a_whole_directory_may_hold_averaged_enrolments_sessions_and_genres(data):
    _models("id1-s-1 id1-s-1 id1-s-2\nid2-s-1 id2-s-1 id2-t-1\n")(data)
    for name in ("utt2sess", "utt2genre"):
        (data / name).write_text("id1-s-1 s\nid1-s-2 s\nid2-s-1 s\nid2-t-1 t\n")
    assert validate(data) == []


def test_a_model_that_is_no_utterance_may_be_enrolled_and_is_of_its_parts_speaker(data):
    _models("model id1-s-1 id1-s-2\n")(data)
    (data / "trials" / "main").write_text("model id1-s-1 target\nmodel id2-s-1 nontarget\n")
    assert validate(data, check_audio=False) == []
    (data / "trials" / "main").write_text("model id2-s-1 target\nmodel model target\nid1-s-1 id2-s-1 nontarget\n")
    found = [(defect.line, defect.item, defect.message.split(",")[0]) for defect in validate(data, check_audio=False)]
    assert found == [(1, "model id2-s-1", "is target"), (2, "model", "is not in utt2spk"),
                     (3, "id1-s-1", "has no line in enroll_maps/main")]  # fmt: skip


def test_the_defects_of_a_trial_list_come_in_the_order_of_its_lines(data):
    (data / "trials" / "main").write_text(
        "id1-s-1 id1-s-9 target\nid1-s-1\nid1-s-1 id2-s-1 target\n"
        "id9-s-1 id9-s-1 nontarget\nid1-s-1 id2-s-1 nontarget\nid1-s-1 id1-s-2\n"
    )
    found = [(defect.line, defect.item, defect.message) for defect in validate(data, check_audio=False)]
    assert found == [
        (1, "id1-s-9", "is not in utt2spk"),
        (2, "", "'id1-s-1' is not a trial"),
        (3, "id1-s-1 id2-s-1", "is target, but utt2spk says the speakers are 'id1' and 'id2'"),
        (4, "id9-s-1", "is not in utt2spk"),
        (4, "id9-s-1", "is not in utt2spk"),
        (5, "id1-s-1 id2-s-1", "is nontarget here and target on line 3"),
    ]


def test_a_whole_directory_with_segments_has_no_defect(data):
    _segments(_GOOD_SEGMENTS)(data)
    (data / "utt2dur").unlink()
    assert validate(data) == []


@pytest.mark.parametrize("name", _BROKEN)
def test_a_broken_directory_is_reported_by_its_line(data, name):
    change, expected = _BROKEN[name]
    change(data)
    if (data / "segments").exists():
        (data / "utt2dur").unlink()
    lines = [str(defect) for defect in validate(data, jobs=2)]
    expected = expected.format(data=data, root=data.parent)
    assert [line for line in lines if line.startswith(expected)], lines
    assert all("; " in line and "\n" not in line for line in lines)  # each on one line, with its way out


def test_audio_is_left_alone_when_asked(data):
    (data.parent / "id1-s-2.wav").unlink()
    assert validate(data, check_audio=False) == []


def test_features_are_left_alone_when_asked(data):
    for ark in data.parent.glob("*.ark"):
        ark.unlink()
    with open(data / "utt2num_frames", "a") as file:
        file.write("nobody 7\n")
    assert validate(data) and validate(data, with_features=False) == []


def test_speakers_of_the_training_set_are_reported_once_each(data, tmp_path):
    train = tmp_path / "train"
    train.mkdir()
    (train / "utt2spk").write_text("id0-a id0\nid2-x id2\nid2-y id2\n")
    lines = [str(defect) for defect in validate(data, train_dir=train)]
    place = f"{train}/utt2spk:2"
    assert len(lines) == 1
    assert lines[0].startswith(f"{data}/utt2spk:3: 'id2-s-1' is of speaker 'id2', who is in training ({place}); take")


def test_all_defects_are_reported_not_only_the_first(data):
    for name in ("blank line", "truncated ark", "missing recording", "one class only"):
        _BROKEN[name][0](data)
    files = {Path(defect.file).name for defect in validate(data)}
    assert files == {"wav.scp", "feats.scp", "main"}


def test_a_missing_folder_is_reported(tmp_path):
    assert str(validate(tmp_path / "no")[0]).startswith(f"{tmp_path}/no: no such folder; ")


def test_many_threads_report_in_the_order_of_the_table(data):
    for name in _IDS:
        (data.parent / f"{name}.wav").unlink()
    assert [defect.item for defect in validate(data, jobs=4) if "no such file" in defect.message] == _IDS


def test_a_large_set_is_looked_at_in_blocks_and_the_log_says_how_far_it_is(tmp_path, monkeypatch):
    count, futures, said = 3000, [], []
    write_table(tmp_path / "wav.scp", {f"id1-{n:05d}": f"{n}.wav" for n in range(count)})
    submit = ThreadPoolExecutor.submit
    monkeypatch.setattr(ThreadPoolExecutor, "submit", lambda *words: futures.append(words) or submit(*words))
    monkeypatch.setattr(data_dir_contents, "_look", lambda spec: (RATE, RATE, spec, None))
    monkeypatch.setattr(data_dir_contents, "_REPORT", 1000)
    monkeypatch.setattr(get_logger(), "info", lambda text, *words: said.append(text % words))
    defects = []
    data_dir_contents.check_audio_files(scan_table(tmp_path / "wav.scp", defects), RATE, {}, {}, 2, defects)
    assert not defects and len(futures) <= count // 200
    assert said == [f"{tmp_path}/wav.scp: looked at {n} of 3000 recordings" for n in (1000, 2000, 3000)]
