"""Packed strings do what lists of strings do, and are shared with the processes forked from their own."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import ROOT
from wespk.utils import strings
from wespk.utils.strings import PackedStrings, as_strings, padded

_texts = st.lists(st.text("ab-\x00é", max_size=20), max_size=12, unique=True)


@pytest.fixture(params=[False, True], ids=["hashes", "one hash for all"])
def hashes(request, monkeypatch):
    """Once with the hashes as they are, once with all strings of one hash."""
    if request.param:
        monkeypatch.setattr(strings, "_hash", lambda rows, lengths: np.zeros(len(rows), np.uint64))


@settings(max_examples=60, deadline=None)
@given(texts=_texts, draw=st.data())
def test_strings_are_taken_by_position(texts, draw):
    packed = PackedStrings(texts)
    assert list(packed) == texts and len(packed) == len(texts)
    at = draw.draw(st.lists(st.integers(0, max(0, len(texts) - 1)), max_size=8 if texts else 0))
    assert list(packed.take(np.array(at, dtype=np.int64))) == [texts[i] for i in at]


@pytest.mark.usefixtures("hashes")
def test_strings_are_found_where_they_are_and_nowhere_else():
    @settings(max_examples=60, deadline=None)
    @given(texts=_texts, wanted=_texts, order=st.randoms())
    def check(texts, wanted, order):
        wanted = wanted + texts[::2]
        order.shuffle(wanted)
        found = PackedStrings(texts).find(PackedStrings(wanted)).tolist()
        assert found == [texts.index(text) if text in texts else -1 for text in wanted]

    check()


@settings(max_examples=60, deadline=None)
@given(texts=_texts, prefix=st.text("ab", max_size=2), suffix=st.text("b-", max_size=2))
def test_strings_are_stripped_of_what_they_begin_and_end_with(texts, prefix, suffix):
    at, rest = PackedStrings(texts).stripped(prefix, suffix)
    size = len(prefix) + len(suffix)
    fit = [i for i, t in enumerate(texts) if len(t) >= size and t.startswith(prefix) and t.endswith(suffix)]
    assert at.tolist() == fit and list(rest) == [texts[i][len(prefix) : len(texts[i]) - len(suffix)] for i in fit]


def test_strings_there_twice_are_told():
    assert PackedStrings(["a", "b", ""]).distinct() and not PackedStrings(["a", "b", "a"]).distinct()


@pytest.mark.parametrize("bytes_of_a_pass", [16, 1 << 23])
def test_long_lists_are_worked_on_in_passes(monkeypatch, bytes_of_a_pass):
    monkeypatch.setattr(strings, "_BYTES", bytes_of_a_pass)
    texts = [f"{i * 7919 % 1000}-{'x' * (i % 5)}" for i in range(300)]
    packed, order = PackedStrings(texts), np.random.default_rng(0).permutation(300)
    shuffled = packed.take(order)
    assert list(shuffled) == [texts[i] for i in order] and (packed.find(shuffled) == order).all()


def test_rows_compare_as_their_bytes_do_up_to_the_datas_end():
    texts = ["b", "a", "aa", "é", "z" * 30, "ab"]
    data = np.frombuffer("".join(texts).encode(), np.uint8)
    lengths = np.array([len(text.encode()) for text in texts])
    rows = padded(data, np.cumsum(lengths) - lengths, lengths, 8)
    assert rows.shape == (6, 32) and as_strings(rows).tolist() == [text.encode() for text in texts]
    assert padded(data[:0], np.zeros(2, np.int64), np.zeros(2, np.int64)).tolist() == [[0], [0]]


_FORKED = """
import os, sys
from wespk.utils.strings import PackedStrings

def own():
    text = open("/proc/self/smaps_rollup").read()
    return sum(int(text.split(name)[1].split()[0]) for name in ("Private_Clean:", "Private_Dirty:"))

def copied(strings):
    read, write = os.pipe()
    if not os.fork():
        before = own()
        total = sum(len(string) for string in strings)
        os.write(write, str(own() - before).encode())
        os._exit(0)
    os.wait()
    return int(os.read(read, 100))

names = [f"id{i:07d}-Xq3vT0zWk5s-{i:05d}" for i in range(120_000)]
packed = PackedStrings(names)
print(copied(names), copied(packed), packed.data.nbytes // 1000)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc/self/smaps_rollup is Linux's")
def test_a_forked_process_that_reads_them_all_copies_none():
    run = subprocess.run([sys.executable, "-c", _FORKED], capture_output=True, text=True, check=True, cwd=ROOT)
    listed, packed, size = map(int, run.stdout.split())  # kB
    assert listed > size  # the measure sees what Python objects cost
    assert packed < size / 4  # a process's own doings take some hundred kB
