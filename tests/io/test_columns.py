"""Tables read as columns hold what the plain readers give, and refuse what they refuse, in the same words."""

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from wespk.io import columns
from wespk.io.ark_format import split_spec
from wespk.io.column_kinds import Decimals, Integers, Names, Specs, Texts
from wespk.io.columns import column_of, read_column, read_values
from wespk.io.tables import read_numbers, read_table
from wespk.utils.errors import InputError
from wespk.utils.strings import PackedStrings

_KEYS = ["a", "b", "ab", "aa", "é", "a\u3000b", "id1-x", "id1-y", "k" * 40, "\x7f", "x\x00", "x"]
_VALUES = ["1", "v w", "/a b.wav", "é.wav", "v\u00a0", "12:3", "sox  a |", "w\x0b", "\x1cx", "v" * 60, "x\x00y"]
_ENDS = ["\n"] * 8 + ["\r\n", " \n", "\t\n", "\n\n", "\n \n", ""]
_BETWEEN = [" "] * 8 + ["\t", "  ", " \t ", ""]
_line = st.tuples(st.sampled_from(["", "", "", "", " "]), st.sampled_from(_KEYS), st.sampled_from(_BETWEEN),
                  st.sampled_from(_VALUES), st.sampled_from(_ENDS)).map("".join)  # fmt: skip
_odd = st.one_of(st.lists(_line, max_size=8).map(lambda lines: "".join(lines).encode()),
                 st.lists(_line, max_size=4).map(lambda lines: "".join(lines).encode("latin-1", "ignore")))  # fmt: skip
_letters = st.characters(min_codepoint=33, max_codepoint=0x17F, exclude_characters="\x85\xa0")
_key_sets = st.lists(st.text(_letters, min_size=1, max_size=12), min_size=1, max_size=12, unique=True)
_shared = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def outcome(read):
    """What a call returns, or the words of its InputError."""
    try:
        return read()
    except InputError as error:
        return str(error)


def table_of(path, kind):
    keys, values = read_column(path, kind)
    values = [values.names[i] for i in values.numbers] if isinstance(kind, Names) else list(values)
    return list(zip(keys, values, strict=True))


@pytest.fixture
def path(tmp_path, monkeypatch):
    """A table's path; it is read in blocks of a line or a few."""
    monkeypatch.setattr(columns, "_SIZE", 50)
    monkeypatch.setattr(columns, "_PADDED", 64)
    return tmp_path / "table"


@_shared
@given(text=_odd, names=st.booleans())
@example(text="a v\u00a0\n".encode(), names=False)
@example(text=b" a v\n", names=False)
@example(text=b"a v\n\nb w\n", names=True)
@example(text=b"a v\nb\n", names=True)
@example(text=b"a x\nb x\x00\n", names=True)
@example(text="b é\na v\nb w\n".encode(), names=False)
def test_texts_and_names_are_those_of_the_plain_reader_and_so_are_its_complaints(path, text, names):
    path.write_bytes(text)
    expected = outcome(lambda: list(read_table(path).items()))
    assert outcome(lambda: table_of(path, Names() if names else Texts())) == expected


@_shared
@given(keys=_key_sets)
def test_plain_lines_are_read_without_walking(path, keys):
    path.write_text("".join(f"{key} v {key}.wav\n" for key in keys), encoding="utf-8")
    for block in columns.read_blocks(path, strict=True):
        assert len(block)
    assert table_of(path, Texts()) == [(key, f"v {key}.wav") for key in keys]


_digits = st.text("0123456789", max_size=25)
_words = st.one_of(_digits, st.tuples(_digits, st.just("."), _digits).map("".join), st.integers().map(str),
                   st.floats().map(str),
                   st.sampled_from(["1_0", "+3", "-0", "1e3", ".", "..1", "1.2.3", "nan", "0x1", "٣"]))  # fmt: skip


def too_large(word):
    """Whether a word is an integer that 64 bits do not hold."""
    try:
        return not -(1 << 63) <= int(word) < 1 << 63
    except ValueError:
        return False


