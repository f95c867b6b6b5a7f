import numpy as np
import pytest
import torch

from tests.features.kaldi_witness import distances, witness
from wespk.features.fbank import FrameOptions, fbank, fbank_many, mel_energies, mel_weights
from wespk.features.framing import window_function
from wespk.utils.errors import InputError

WITH_ENERGY = {"num_mel_bins": 40, "high_freq": 7600.0, "snip_edges": False, "use_energy": True}


def test_excerpts_equal_kaldi_within_a_thousandth(kaldi):
    for excerpt in kaldi["excerpts"]:
        samples = np.array(excerpt["samples"], np.float32) / 32768
        np.testing.assert_allclose(fbank(samples), excerpt["fbank80"], atol=1e-3, rtol=0)


def test_excerpts_with_energy_equal_kaldi_within_a_thousandth(kaldi):
    for excerpt in kaldi["excerpts"]:
        samples = np.array(excerpt["samples"], np.float32)[40:] / 32768  # where the first whole frame starts
        ours = fbank(samples, **{**WITH_ENERGY, "snip_edges": True})
        np.testing.assert_allclose(ours[:4], excerpt["fbank40_energy_nosnip"], atol=1e-3, rtol=0)


@pytest.mark.parametrize("name, options", [("fbank80", {}), ("fbank40_energy_nosnip", WITH_ENERGY)])
def test_whole_utterances_are_no_further_from_kaldi_than_kaldi_native_fbank(whole, name, options):
    waves, golden = whole(name)
    ours = {key: fbank(wave, **options).numpy() for key, wave in waves.items()}
    energy = options.get("use_energy", False)
    bins = {"num_mel_bins": 80} | {k: v for k, v in options.items() if k != "use_energy"}
    theirs = {key: witness("fbank", wave, energy, **bins) for key, wave in waves.items()}
    (our_max, our_mean), (their_max, their_mean) = distances(ours, theirs, golden)
    print(f"{name}: ours max {our_max:.4e} mean {our_mean:.4e}; kaldi-native-fbank {their_max:.4e} {their_mean:.4e}")
    assert our_mean <= their_mean
    # the largest gaps lie 90 dB below the loudest filter of the frame, where they are the rounding of Kaldi's own FFT
    assert our_max <= 1.03 * their_max
    for key in golden:
        heard = golden[key] > golden[key].max(1, keepdims=True) - 13.8  # within 60 dB of the loudest filter
        assert np.abs(ours[key] - golden[key])[heard].max() < 1e-3


def exact_fbank(wave):
    """Log-mel energies in double precision throughout (with Kaldi's filters and window, float32 tables)."""
    frames = np.lib.stride_tricks.sliding_window_view(wave.astype(np.float64) * 32768, 400)[::160]
    frames = frames - frames.mean(1, keepdims=True)
    frames = frames - 0.97 * np.concatenate([frames[:, :1], frames[:, :-1]], axis=1)
    power = np.abs(np.fft.rfft(frames * window_function("povey", 400), 512)) ** 2
    return np.log(np.maximum(power @ mel_weights(FrameOptions()).astype(np.float64), 2.0**-23))


def test_we_are_nearer_to_exact_arithmetic_than_kaldi_everywhere_within_a_thousandth(whole):
    waves, golden = whole("fbank80")
    for key, wave in waves.items():
        exact = exact_fbank(wave)
        ours = np.abs(fbank(wave).numpy() - exact).max()
        assert ours < 1e-3 and ours < np.abs(golden[key] - exact).max()


@pytest.mark.parametrize("options", [
    {"num_mel_bins": 23, "sample_rate": 8000},
    {"num_mel_bins": 40, "high_freq": -400.0, "low_freq": 64.0},
    {"num_mel_bins": 80, "window": "hamming", "frame_length": 32.0, "frame_shift": 8.0},
    {"num_mel_bins": 64, "window": "hanning", "snip_edges": False},
    {"num_mel_bins": 64, "window": "rectangular", "preemphasis": 0.0},
    {"num_mel_bins": 30, "window": "blackman", "preemphasis": 0.9},
])
def test_every_option_means_what_it_means_in_kaldi(noise, options):
    wave = noise(9001)
    theirs = witness("fbank", wave, False, **options)
    np.testing.assert_allclose(fbank(wave, **options), theirs, atol=1e-3, rtol=0)


