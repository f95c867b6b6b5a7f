import numpy as np
import pytest
import torch

from wespk.augment.bank import TensorBank
from wespk.augment.noise import add_kind, add_noise, check_talkers, draw_babble, draw_noise
from wespk.utils.errors import InputError


def snr_of(clean, noisy):
    return 10 * torch.log10(clean.square().mean(1) / (noisy - clean).square().mean(1))


def test_the_noise_added_has_the_ratio_asked_for(waves):
    wanted = torch.tensor([-5.0, 0, 3, 5, 10, 15, 20, 40])
    noisy = add_noise(waves, 7 * torch.randn(8, 8000), wanted)
    torch.testing.assert_close(snr_of(waves, noisy), wanted, atol=1e-2, rtol=0)


def test_silence_on_either_side_changes_nothing(waves):
    some = waves.clone()
    some[0] = 0
    assert torch.equal(add_noise(some, torch.zeros_like(some), np.zeros(8)), some)
    assert (add_noise(some, torch.randn(8, 8000), np.zeros(8))[0] == 0).all()


@pytest.mark.parametrize("kind, span", [("noise", (0, 15)), ("music", (5, 15)), ("babble", (13, 20))])
def test_drawn_ratios_fill_their_span(noise_bank, kind, span):
    clean = torch.randn(300, 1000)
    found = snr_of(clean, add_kind(clean, noise_bank, kind, np.arange(300), span, (3, 7), 1, 2))
    assert found.min() > span[0] - 0.01 and found.max() < span[1] + 0.01
    assert found.min() < span[0] + 0.5 and found.max() > span[1] - 0.5


def test_a_short_noise_is_tiled_and_a_long_one_is_read_without_a_seam():
    ramp = [torch.arange(1.0, 4), torch.arange(1000.0)]
    found = draw_noise(TensorBank({"noise": ramp}), "noise", np.arange(40), 10, 0)
    for row in found:
        steps = row.diff().tolist()
        assert set(steps) <= ({1.0, -2.0} if row.max() <= 3 else {1.0})
    assert (found.max(1).values <= 3).any() and (found.max(1).values > 3).any()
    assert len({row[0].item() for row in found if row.max() <= 3}) == 3  # any start


def test_babble_is_a_sum_of_different_talkers_at_equal_power(noise_bank):
    # talkers are sines of 100, 200, ... Hz: the spectrum of a second says who speaks, and how loud
    babble = draw_babble(noise_bank, "babble", np.arange(60), 16000, (3, 7), 5)
    power = 2 * (torch.fft.rfft(babble).abs() / 16000).square()[:, 100:1100:100]
    talkers = (power > 0.5).sum(1)
    assert set(talkers.tolist()) == {3, 4, 5, 6, 7}
    torch.testing.assert_close(power[power > 0.5], torch.ones(int(talkers.sum())), atol=0.05, rtol=0)


def test_babble_wants_as_many_speech_files_as_talkers(noise_bank):
    check_talkers(noise_bank, "babble", (3, 10))
    with pytest.raises(InputError, match="up to 11 talkers.*has 10"):
        check_talkers(noise_bank, "babble", (3, 11))


@pytest.mark.parametrize("kind", ["noise", "babble"])
def test_what_is_added_depends_on_the_index_and_the_key_alone(noise_bank, waves, kind):
    indices = np.array([5, 900, 17, 3, 4, 1, 2, 0])
    whole = add_kind(waves, noise_bank, kind, indices, (0, 15), (3, 7), 1, 2)
    single = add_kind(waves[2:3], noise_bank, kind, indices[2:3], (0, 15), (3, 7), 1, 2)
    assert torch.equal(whole[2], single[0])
    assert not torch.equal(add_kind(waves[2:3], noise_bank, kind, indices[2:3], (0, 15), (3, 7), 1, 3), single)
