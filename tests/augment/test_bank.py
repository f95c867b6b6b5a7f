import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wespk.augment.bank import ReaderBank, TensorBank
from wespk.utils.errors import InputError

SIGNALS = {"noise": [np.arange(1, 6, dtype=np.float32) / 10, np.arange(11, 14, dtype=np.float32) / 100],
           "music": [np.ones(7, np.float32)]}


def reader():
    return ReaderBank({kind: len(items) for kind, items in SIGNALS.items()}, lambda kind, file: len(SIGNALS[kind][file]),
                      lambda kind, file, start, num: SIGNALS[kind][file][start : start + num])


@settings(max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 2)), min_size=1, max_size=4), st.integers(1, 23), st.booleans())
def test_both_banks_repeat_or_pad_as_numpy_would(wanted, num, repeat):
    files, starts = np.array(wanted).T
    endless = [np.resize(s, 60) if repeat else np.pad(s, (0, 60)) for s in SIGNALS["noise"]]
    expected = np.stack([endless[f][s : s + num] for f, s in wanted])
    for bank in (TensorBank(SIGNALS), reader()):
        found = bank.fetch("noise", files, starts, num, repeat)
        assert found.dtype == torch.float32
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("bank", [TensorBank(SIGNALS), reader()])
def test_counts_and_lengths(bank):
    assert bank.count("noise") == 2 and bank.count("music") == 1
    assert bank.lengths("noise", np.array([1, 0, 1])).tolist() == [3, 5, 3]


def test_sixteen_bit_storage_keeps_sixteen_bit_audio_exactly():
    samples = np.array([-32768, -1, 0, 12345, 32767], np.float32) / 32768
    bank = TensorBank({"noise": [samples]}, dtype=torch.int16)
    np.testing.assert_array_equal(bank.fetch("noise", np.array([0]), np.array([0]), 5)[0], samples)


def test_sixteen_bit_storage_rounds_to_the_nearest_and_clips():
    bank = TensorBank({"noise": [np.array([0.7, -0.7, 40000], np.float32) / 32768]}, dtype=torch.int16)
    assert (bank.fetch("noise", np.array([0]), np.array([0]), 3)[0] * 32768).tolist() == [1, -1, 32767]


@pytest.mark.parametrize("items", [[], [np.zeros(0, np.float32)]])
def test_a_bank_without_sound_is_refused(items):
    with pytest.raises(InputError, match="bank of noise signals is empty or holds an empty signal"):
        TensorBank({"noise": items})
