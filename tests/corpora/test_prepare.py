"""From folders to data directories, through the command."""

import subprocess
import sys

import pytest

from wespk.corpora.prepare import prepare
from wespk.corpora.voxceleb import voxceleb
from wespk.io.tables import read_spk2utt, read_table, read_trials


def contents(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def run(*words):
    command = [sys.executable, "-m", "wespk.bin.prepare_corpus", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


def test_the_command_writes_sorted_whole_kaldi_folders(corpus, tmp_path):
    out = tmp_path / "data"
    status, said, error = run("--corpus", "voxceleb", "--out", out, "--voxceleb1", corpus, "--dev-speakers", 2)
    assert (status, error) == (0, "")
    assert said.splitlines() == [
        f"{out}/train: 4 speakers, 16 utterances, 0.00 hours",
        f"{out}/dev: 2 speakers, 8 utterances, 0.00 hours",
        f"{out}/dev/trials/dev: 16 trials, 8 targets",
        f"{out}/eval: 3 speakers, 4 utterances, 0.00 hours",
        f"{out}/eval/trials/veri_test: 3 trials, 1 targets",
    ]
    for name in ("train", "dev", "eval"):
        ids = list(read_table(out / name / "wav.scp"))
        assert ids == sorted(ids, key=str.encode)
        utt2spk = read_table(out / name / "utt2spk")
        assert list(utt2spk) == list(read_table(out / name / "utt2dur")) == ids
        assert all(i.startswith(f"{speaker}-") for i, speaker in utt2spk.items())
        spk2utt = read_spk2utt(out / name / "spk2utt")
        assert {i: s for s, members in spk2utt.items() for i in members} == utt2spk
        assert set(read_table(out / name / "utt2dur").values()) == {"0.1"}
    trials = read_trials(out / "eval/trials/veri_test")
    assert trials.enroll[0] == "id20001-aaaaaaaaaaa-00001" and trials.labels.tolist() == [1, 0, 0]
    assert set(trials.enroll) | set(trials.test) == set(read_table(out / "eval/wav.scp"))


def test_the_same_input_gives_the_same_bytes_and_the_seed_another_split(corpus, tmp_path):
    found = voxceleb(voxceleb1=str(corpus))
    for name, seed in (("a", 1), ("b", 1), ("c", 4)):
        prepare(found, str(tmp_path / name), 2, seed)
    prepare(found, str(tmp_path / "a"), 2, 1)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert contents(tmp_path / "a")["dev/wav.scp"] != contents(tmp_path / "c")["dev/wav.scp"]


def test_nothing_of_an_earlier_choice_is_left_to_be_taken_for_current(corpus, tmp_path):
    out = tmp_path / "data"
    prepare(voxceleb(voxceleb1=str(corpus)), str(out), 2, 1)
    (out / "eval" / "trials" / "old_list").write_text("a b target\n")
    (out / "dev" / "notes").write_text("mine\n")
    report = prepare(voxceleb(voxceleb1=str(corpus), trials="none"), str(out), 0, 1)
    assert report == [f"{out}/train: 6 speakers, 24 utterances, 0.00 hours", f"{out}/dev: none", f"{out}/eval: none"]
    left = {name for name in contents(out) if not name.startswith("train/")}
    assert left == {"dev/notes"}


def test_repeated_trials_are_kept_and_counted(corpus, tmp_path):
    with open(corpus / "veri_test.txt", "a") as file:
        file.write("0 id20001/aaaaaaaaaaa/00001.wav id20002/aaaaaaaaaaa/00001.wav\n")
    report = prepare(voxceleb(voxceleb1=str(corpus)), str(tmp_path / "data"), 0, 1)
    assert report[-1].endswith("veri_test: 4 trials, 1 targets, 1 repeated")


def test_a_refusal_is_one_line_and_leaves_nothing(corpus, tmp_path):
    out = tmp_path / "data"
    words = ("--corpus", "voxceleb", "--out", out, "--voxceleb1", corpus)
    for extra, text in (
        (("--dev-speakers", 6), "at most 4"),
        (("--musan", tmp_path / "nowhere"), "no such folder"),
        (("--rirs", tmp_path / "nowhere"), "no such folder"),
        (("--trials", "vox1_O"), "no list 'vox1_O'"),
    ):
        status, _, error = run(*words, *extra)
        assert status == 1 and text in error and len(error.splitlines()) == 1
        assert not out.exists()


@pytest.mark.parametrize("jobs", [1, 8])
def test_real_speech_is_counted_whole(real_speech, tmp_path, jobs):
    roots = ("--voxceleb1", real_speech / "minivox", "--musan", real_speech / "noise", "--rirs", real_speech / "rirs")
    status, said, _ = run("--corpus", "voxceleb", "--out", tmp_path, *roots, "--dev-speakers", 0, "--jobs", jobs)
    assert status == 0
    assert said.splitlines() == [
        f"{tmp_path}/train: 389 speakers, 1463 utterances, 1.60 hours",
        f"{tmp_path}/dev: none",
        f"{tmp_path}/eval: 193 speakers, 699 utterances, 0.67 hours",
        f"{tmp_path}/eval/trials/veri_test: 2650 trials, 1325 targets",
        f"{tmp_path}/eval/trials/veri_test_words: 288 trials, 144 targets",
        f"{tmp_path}/eval/trials/veri_test_xsession: 784 trials, 392 targets",
        f"{tmp_path}/musan: noise 34 files (0.10 hours), music 6 files (0.01 hours), speech 24 files (0.07 hours)",
        f"{tmp_path}/rirs: 128 impulse responses",
    ]


@pytest.mark.parametrize("held, warned", [(4, True), (3, False)])
def test_more_held_out_than_left_to_train_on_is_told(corpus, tmp_path, capsys, held, warned):
    prepare(voxceleb(voxceleb1=str(corpus)), str(tmp_path / "data"), held, 1)
    said = "--dev-speakers 4 holds out 16 utterances and leaves 8 to train on: give fewer, a tenth of the speakers for instance (of 6)"
    assert (said in capsys.readouterr().err) == warned


def test_a_check_of_the_options_writes_nothing(corpus, tmp_path):
    words = ("--corpus", "voxceleb", "--out", tmp_path / "data", "--check", "true", "--voxceleb1", corpus)
    assert run(*words) == (0, "", "") and not (tmp_path / "data").exists()
    status, _, error = run(*words, "--trials", "no_such_list")
    assert status == 1 and "no_such_list" in error
