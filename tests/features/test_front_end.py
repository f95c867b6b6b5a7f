import numpy as np
import pytest
import torch

from wespk.features.cmvn import mean_norm
from wespk.features.fbank import fbank
from wespk.features.front_end import FrontEnd
from wespk.features.mfcc import mfcc
from wespk.features.vad import energy_vad
from wespk.utils import config
from wespk.utils.errors import InputError


def section(**changes):
    return {**config.load()["features"], **changes}


def test_the_default_section_is_kaldis_80_bin_fbank(noise):
    wave = noise(16000)
    assert torch.equal(FrontEnd(section())(wave), fbank(wave))
    assert FrontEnd(section()).feat_dim == 80


def test_every_option_reaches_fbank(noise):
    wave = noise(8000)
    front_end = FrontEnd(section(sample_rate=8000, num_mel_bins=23, frame_length_ms=30.0, frame_shift_ms=12.5, low_freq=50.0,
                                 high_freq=-200.0, window="hamming", preemphasis=0.9, snip_edges=False, use_energy=True))
    expected = fbank(wave, 8000, 23, 0.0, 30.0, 12.5, 50.0, -200.0, 0.9, "hamming", False, True)
    assert torch.equal(front_end(wave), expected)
    assert front_end.feat_dim == 24 and front_end.sample_rate == 8000


def test_mfcc_takes_num_ceps_and_energy_replaces_the_first(noise):
    wave = noise(16000)
    for use_energy in (True, False):
        front_end = FrontEnd(section(type="mfcc", num_mel_bins=30, num_ceps=24, use_energy=use_energy))
        assert torch.equal(front_end(wave), mfcc(wave, num_mel_bins=30, num_ceps=24, use_energy=use_energy))
        assert front_end.feat_dim == 24


def test_many_waves_equal_each_by_itself(noise):
    front_end = FrontEnd(section())
    waves = [noise(n, seed=n) for n in (5000, 16000, 399)]
    for one, wave in zip(front_end.many(waves), waves):
        assert torch.equal(one, front_end(wave))


@pytest.mark.parametrize("kind", ["fbank", "mfcc"])
def test_speech_is_found_by_raw_energy_whatever_the_features(noise, kind):
    wave = noise(16000)
    wave[:8000] *= 1e-4
    front_end = FrontEnd(section(type=kind))
    (feats, speech), = front_end.many_with_speech([wave])
    energy = fbank(wave, use_energy=True)[:, 0]
    assert torch.equal(speech, energy_vad(energy)) and 0 < speech.sum() < len(speech)
    assert torch.equal(feats, front_end(wave))


@pytest.mark.parametrize("snip_edges", [True, False])
def test_num_samples_and_num_frames_are_inverse(noise, snip_edges):
    front_end = FrontEnd(section(snip_edges=snip_edges))
    for frames in (1, 2, 200):
        assert front_end.num_frames(front_end.num_samples(frames)) == frames
        assert front_end(noise(front_end.num_samples(frames))).shape == (frames, 80)


def test_cmn_is_as_the_section_says():
    feats = torch.randn(2, 30, 4) + 5
    for cmn, expected in (("none", feats), ("mean", mean_norm(feats)), ("mean_var", mean_norm(feats, norm_vars=True))):
        assert torch.equal(FrontEnd(section(cmn=cmn)).normalise(feats), expected)


@pytest.mark.parametrize("changes, says", [
    ({"type": "plp"}, "fbank or mfcc, not 'plp'"),
    ({"cmn": "sliding"}, "mean, mean_var or none"),
    ({"high_freq": 9000.0}, "high_freq 9000.0"),
    ({"type": "mfcc", "num_ceps": 81}, "num_ceps .81. is above features.num_mel_bins .80."),
])
def test_sections_that_make_no_sense_are_refused(changes, says):
    with pytest.raises(InputError, match=says):
        FrontEnd(section(**changes))


def test_a_batch_keeps_its_shape(noise):
    assert FrontEnd(section())(np.stack([noise(16000)] * 3)).shape == (3, 98, 80)
