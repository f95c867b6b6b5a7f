"""What is found in CN-Celeb's folders, under both protocols, and what is refused."""

import shutil

import numpy as np
import pytest

from tests.corpora.conftest import write_wav
from wespk.corpora import cnceleb_files, cnceleb_lists
from wespk.corpora.cnceleb import cnceleb
from wespk.corpora.prepare import prepare
from wespk.io.data_dir import validate
from wespk.io.tables import read_spk2utt, read_table, read_trials
from wespk.utils.errors import InputError

TRAIN = [f"id{n:05d}" for n in range(4)]
EVALUATED = ("id00800", "id00801")
PARTS = ["singing-01-001", "live_broadcast-02-001"]
TESTS = ["interview-01-003", "interview-02-001"]


@pytest.fixture
def root(tmp_path):
    """CN-Celeb1 as ``CN-Celeb_flac`` in a parent folder: 4 training speakers, 2 evaluated; the lists say .wav."""
    top, names = tmp_path / "parent" / "CN-Celeb_flac", iter(range(1, 1000))

    def sound(path):
        write_wav(path, 0.1 + next(names) / 100)  # no two files alike

    for speaker in (*TRAIN, *EVALUATED):
        for stem in PARTS:
            sound(top / "data" / speaker / f"{stem}.flac")
    for speaker in EVALUATED:
        sound(top / f"eval/enroll/{speaker}-enroll.flac")
        for stem in TESTS:
            sound(top / f"eval/test/{speaker}-{stem}.flac")
    lists = top / "eval" / "lists"
    lists.mkdir()
    (top / "dev").mkdir()
    (top / "dev" / "dev.lst").write_text("".join(f"{speaker}\n" for speaker in TRAIN))
    (lists / "enroll.lst").write_text("".join(f"{s}-enroll enroll/{s}-enroll.wav\n" for s in EVALUATED))
    (lists / "enroll.map").write_text("".join(f"{s}-enroll {s}/{PARTS[0]}.wav {s}/{PARTS[1]}.wav\n" for s in EVALUATED))
    pairs = [(a, b, stem) for a in EVALUATED for b in EVALUATED for stem in TESTS]
    (lists / "trials.lst").write_text("".join(f"{a}-enroll test/{b}-{s}.wav {int(a == b)}\n" for a, b, s in pairs))
    return top


def add_cnceleb2(parent, speakers=("id10000", "id10001")):
    for speaker in speakers:
        write_wav(parent / "CN-Celeb2_flac" / "data" / speaker / "vlog-01-001.wav")
    (parent / "CN-Celeb2_flac" / "spk.lst").write_text("".join(f"{speaker}\n" for speaker in speakers))
    return str(parent)


