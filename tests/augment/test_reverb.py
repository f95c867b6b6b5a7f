import numpy as np
import pytest
import torch

from wespk.augment.reverb import add_reverb, fast_size, reverb
from wespk.utils.errors import InputError


def slow_reverb(wave, response, level):
    direct = np.abs(response).argmax()
    return np.convolve(wave, response / level)[direct : direct + len(wave)]


@pytest.mark.parametrize("normalise", ["energy", "peak"])
def test_reverberation_equals_convolution_aligned_to_the_direct_sound(normalise):
    draw = np.random.default_rng(0)
    waves, responses = draw.normal(size=(4, 500)), draw.normal(size=(4, 333)) * np.exp(-np.arange(333) / 40)
    responses[0, 200:] = 0
    found = reverb(torch.from_numpy(waves).float(), torch.from_numpy(responses).float(), normalise)
    for row, wave, response in zip(found, waves, responses):
        level = np.linalg.norm(response) if normalise == "energy" else np.abs(response).max()
        np.testing.assert_allclose(row, slow_reverb(wave, response, level), atol=1e-4)


@pytest.mark.parametrize("normalise", ["energy", "peak"])
def test_a_lone_direct_sound_gives_the_signal_back_wherever_it_stands(waves, normalise):
    response = torch.zeros(8, 900)
    response[torch.arange(8), torch.arange(8) * 100 + 37] = 0.3
    torch.testing.assert_close(reverb(waves, response, normalise), waves, atol=1e-6, rtol=0)


def test_unit_energy_responses_keep_the_power_of_white_noise(waves, rir_bank):
    found = add_reverb(waves, rir_bank, np.arange(8), 0)
    ratio = found.square().mean(1) / waves.square().mean(1)
    assert ratio.min() > 0.8 and ratio.max() < 1.2


def test_a_row_is_the_same_in_any_batch(waves, rir_bank):
    indices = np.arange(40, 48)
    whole = add_reverb(waves, rir_bank, indices, 1, 2)
    for row in range(8):
        part = slice(row, row + 1)
        torch.testing.assert_close(add_reverb(waves[part], rir_bank, indices[part], 1, 2), whole[part], atol=1e-6, rtol=0)


def test_responses_differ_between_items_and_keys(rir_bank):
    same = torch.randn(1, 4000, generator=torch.Generator().manual_seed(1)).expand(30, -1)
    found = add_reverb(same, rir_bank, np.arange(30), 1)
    # every response of the bank; rows of one batch may differ in their last bits
    assert len({tuple(row[:3].tolist()) for row in found.round(decimals=3)}) == 5
    assert not torch.equal(found, add_reverb(same, rir_bank, np.arange(30), 2))


def test_fast_sizes_are_large_enough_and_not_far_off():
    for least in range(1, 5000):
        size = fast_size(least)
        odd = size // (size & -size)
        assert least <= size <= 1.34 * least and odd in (1, 3, 5)


def test_unknown_normalisation_is_refused(waves):
    with pytest.raises(InputError, match="energy or peak, not 'loudness'"):
        reverb(waves, waves, "loudness")
