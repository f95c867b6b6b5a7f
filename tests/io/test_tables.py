"""Tables, trial lists and score files: what is written is read back, and what is not clean is named by line."""

import subprocess

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wespk.io import tables
from wespk.io.tables import Trials
from wespk.utils.errors import InputError

_IDS = st.text(st.characters(blacklist_categories=("Z", "C")), min_size=1)
_VALUES = st.text(st.characters(blacklist_categories=("Z", "C")), min_size=1)


@given(table=st.dictionaries(_IDS, _VALUES))
def test_a_written_table_is_read_back(table, tmp_path_factory):
    path = tmp_path_factory.mktemp("tables") / "table"
    tables.write_table(path, table)
    assert tables.read_table(path) == table


def test_tables_are_sorted_as_sort_does_in_the_c_locale(tmp_path):
    keys = ["id10", "id1", "id1-a", "id1_a", "id1.a", "ID1", "idé", "id漢", "id1A", "~", "id\U0001f600", "id\uffee"]
    tables.write_table(tmp_path / "table", dict.fromkeys(keys, "x"))
    subprocess.run(["sort", "-c", tmp_path / "table"], env={"LC_ALL": "C", "PATH": "/usr/bin:/bin"}, check=True)


@pytest.mark.parametrize("text", [
    "a 1 2\nb  3\n", "a 1 2\nb 3", "a 1 2\r\nb 3\r\n", "a 1 2\r\nb 3", "a\t1 2\nb 3 \t\n",
])
def test_line_ends_and_blanks_that_occur_in_the_wild_are_accepted(tmp_path, text):
    (tmp_path / "table").write_bytes(text.encode())
    assert tables.read_table(tmp_path / "table") == {"a": "1 2", "b": "3"}


@pytest.mark.parametrize("content, message", [
    (b"a 1\n\nb 2\n", "table:2: blank line"),
    (b"a 1\nb 2\n\n", "table:3: blank line"),
    (b"a 1\nb\n", "table:2: 'b' has no value"),
    (b"a 1\nb 2\na 3\n", "table:3: duplicate key 'a', first on line 1"),
    (b"a 1\nb \xe9\n", "table:2: byte 0xe9 is not UTF-8"),
    ("a 1\n\u00e9\n".encode(), "table:2: '\u00e9' has no value"),
])
def test_a_table_that_is_not_clean_is_named_by_line(tmp_path, content, message):
    (tmp_path / "table").write_bytes(content)
    with pytest.raises(InputError, match=message):
        tables.read_table(tmp_path / "table")


def test_a_missing_table_and_a_folder_are_named(tmp_path):
    with pytest.raises(InputError, match="nowhere: no such file"):
        tables.read_table(tmp_path / "nowhere")
    with pytest.raises(InputError, match="is a folder"):
        tables.read_table(tmp_path)


def test_numbers_are_converted_and_a_bad_one_is_named(tmp_path):
    tables.write_table(tmp_path / "utt2num_frames", {"a": 200, "b": 31})
    assert tables.read_numbers(tmp_path / "utt2num_frames") == {"a": 200, "b": 31}
    (tmp_path / "utt2dur").write_text("a 2.5\nb soon\n")
    with pytest.raises(InputError, match="utt2dur:2: 'b' has the value 'soon', which is not a number"):
        tables.read_numbers(tmp_path / "utt2dur", float)


@pytest.mark.parametrize("table", [{"a b": "1"}, {"": "1"}, {"a": ""}, {"a": "1\n2"}, {"a": "  "}, {"a\n": "1"}])
def test_what_could_not_be_read_back_is_not_written(tmp_path, table):
    with pytest.raises(InputError):
        tables.write_table(tmp_path / "table", table)
    assert not list(tmp_path.iterdir())


def test_spk2utt_is_the_inverse_of_utt2spk(tmp_path):
    utt2spk = {"b-2": "b", "a-1": "a", "b-1": "b"}
    spk2utt = tables.spk2utt_of(utt2spk)
    assert list(spk2utt.items()) == [("a", ["a-1"]), ("b", ["b-1", "b-2"])]
    tables.write_table(tmp_path / "spk2utt", {s: " ".join(u) for s, u in spk2utt.items()})
    assert tables.read_spk2utt(tmp_path / "spk2utt") == spk2utt


def test_trials_and_scores_are_read_back_in_their_own_order(tmp_path):
    trials = Trials(["z", "a", "z"], ["b", "b", "c"], np.array([1, 0, 1], dtype=np.int8))
    tables.write_trials(tmp_path / "trials", trials)
    found = tables.read_trials(tmp_path / "trials")
    assert (found.enroll, found.test, found.labels.tolist()) == (trials.enroll, trials.test, [1, 0, 1])
    assert found.labels.dtype == np.int8
    scores = np.array([1 / 3, -1e-12, 123456789.5])
    tables.write_scores(tmp_path / "scores", trials.enroll, trials.test, scores)
    enroll, test, again = tables.read_scores(tmp_path / "scores")
    assert (enroll, test) == (trials.enroll, trials.test)
    np.testing.assert_allclose(again, scores, rtol=1e-8)  # 9 significant digits


