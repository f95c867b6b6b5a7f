import numpy as np
import pytest
import torch

from tests.features.kaldi_witness import distances, witness
from wespk.features.fbank import fbank
from wespk.features.mfcc import mfcc
from wespk.utils.errors import InputError


def test_excerpts_equal_kaldi_within_a_thousandth(kaldi):
    for excerpt in kaldi["excerpts"]:
        samples = np.array(excerpt["samples"], np.float32)[40:] / 32768
        np.testing.assert_allclose(mfcc(samples, high_freq=7600.0)[:4], excerpt["mfcc30"], atol=1e-3, rtol=0)


def test_whole_utterances_are_no_further_from_kaldi_than_kaldi_native_fbank(whole):
    waves, golden = whole("mfcc30")
    ours = {key: mfcc(wave, high_freq=7600.0, snip_edges=False).numpy() for key, wave in waves.items()}
    theirs = {key: witness("mfcc", wave, True, 30, num_mel_bins=30, high_freq=7600.0, snip_edges=False)
              for key, wave in waves.items()}
    (our_max, our_mean), (their_max, their_mean) = distances(ours, theirs, golden)
    print(f"mfcc30: ours max {our_max:.4e} mean {our_mean:.4e}; kaldi-native-fbank {their_max:.4e} {their_mean:.4e}")
    assert our_mean <= their_mean and our_max <= 1.03 * their_max


@pytest.mark.parametrize("num_ceps, num_mel_bins, use_energy", [(13, 23, True), (13, 23, False), (20, 40, False)])
def test_numbers_of_cepstra_and_filters_are_free(noise, num_ceps, num_mel_bins, use_energy):
    wave = noise(9001)
    theirs = witness("mfcc", wave, use_energy, num_ceps, num_mel_bins=num_mel_bins)
    ours = mfcc(wave, num_ceps=num_ceps, num_mel_bins=num_mel_bins, use_energy=use_energy)
    np.testing.assert_allclose(ours, theirs, atol=1e-3, rtol=0)


def test_without_lifter_and_energy_all_cepstra_carry_the_energy_of_the_mel_values(noise):
    wave = noise(4000)
    log_mel = fbank(wave, num_mel_bins=30)
    plain = mfcc(wave, cepstral_lifter=0.0, use_energy=False)
    torch.testing.assert_close(plain.square().sum(1), log_mel.square().sum(1))  # the full cosine transform is a rotation


def test_batches_equal_single_waves_bit_for_bit(noise):
    waves = noise(3, 4000)
    assert torch.equal(mfcc(waves)[1], mfcc(waves[1]))


def test_autocast_does_not_reach_the_cepstra(noise):
    with torch.autocast("cpu", torch.bfloat16):
        inside = mfcc(noise(4000))
    assert torch.equal(inside, mfcc(noise(4000)))


def test_more_cepstra_than_filters_are_refused(noise):
    with pytest.raises(InputError, match="num_ceps.*num_mel_bins .30.*not 31"):
        mfcc(noise(4000), num_ceps=31)
