"""Reading, finding and naming trial lists."""

import shutil

import pytest

from wespk.corpora import voxceleb_trials
from wespk.corpora.voxceleb_trials import find_lists, pick_lists, read_list, utterance_id
from wespk.utils.errors import InputError

GOOD = b"1 id10270/x6uYqmx31kE/00001.wav id10270/8jEAjG6SegY/00008.wav\n"
OTHER = b"0 id10270/x6uYqmx31kE/00001.wav id10300/ize_eiCFEg0/00003.wav\n"


def written(folder, data, name="veri_test.txt"):
    (folder / name).write_bytes(data)
    return str(folder / name)


@pytest.mark.parametrize(
    "file",
    [
        "id10270/x6uYqmx31kE/00001.wav",
        "id10270/x6uYqmx31kE/00001.m4a",
        "id10270/x6uYqmx31kE/00001",
        "test/wav/id10270/x6uYqmx31kE/00001.flac",
        "id10270-x6uYqmx31kE-00001",
    ],
)
def test_files_become_kaldi_ids(file):
    assert utterance_id(file) == "id10270-x6uYqmx31kE-00001"


def test_sessions_may_hold_dashes_at_either_end():
    assert utterance_id("id10001/-x6u-mx31k-/00001.wav") == "id10001--x6u-mx31k--00001"


@pytest.mark.parametrize(
    "data",
    [
        GOOD + OTHER,
        (GOOD + OTHER).rstrip(),
        (GOOD + OTHER).replace(b"\n", b"\r\n"),
        (GOOD + OTHER).replace(b"\n", b"\r\n").rstrip(),
        b"\xef\xbb\xbf" + GOOD + OTHER + b"\n\n",
        (GOOD + OTHER).replace(b".wav", b".m4a").replace(b" ", b"\t"),
        b"id10270/x6uYqmx31kE/00001.wav id10270-8jEAjG6SegY-00008 target\n%s nontarget"
        % b"id10270/x6uYqmx31kE/00001.wav id10300-ize_eiCFEg0-00003",
    ],
)
def test_every_form_in_the_wild_reads_the_same(tmp_path, data):
    found = read_list(written(tmp_path, data))
    assert found.enroll == ["id10270-x6uYqmx31kE-00001"] * 2
    assert found.test == ["id10270-8jEAjG6SegY-00008", "id10300-ize_eiCFEg0-00003"]
    assert found.labels.tolist() == [1, 0] and found.labels.dtype == "int8"


@pytest.mark.parametrize(
    "line, message",
    [
        (b"2 id10270/a/1.wav id10270/b/1.wav\n", "is no trial"),
        (b"1 id10270/a/1.wav\n", "is no trial"),
        (b"\n", "is no trial"),
        (b"1 A.J._Buckley/a/1.wav id10270/b/1.wav\n", "'A.J._Buckley/a/1.wav' is not of the form"),
        (b"1 id10270/1.wav id10270/b/1.wav\n", "'id10270/1.wav' is not of the form"),
        (b"0 id10270/a/1.wav id10270/b/1.wav\n", "label says two speakers"),
        (b"1 id10270/a/1.wav id10271/b/1.wav\n", "label says one speaker"),
    ],
)
def test_a_bad_line_is_named(tmp_path, line, message):
    with pytest.raises(InputError, match=r"veri_test.txt:2: .*" + message.replace(".", r"\.")):
        read_list(written(tmp_path, GOOD + line + OTHER))


def test_an_empty_list_is_refused(tmp_path):
    with pytest.raises(InputError, match="veri_test.txt:1: '' is no trial"):
        read_list(written(tmp_path, b""))


def test_a_published_name_needs_the_published_number_of_trials(tmp_path, monkeypatch):
    path = written(tmp_path, GOOD + OTHER)
    assert read_list(path).name == "veri_test"
    monkeypatch.setitem(voxceleb_trials.PUBLISHED_LISTS, "veri_test.txt", ("vox1_O", 2))
    assert read_list(path).name == "vox1_O"
    assert read_list(written(tmp_path, GOOD + OTHER, "other.txt")).name == "other"


@pytest.mark.parametrize(
    "file, name, trials, targets",
    [
        ("veri_test.txt", "vox1_O", 37720, 18860),
        ("veri_test2.txt", "vox1_O_cleaned", 37611, 18802),
        ("veri_test2_crlf.txt", "veri_test2_crlf", 37611, 18802),
        ("vox1_O_cleaned.kaldi", "vox1_O_cleaned", 37611, 18802),
    ],
)
def test_the_real_lists_read_whole(real_speech, file, name, trials, targets):
    found = read_list(real_speech / "lists" / file)
    assert (found.name, len(found.labels), int(found.labels.sum())) == (name, trials, targets)
    assert found.test[-1] == "id10296-Y-qKARMSO7k-00001"