@_shared
@given(words=st.lists(_words.filter(str.strip), min_size=1, max_size=6), kind=st.sampled_from([int, float]))
@example(words=[f"{1 << 63}", "0.0"], kind=int)
@example(words=["0.0", f"{1 << 63}"], kind=int)
@example(words=[f"{-(1 << 63)}"], kind=int)
@example(words=[f"0.{n * 48271**4 % 10**16:016d}" for n in range(1, 60)], kind=float)
def test_numbers_are_pythons_own_to_the_last_bit(path, words, kind):
    path.write_text("".join(f"u{i} {word}\n" for i, word in enumerate(words)), encoding="utf-8")
    expected = outcome(lambda: list(read_numbers(path, kind).values()))
    found = outcome(lambda: list(read_values(path, Integers() if kind is int else Decimals())))
    if kind is int and any(map(too_large, words)):
        assert "too large" in found or isinstance(expected, str) and found == expected
    else:
        assert repr(found if isinstance(found, str) else [kind(n) for n in found]) == repr(expected)


def place(spec):
    path, offset = split_spec(spec)
    if offset >= 1 << 63:
        raise InputError(f"'{spec}': no file is so long; write the scp again")
    return path, offset


@_shared
@given(specs=st.lists(st.tuples(st.sampled_from(["/a b/x.ark", "/y:1.ark", "é.ark", "cat z |", "r[1:2]", "y"]),
                                st.sampled_from(["", ":", ":0", ":17", ":1234567890123456789012", ":1x"])).map("".join),
                      min_size=1, max_size=6))  # fmt: skip
def test_places_are_those_of_each_spec(path, specs):
    path.write_text("".join(f"u{i} {spec}\n" for i, spec in enumerate(specs)), encoding="utf-8")
    places = outcome(lambda: read_values(path, Specs()))
    expected = outcome(lambda: [place(spec) for spec in specs])
    found = places if isinstance(places, str) else [(places.paths[f], o) for f, o in zip(places.files, places.offsets)]
    assert found == expected


@_shared
@given(keys=_key_sets, data=st.data())
def test_values_of_given_keys_come_in_their_order_from_a_table_in_any(path, keys, data):
    there = data.draw(st.permutations(keys))
    wanted = data.draw(st.one_of(st.just(there), st.permutations(keys).map(lambda order: order[: 1 + len(order) // 2])))
    path.write_text("".join(f"{key} {i}\n" for i, key in enumerate(there)), encoding="utf-8")
    found = column_of(path, Integers(), PackedStrings(wanted), KeyError)
    assert found.tolist() == [there.index(key) for key in wanted]
    with pytest.raises(KeyError, match="nobody"):
        column_of(path, Integers(), PackedStrings([*wanted, "nobody", "none"]), KeyError)


def test_keys_already_there_are_not_kept_a_second_time(path):
    path.write_text("".join(f"u{i} {i}\n" for i in range(50)))
    keys = PackedStrings(f"u{i}" for i in range(50))
    assert read_column(path, Integers(), keys)[0] is keys
    more = PackedStrings(f"u{i}" for i in range(51))
    found = read_column(path, Integers(), more)[0]
    assert found is not more and found.same(keys)


@pytest.mark.parametrize("between", [" ", "\t"])
def test_short_lines_beside_a_long_one_are_handled_without_its_bytes(path, between):
    lines = [f"k{between}{'v' * 2000}", *(f"u{i}{between}{i}" for i in range(100))]
    path.write_text("".join(f"{line}\n" for line in lines))
    blocks = list(columns.read_blocks(path))
    assert sum(len(block.data) for block in blocks) <= path.stat().st_size
    assert sum(map(len, blocks)) == len(lines) and all(len(b) * (b.ends - b.starts).max() <= 64 or len(b) == 1 for b in blocks)
    assert table_of(path, Texts()) == [tuple(line.split()) for line in lines]


def test_a_file_that_is_not_there_or_a_folder_is_told_in_the_words_of_the_plain_reader(tmp_path):
    for place in (tmp_path / "no", tmp_path):
        assert outcome(lambda p=place: read_values(p, Texts())) == outcome(lambda p=place: read_table(p))


def test_an_empty_table_has_no_keys(path):
    path.write_text("")
    keys, values = read_column(path, Integers())
    assert len(keys) == 0 and values.dtype == np.int64 and not len(values)