def test_trials_with_crlf_and_ids_beyond_ascii_are_read(tmp_path):
    (tmp_path / "trials").write_bytes("é b target\r\né c nontarget".encode())
    assert tables.read_trials(tmp_path / "trials").labels.tolist() == [1, 0]


def test_trials_without_labels_are_read_and_written(tmp_path):
    tables.write_trials(tmp_path / "trials", Trials(["a"], ["b"], None))
    assert tables.read_trials(tmp_path / "trials") == (["a"], ["b"], None)


def test_a_published_list_keeps_its_counts(real_speech, tmp_path):
    path = real_speech / "lists" / "vox1_O_cleaned.kaldi"
    trials = tables.read_trials(path)
    assert (len(trials.enroll), int(trials.labels.sum())) == (37611, 18802)  # counts in the data's README
    tables.write_trials(tmp_path / "again", trials)
    assert (tmp_path / "again").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("text, message", [
    ("a b target\na c\n", "list:2: 2 fields where 3"),
    ("a b target\na b c target\na\n", "list:2: 4 fields"),
    ("a b target\n\na c target\n", "list:2: blank line"),
    ("a b\nc\nd e f\n", "list:2: 1 fields where 2 are expected: 'c'"),
    ("a b target\na c\na d target x\n", "list:2: 2 fields where 3 are expected: 'a c'"),
    ("a b target\na\nc target\n", "list:2: 1 fields"),
    ("a b\nc d\n\n", "list:3: blank line"),
    ("\na b\n", "list:1: blank line"),
    ("a b 1\n", "list:1: the label is '1'"),
    ("a b target\na c Target\n", "list:2: the label is 'Target'"),
    ("", "is empty"),
    ("a\n", "list:1: 1 fields"),
])
def test_a_trial_list_that_is_not_clean_is_named_by_line(tmp_path, text, message):
    (tmp_path / "list").write_text(text)
    with pytest.raises(InputError, match=message):
        tables.read_trials(tmp_path / "list")


def test_a_score_file_with_fields_on_the_wrong_line_is_named_by_line(tmp_path):
    (tmp_path / "scores").write_text("a b 0.5\na c\n0.25\n")
    with pytest.raises(InputError, match="scores:2: 2 fields where 3 are expected: 'a c'"):
        tables.read_scores(tmp_path / "scores")
    (tmp_path / "scores").write_text("a b 0.5\na c\na d 0.5 0.25\n")
    with pytest.raises(InputError, match="scores:2: 2 fields where 3 are expected: 'a c'"):
        tables.read_scores(tmp_path / "scores")


@pytest.mark.parametrize("word", ["nan", "inf", "-inf", "high", "1,5"])
def test_a_score_that_is_no_finite_number_is_named(tmp_path, word):
    (tmp_path / "scores").write_text(f"a b 0.5\na c {word}\n")
    with pytest.raises(InputError, match=f"scores:2: the score of 'a c' is '{word}'"):
        tables.read_scores(tmp_path / "scores")


def test_a_score_that_is_not_finite_is_not_written(tmp_path):
    with pytest.raises(InputError, match="'a c' is nan"):
        tables.write_scores(tmp_path / "scores", ["a", "a"], ["b", "c"], [0.5, np.nan])
    assert not list(tmp_path.iterdir())


def _pair_of_files(folder, scores, trials):
    (folder / "scores").write_text("".join(f"{line}\n" for line in scores))
    (folder / "trials").write_text("".join(f"{line}\n" for line in trials))
    return folder / "scores", folder / "trials"


def test_scores_are_joined_to_trials_by_key_not_by_line(tmp_path):
    files = _pair_of_files(tmp_path, ["a c -1", "a b 2", "d b 0.5"], ["a b target", "d b nontarget", "a c nontarget"])
    scores, labels = tables.join_labels(*files)
    assert scores.tolist() == [2, 0.5, -1] and labels.tolist() == [1, 0, 0]


def test_repeated_trials_each_get_their_score(tmp_path):
    scores, labels = tables.join_labels(*_pair_of_files(tmp_path, ["a b 2"], ["a b target", "a b target"]))
    assert scores.tolist() == [2, 2] and labels.tolist() == [1, 1]


@pytest.mark.parametrize("scores, trials, message", [
    (["a b 1"], ["a b target", "a c nontarget"], "trials:2: 'a c' has no score"),
    (["a b 1", "a c 0"], ["a b target"], "scores:2: 'a c' is not in"),
    (["b a 1"], ["a b target"], "scores:1: 'b a' is not in"),
    (["a b 1", "a b 2"], ["a b target", "a b target"], "scores:2: 'a b' occurs again with another score"),
    (["a b 1", "a b 1"], ["a b target", "a b nontarget"], "trials:2: 'a b' occurs again with another label"),
    (["a b 1"], ["a b"], "trials:1: the trials have no labels"),
])
def test_scores_that_do_not_match_the_trials_are_named(tmp_path, scores, trials, message):
    with pytest.raises(InputError, match=message):
        tables.join_labels(*_pair_of_files(tmp_path, scores, trials))