def change(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def refused(match, **options):
    with pytest.raises(InputError, match=match):
        cnceleb(**options)


def test_the_same_is_found_from_the_top_folder_and_from_its_parent(root):
    found, same = cnceleb(cnceleb1=str(root)), cnceleb(cnceleb1=str(root.parent))
    assert (found.train, found.eval) == (same.train, same.eval)
    assert sorted({u.speaker for u in found.train.values()}) == TRAIN and len(found.train) == 8
    one = found.train["id00000-live_broadcast-02-001"]
    assert one[:2] + one[3:] == ("id00000", "live_broadcast-02", "live_broadcast")
    assert one.path == f"{root}/data/id00000/live_broadcast-02-001.flac"
    assert found.notes == []


def test_both_protocols_have_the_same_trials_and_only_the_averaged_one_says_of_what(root):
    joined, averaged = cnceleb(cnceleb1=str(root)).trials
    assert (joined.name, averaged.name) == ("cnceleb_concat", "cnceleb_avg")
    assert joined.enroll == averaged.enroll == ["id00800-enroll"] * 4 + ["id00801-enroll"] * 4
    assert joined.test == averaged.test == [f"{s}-{t}" for _ in EVALUATED for s in EVALUATED for t in TESTS]
    assert joined.labels.tolist() == averaged.labels.tolist() == [1, 1, 0, 0, 0, 0, 1, 1]
    assert joined.models == {}
    assert averaged.models == {f"{s}-enroll": [f"{s}-{part}" for part in PARTS] for s in EVALUATED}


def test_an_enrolment_has_the_genres_and_sessions_of_its_parts(root):
    found = cnceleb(cnceleb1=str(root)).eval
    assert sorted(found) == sorted(f"{s}-{rest}" for s in EVALUATED for rest in ("enroll", *PARTS, *TESTS))
    assert found["id00800-enroll"][1::2] == ("live_broadcast-02+singing-01", "live_broadcast+singing")
    assert found["id00800-enroll"].path == f"{root}/eval/enroll/id00800-enroll.flac"
    assert found["id00801-interview-02-001"][1::2] == ("interview-02", "interview")


def test_the_joined_protocol_alone_needs_no_parts(root):
    (root / "eval/lists/enroll.map").unlink()
    found = cnceleb(cnceleb1=str(root), trials="cnceleb_concat")
    assert [item.name for item in found.trials] == ["cnceleb_concat"]
    assert sorted(found.eval) == sorted(f"{s}-{rest}" for s in EVALUATED for rest in ("enroll", *TESTS))
    assert found.eval["id00800-enroll"][1::2] == ("enroll", "unknown")
    refused("enroll.map: no such file, and cnceleb_avg needs it: .*--trials cnceleb_concat", cnceleb1=str(root))


def test_cnceleb2_joins_the_training_set_and_trains_alone_without_trials(root):
    parent = add_cnceleb2(root.parent)
    both = cnceleb(cnceleb1=parent, cnceleb2=parent)
    assert sorted({u.speaker for u in both.train.values()}) == [*TRAIN, "id10000", "id10001"]
    alone = cnceleb(cnceleb2=parent, trials="none")
    assert sorted(alone.train) == ["id10000-vlog-01-001", "id10001-vlog-01-001"] and (alone.eval, alone.trials) == (
        {},
        [],
    )
    refused("the trials are those of CN-Celeb1: give --cnceleb1, or --trials none to train alone", cnceleb2=parent)


@pytest.mark.parametrize("end", ["", "\n\n", "\r\n"])
def test_other_line_ends_a_byte_order_mark_and_suffixes_do_no_harm(root, end):
    expected = cnceleb(cnceleb1=str(root))
    for path in (root / "dev/dev.lst", *(root / "eval/lists").iterdir()):
        text = path.read_text().replace(".wav", ".flac").rstrip("\n").replace("\n", end.strip("\n") + "\n")
        path.write_bytes(b"\xef\xbb\xbf" + (text + end).encode())
    found = cnceleb(cnceleb1=str(root))
    assert (found.train, found.eval) == (expected.train, expected.eval)
    assert [(t.enroll, t.test, t.models) for t in found.trials] == [
        (t.enroll, t.test, t.models) for t in expected.trials
    ]
    assert np.array_equal(found.trials[0].labels, expected.trials[0].labels)


def test_data_folders_hold_what_scoring_needs_and_are_valid(root, tmp_path):
    out = tmp_path / "data"
    prepare(cnceleb(cnceleb1=str(root)), str(out), 2, 1)
    assert read_trials(out / "eval/trials/cnceleb_avg").enroll[0] == "id00800-enroll"
    assert read_spk2utt(out / "eval/enroll_maps/cnceleb_avg")["id00801-enroll"] == [f"id00801-{part}" for part in PARTS]
    assert [path.name for path in (out / "eval/enroll_maps").iterdir()] == ["cnceleb_avg"]
    for name in ("train", "dev", "eval"):
        ids = list(read_table(out / name / "utt2spk"))
        assert ids == list(read_table(out / name / "utt2sess")) == list(read_table(out / name / "utt2genre"))
    assert validate(out / "eval", check_audio=False, train_dir=out / "train") == []
    prepare(cnceleb(cnceleb1=str(root), trials="cnceleb_concat"), str(out), 2, 1)
    assert not any((out / "eval/enroll_maps").iterdir())


@pytest.mark.parametrize(
    "name, old, new, message",
    [
        ("dev.lst", "id00001\n", "id00001 id00002\n", r"dev.lst:2: 'id00001 id00002' is not one speaker idNNNNN"),
        ("dev.lst", "id00001\n", "\n", r"dev.lst:2: no entry on this line"),
        ("dev.lst", "id00003", "id00800", r"enroll.lst:1: speaker id00800 is a training speaker too \(.*\); take"),
        ("enroll.lst", "id00801-enroll enroll/", "id00801-enroll x enroll/", r"enroll.lst:2: 3 fields"),
        ("enroll.lst", "id00801-enroll enroll", "id00800-enroll enroll", r"enroll.lst:2: .* stands on line 1"),
        ("enroll.lst", "enroll/id00801", "enroll/id00809", r"enroll.lst:2: no file .*/enroll/id00809-enroll \("),
        ("enroll.lst", "id00801-enroll enroll", "x-enroll enroll", r"'x-enroll' does not begin with a speaker"),
        ("enroll.map", "id00801/singing-01-001", "id00801/singing-01-009",
         r"enroll.map:2: no file .*id00801/singing-01-009 .*; complete the corpus, or give --trials cnceleb_concat"),
        ("enroll.map", "id00801/singing", "id00800/singing", r"enroll.map:2: '.*' is not a file of the speaker of"),
        ("enroll.map", "id00801-enroll id", "id00802-enroll id", r"enroll.map:2: 'id00802-enroll' is not in"),
        ("enroll.map", "id00801-enroll id00801/singing-01-001.wav id00801/live_broadcast-02-001.wav\n", "",
         r"enroll.map: no line for 'id00801-enroll' \(1 enrolments"),
        ("enroll.map", " id00801/singing-01-001.wav id00801/live_broadcast-02-001.wav", "",
         r"enroll.map:2: no file follows 'id00801-enroll'"),
        ("trials.lst", "id00801-interview-02-001.wav 0", "id00801-interview-02-001.wav", r"trials.lst:4: .* no trial"),
        ("trials.lst", "interview-01-003.wav 1", "interview-01-003.wav 2", r"trials.lst:1: .* is no trial; expected"),
        ("trials.lst", "interview-01-003.wav 1\n", "interview-01-003.wav 1\n\n", r"trials.lst:2: '' is no trial"),
        ("trials.lst", "interview-01-003.wav 1", "interview-01-003.wav 0", r"trials.lst:1: the label says two"),
        ("trials.lst", "id00801-enroll test/id00800-interview-01-003.wav 0",
         "id00801-enroll test/id00800-interview-09-003.wav 0", r"trials.lst:5: no file .*/id00800-interview-09-003 \("),
        ("trials.lst", "id00800-enroll test", "id00802-enroll test", r"trials.lst:1: the label says one speaker"),
        ("trials.lst", "id00800-enroll test/id00801", "id00802-enroll test/id00801",
         r"trials.lst:3: 'id00802-enroll' is not in .*enroll.lst"),
        ("trials.lst", "test/id00801-interview-01-003", "test/interview-01-003", r"trials.lst:3: 'interview-01-003' d"),
    ],
)  # fmt: skip
def test_a_bad_line_is_named(root, name, old, new, message):
    change(next(root.rglob(name)), old, new)
    refused(message, cnceleb1=str(root))


@pytest.mark.parametrize("name", ["dev.lst", "enroll.lst", "enroll.map", "trials.lst"])
def test_an_empty_list_is_named(root, name):
    next(root.rglob(name)).write_text("")
    refused(name, cnceleb1=str(root))


def test_a_list_that_is_not_there_is_named(root):
    (root / "eval/lists/trials.lst").unlink()
    refused("trials.lst: no such file; the corpus is not complete", cnceleb1=str(root))


@pytest.mark.parametrize("where", ["data/id00000", "eval/test"])
@pytest.mark.parametrize("stem", ["recording1", "singing-001", "01-01-001", "singing-01-001b"])
def test_a_name_without_genre_or_session_is_refused(root, where, stem):
    old = next((root / where).glob("*1.flac"))
    new = old.with_name(("id00801-" if "eval" in where else "") + f"{stem}.flac")
    old.rename(new)
    if "eval" in where:
        lists = root / "eval/lists/trials.lst"
        lists.write_text(f"id00801-enroll test/{new.stem}.wav 1\n")
    refused(f"{stem}.flac: the name does not say genre and session; rename the file to GENRE", cnceleb1=str(root))


def test_files_that_cannot_be_told_apart_or_named_are_refused(root):
    write_wav(root / "data/id00000/singing-01-001.wav")
    refused("two files for one utterance: .*001.flac and .*001.wav; keep one", cnceleb1=str(root))
    (root / "data/id00000/singing-01-001.wav").rename(root / "data/id00000/my singing-01-001.wav")
    refused("white space in a file name", cnceleb1=str(root))


def test_roots_that_are_not_the_corpus_are_named_with_what_was_looked_for(root, tmp_path):
    refused("corpus cnceleb needs --cnceleb1 or --cnceleb2")
    refused("--cnceleb1 .*nowhere: no such folder", cnceleb1=str(tmp_path / "nowhere"))
    refused("--cnceleb2 .*: no folder data and no spk.lst there, nor in a folder CN-Celeb", cnceleb2=str(root))
    shutil.copytree(root, root.with_name("CN-Celeb_wav"))
    refused("CN-Celeb_flac and .*CN-Celeb_wav both hold the corpus; give one", cnceleb1=str(root.parent))


def test_unknown_lists_are_refused(root):
    refused("no list 'cnceleb_average' .did you mean 'cnceleb_avg'.*has cnceleb_concat, cnceleb_avg",
            cnceleb1=str(root), trials="cnceleb_average")  # fmt: skip


def test_a_speaker_of_both_corpora_and_an_evaluated_speaker_of_the_second_are_refused(root):
    parent = add_cnceleb2(root.parent, ["id00002"])
    refused("speaker id00002 is in the CN-Celeb1 root as well", cnceleb1=parent, cnceleb2=parent)
    parent = add_cnceleb2(root.parent, ["id00801"])
    refused("enroll.lst:2: speaker id00801 is a training speaker too", cnceleb1=parent, cnceleb2=parent)


def test_a_few_absent_training_speakers_are_a_note_and_many_an_error(root, monkeypatch):
    shutil.rmtree(root / "data/id00002")
    refused(r"dev.lst:3: no folder .*id00002 \(1 of 4 speakers have none\); complete the corpus", cnceleb1=str(root))
    monkeypatch.setattr("wespk.corpora.cnceleb._INCOMPLETE", 0.3)
    assert cnceleb(cnceleb1=str(root)).notes == [f"{root}/dev/dev.lst: no folder for id00002; left out"]
    (root / "data/id00002").mkdir()
    refused("data/id00002: no .wav, .flac, .m4a file; complete the speaker", cnceleb1=str(root))


def test_what_is_nearly_complete_is_remarked_upon_with_what_is_missing(root, monkeypatch):
    for name, number in {"cnceleb1": 4.1, "enrolments": 2.1, "test files": 3.1, "trials": 6.1}.items():
        monkeypatch.setitem(cnceleb_files.PUBLISHED, name, number)
    lists = root / "eval/lists/trials.lst"
    lists.write_text(
        "".join(line for line in lists.read_text().splitlines(True) if "id00801-interview-02-001" not in line)
    )
    assert cnceleb(cnceleb1=str(root)).notes == [
        f"4 training speakers in {root}; published are 4.1",
        "3 test files in trials; published are 3.1; missing: id00801-interview-02-001",
        "2 enrolments in trials; published are 2.1",
        "6 trials; published are 6.1",
    ]


def test_a_part_that_is_a_test_file_too_is_remarked_upon(root):
    write_wav(root / f"eval/test/id00800-{PARTS[0]}.wav", 0.5)
    change(root / "eval/lists/trials.lst", f"test/id00800-{TESTS[0]}", f"test/id00800-{PARTS[0]}")
    found = cnceleb(cnceleb1=str(root))
    assert found.notes == [f"{root}/eval/lists/enroll.map: 1 of its files are test files too: id00800-{PARTS[0]}"]
    assert found.eval[f"id00800-{PARTS[0]}"].path.endswith(f"eval/test/id00800-{PARTS[0]}.wav")


def test_ids_of_a_long_list_are_held_once(tmp_path):
    path = tmp_path / "trials.lst"
    path.write_text("id00800-enroll test/id00800-a-1-1.wav 1\nid00801-enroll test/id00800-a-1-1.flac 0\n" * 500)
    trials = cnceleb_lists.read_trials(str(path))
    assert (len(trials.enroll), len(set(map(id, trials.enroll))), len(set(map(id, trials.test)))) == (1000, 2, 1)
    assert trials.enroll_lines == {"id00800-enroll": 1, "id00801-enroll": 2} and trials.test_lines == {"id00800-a-1-1": 1}
    assert trials.labels.sum() == 500


def test_real_speech_is_counted_whole(real_speech, tmp_path):
    report = prepare(cnceleb(cnceleb1=str(real_speech / "minicn")), str(tmp_path), 0, 1)
    assert report == [
        f"{tmp_path}/train: 71 speakers, 298 utterances, 0.33 hours",
        f"{tmp_path}/dev: none",
        f"{tmp_path}/eval: 26 speakers, 291 utterances, 0.38 hours",
        f"{tmp_path}/eval/trials/cnceleb_avg: 4862 trials, 187 targets",
        f"{tmp_path}/eval/trials/cnceleb_concat: 4862 trials, 187 targets",
    ]
    assert set(read_table(tmp_path / "train/utt2genre").values()) == {"speech", "recitation", "vlog"}