def test_lists_are_found_by_their_names_only(tmp_path):
    for name in ("veri_test.txt", "veri_test_words.txt", "list_test_hard2.txt", "notes.txt", "xlist_test_all.txt"):
        written(tmp_path, GOOD, name)
    assert {item.name for item in find_lists([str(tmp_path)])} == {"veri_test", "veri_test_words", "list_test_hard2"}


def test_one_list_in_two_roots_counts_once_and_two_lists_of_one_name_are_refused(tmp_path):
    a, b = tmp_path / "a", tmp_path / "b"
    a.mkdir()
    written(a, GOOD)
    shutil.copytree(a, b)
    assert len(find_lists([str(a), str(b)])) == 1
    written(b, GOOD + OTHER)
    with pytest.raises(InputError, match="are different lists of one name; say with --lists"):
        find_lists([str(a), str(b)])


def test_lists_are_picked_by_name_file_name_or_path(tmp_path):
    written(tmp_path, GOOD)
    path = written(tmp_path, OTHER, "mine.lst")
    found, folders = find_lists([str(tmp_path)]), [str(tmp_path)]

    def names(text):
        return [item.name for item in pick_lists(found, text, folders)]

    assert names("") == names("veri_test") == names("veri_test.txt") == ["veri_test"]
    assert names(f"veri_test, {path}") == ["veri_test", "mine"]
    assert names("none") == []
    with pytest.raises(InputError, match="no list 'veri_tset' .did you mean 'veri_test'"):
        names("veri_tset")
    with pytest.raises(InputError, match=r"no trial list \(veri_test\*.txt, list_test_\*.txt\) in .*--lists"):
        pick_lists([], "", folders)


def test_two_picked_lists_of_one_name_are_refused(tmp_path):
    (tmp_path / "sub").mkdir()
    written(tmp_path, GOOD)
    other = written(tmp_path / "sub", OTHER)
    with pytest.raises(InputError, match="have one name; rename one"):
        pick_lists(find_lists([str(tmp_path)]), f"veri_test,{other}", [str(tmp_path)])


MODELS = b"someone id10270/x6uYqmx31kE/00001.wav id10270-x6uYqmx31kE-00002\nother id10300/ize_eiCFEg0/00003.wav\n"
OF_MODELS = b"1 someone id10270/8jEAjG6SegY/00008.wav\n0 someone id10300/ize_eiCFEg0/00001.wav\n"


def test_a_map_beside_a_list_makes_its_enrolments_of_several_utterances(tmp_path):
    written(tmp_path, MODELS, "mine.map")
    found = read_list(written(tmp_path, OF_MODELS, "mine.txt"))
    assert found.enroll == ["someone"] * 2 and found.labels.tolist() == [1, 0]
    assert found.models == {"someone": ["id10270-x6uYqmx31kE-00001", "id10270-x6uYqmx31kE-00002"]}  # the only one used


@pytest.mark.parametrize("models, trials, message", [
    (MODELS, OF_MODELS + GOOD, r"mine.txt:3: 'id10270/x6uYqmx31kE/00001.wav' has no line in .*mine.map"),
    (MODELS, b"1 other id10270/8jEAjG6SegY/00008.wav\n", "mine.txt:1: the label says one speaker"),
    (MODELS + b"lone\n", OF_MODELS, "mine.map:3: 'lone' names no utterance"),
    (MODELS + MODELS, OF_MODELS, "mine.map:3: 'someone' stands there before"),
    (b"someone id10270/a/1.wav id10271/a/1.wav\n", OF_MODELS, "mine.map:1: 'someone' is made of .*, of two speakers"),
    (b"someone 00001.wav\n", OF_MODELS, "mine.map:1: '00001.wav' is not of the form"),
    (MODELS, OF_MODELS + b"1 other id10300/ize_eiCFEg0/00003.wav\n",
     "mine.txt:3: 'id10300/ize_eiCFEg0/00003.wav' is one of the utterances of 'other'"),
    (b"someone id10270/a/1.wav id10270/b/1.wav id10270/a/1.flac\n", OF_MODELS, "mine.map:1: .* is made of id10270-a-1 more than"),
])  # fmt: skip
def test_a_map_that_does_not_fit_is_named(tmp_path, models, trials, message):
    written(tmp_path, models, "mine.map")
    with pytest.raises(InputError, match=message):
        read_list(written(tmp_path, trials, "mine.txt"))