@pytest.mark.parametrize("num", [399, 400, 559, 560, 2000, 400 + 160 * 15, 400 + 160 * 255, 400 + 160 * 256, 70001])
@pytest.mark.parametrize("snip_edges", [True, False])
def test_one_by_one_in_a_batch_and_among_other_lengths_is_the_same_bit_for_bit(noise, num, snip_edges):
    waves = [noise(num, seed=seed) for seed in range(2)]
    single = [fbank(wave, snip_edges=snip_edges) for wave in waves]
    batch = fbank(np.stack(waves), snip_edges=snip_edges)
    ragged = fbank_many([noise(1234), waves[0], noise(5, 777), waves[1]], snip_edges=snip_edges)
    assert single[0].shape == (FrameOptions(snip_edges=snip_edges).frames(num), 80)
    assert torch.equal(batch, torch.stack(single))
    assert torch.equal(ragged[1], single[0]) and torch.equal(ragged[3], single[1])


def test_mirrored_edges_of_a_signal_shorter_than_a_window_are_kaldis(noise):
    wave = noise(130)
    np.testing.assert_allclose(fbank(wave, num_mel_bins=40, snip_edges=False),
                               witness("fbank", wave, False, num_mel_bins=40, snip_edges=False), atol=1e-3, rtol=0)


def test_too_short_a_signal_has_no_frames(noise):
    assert fbank(noise(399)).shape == (0, 80)
    assert fbank_many([]) == []


def test_digital_silence_is_floored_at_the_log_of_epsilon():
    assert fbank(np.zeros(400, np.float32)).flatten().tolist() == pytest.approx([-15.9424] * 80, abs=1e-4)


def test_energy_comes_first_and_is_that_of_the_centred_window(noise):
    wave = noise(400) + np.float32(0.2)
    with_energy = fbank(wave, use_energy=True)
    centred = (wave.astype(np.float64) - wave.mean(dtype=np.float64)) * 32768
    assert with_energy.shape == (1, 81)
    assert with_energy[0, 0].item() == pytest.approx(np.log((centred**2).sum()), abs=1e-5)
    assert torch.equal(with_energy[:, 1:], fbank(wave))


def test_dither_comes_from_the_generator_and_lifts_silence(noise):
    silence = np.zeros(4000, np.float32)
    first, second = (fbank(silence, dither=1.0, generator=torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(first, second)
    other = fbank(silence, dither=1.0, generator=torch.Generator().manual_seed(4))
    assert not torch.equal(first, other)
    # unit Gaussian noise: the energy of 400 samples
    energy = fbank(silence, dither=1.0, use_energy=True, generator=torch.Generator().manual_seed(3))[:, 0]
    assert energy.mean().item() == pytest.approx(np.log(400), abs=0.05)


def test_autocast_does_not_reach_the_features(noise):
    wave = torch.from_numpy(noise(4000))
    with torch.autocast("cpu", torch.bfloat16):
        inside = fbank(wave)
    assert torch.equal(inside, fbank(wave))


def test_double_precision_and_gradient_carrying_input_give_plain_float32(noise):
    wave = torch.from_numpy(noise(4000))
    found = fbank(wave.double().requires_grad_())
    assert found.dtype == torch.float32 and not found.requires_grad
    assert torch.equal(found, fbank(wave))


def test_energy_is_computed_only_when_asked_for(noise):
    options = FrameOptions()
    assert mel_energies([noise(4000)], options)[0][1] is None
    assert mel_energies([noise(2, 4000)], options, with_energy=True)[0][1].shape == (2, 23)


@pytest.mark.parametrize("options, says", [
    ({"low_freq": 5000.0, "high_freq": 4000.0}, "low_freq 5000.0 and high_freq 4000.0"),
    ({"high_freq": 9000.0}, "inside 0 to 8000 Hz"),
    ({"num_mel_bins": 300}, "num_mel_bins 300 is too many"),
    ({"window": "gauss"}, "unknown analysis window 'gauss'"),
    ({"frame_shift": 0.01}, "frame_shift 0.01 ms is too short"),
    ({"preemphasis": 1.5}, "preemphasis"),
    ({"dither": -1.0}, "dither"),
])
def test_options_that_make_no_sense_are_refused_by_name(noise, options, says):
    with pytest.raises(InputError, match=says):
        fbank(noise(4000), **options)


def test_integer_samples_are_refused():
    with pytest.raises(InputError, match="int16.*divide by 32768"):
        fbank(np.zeros(4000, np.int16))


def test_filters_are_triangles_that_ignore_the_nyquist_bin():
    weights = mel_weights(FrameOptions())
    assert weights.shape == (257, 80) and not weights[256].any()
    assert (weights >= 0).all() and weights.max() <= 1
    assert (np.count_nonzero(weights, axis=1) <= 2).all()
