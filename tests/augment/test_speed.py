import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import ROOT
from tests.golden.make_features import chirp
from wespk.augment.speed import (
    draw_speeds,
    source_length,
    speed,
    speed_classes,
    speed_length,
    speed_name,
)
from wespk.utils.errors import InputError


def snr(reference, found):
    return 10 * np.log10((reference**2).sum() / ((reference - found) ** 2).sum())


def test_lengths_are_those_of_sox():
    assert speed_length(83285, 0.9) == 92539
    assert speed_length(83285, 1.1) == 75714
    assert speed(torch.zeros(83285), 0.9).shape == (92539,)
    assert speed(torch.zeros(2, 83285), 1.1).shape == (2, 75714)


@pytest.mark.parametrize("factor", ["0.9", "1.1"])
def test_sound_is_that_of_sox(factor):
    theirs = np.array(json.loads((ROOT / "tests" / "golden" / "sox_speed.json").read_text())[factor])
    ours = speed(torch.from_numpy(chirp()), float(factor)).numpy()
    assert ours.shape == theirs.shape
    assert snr(theirs, ours) > 60  # a click and a sweep up to the Nyquist frequency included


def tones(times, top):
    draw = np.random.default_rng(0)
    return sum(np.sin(2 * np.pi * f * times + p) for f, p in zip(draw.uniform(50, top, 40), draw.uniform(0, 6, 40))) / 40


@pytest.mark.parametrize("factor", [0.9, 1.1, 0.95, 1.25])
def test_tones_in_the_pass_band_are_kept_to_80_decibels(factor):
    top = 0.92 * 8000 * min(1, 1 / factor)
    wave = torch.from_numpy(tones(np.arange(16000) / 16000, top)).float()
    expected = tones(np.arange(speed_length(16000, factor)) * factor / 16000, top)
    inner = slice(500, -500)
    assert snr(expected[inner], speed(wave, factor).numpy()[inner]) > 80


def test_tones_that_would_fold_are_removed():
    wave = torch.from_numpy(np.sin(2 * np.pi * 7900 * np.arange(16000) / 16000)).float()
    assert speed(wave, 1.25)[500:-500].abs().max() < 1e-3  # 9875 Hz at 16 kHz


def test_speed_one_changes_nothing(waves):
    assert torch.equal(speed(waves, 1.0), waves)


@given(st.integers(1, 5000), st.sampled_from([0.9, 1.1, 0.95, 1.05, 0.5, 2.0]))
def test_source_lengths_make_the_chunk_to_the_sample(num, factor):
    assert abs(speed_length(source_length(num, factor), factor) - num) <= 1
    assert speed(torch.ones(source_length(num, factor)), factor, num).shape == (num,)


def test_a_wanted_length_cuts_or_pads_with_the_signals_own_end(waves):
    whole = speed(waves, 0.9)
    torch.testing.assert_close(speed(waves, 0.9, 5000), whole[:, :5000])
    longer = speed(waves, 0.9, 9500)
    torch.testing.assert_close(longer[:, : whole.shape[1]], whole)
    assert (longer[:, whole.shape[1] + 200 :] == 0).all()


def test_rows_of_a_batch_equal_single_waves(waves):
    torch.testing.assert_close(speed(waves, 1.1)[3], speed(waves[3], 1.1), atol=1e-6, rtol=0)


@pytest.mark.parametrize("factor", [0.0, -1.0, 11.0, float("nan")])
def test_senseless_factors_are_refused(factor):
    with pytest.raises(InputError, match="speed factor lies in 0.1 to 10"):
        speed(torch.zeros(9), factor)


def test_copies_are_new_speakers_by_name_and_the_draw_finds_the_class():
    classes = speed_classes(["a", "b"], [0.9, 1.1])
    assert classes == ["a", "b", "sp0.9-a", "sp0.9-b", "sp1.1-a", "sp1.1-b"]
    assert speed_name("id10001", 1.0) == "id10001"
    drawn = draw_speeds(np.arange(3000), [0.9, 1.1], 1, 2)
    assert [classes[d * 2 + 1] for d in (0, 1, 2)] == ["b", "sp0.9-b", "sp1.1-b"]
    assert all(abs((drawn == d).mean() - 1 / 3) < 0.05 for d in (0, 1, 2))
