"""The signal processing behind the synthetic corpus."""

import wave

import numpy as np
import pytest

from wespk.corpora import synthetic_sound as sound


@pytest.mark.parametrize("num_samples", [22050, 30011, 44100])
def test_resampling_keeps_a_tone(num_samples):
    tone = np.sin(2 * np.pi * 440 * np.arange(num_samples) / 22050)
    out = sound.resample(tone, 22050)
    assert len(out) == round(num_samples * 16000 / 22050)
    expected = np.sin(2 * np.pi * 440 * np.arange(len(out)) / 16000)
    assert np.abs(out - expected)[500:-500].max() < 1e-2  # the ends ring: the tone starts and stops at once


def test_noise_is_added_at_the_ratio_asked_for():
    rng = np.random.default_rng(0)
    speech, noise = rng.normal(size=16000), sound.coloured_noise(rng, 16000)
    mixed = sound.add_noise(speech, noise, 7.0)
    assert 10 * np.log10(np.mean(speech**2) / np.mean((mixed - speech) ** 2)) == pytest.approx(7.0)


def test_a_flat_channel_changes_nothing():
    samples = np.random.default_rng(1).normal(size=3333)
    assert np.allclose(sound.through_channel(samples, np.ones(513)), samples)


def test_levels_are_met_without_clipping():
    samples = np.random.default_rng(2).normal(size=16000)
    assert np.sqrt(np.mean(sound.at_level(samples, -30) ** 2)) == pytest.approx(10**-1.5)
    assert np.abs(sound.at_level(samples, 0)).max() <= 0.98


def test_a_room_response_starts_with_the_direct_sound_and_decays_as_said():
    response = sound.room_response(np.random.default_rng(3), t60=0.4)
    assert np.argmax(np.abs(response)) == 40 and np.abs(response).max() == 0.5

    def level(start):
        part = response[int(start * 16000) : int((start + 0.05) * 16000)]
        return 10 * np.log10(np.mean(part**2))

    assert level(0.1) - level(0.3) == pytest.approx(30, abs=3)  # 60 dB in 0.4 s is 30 dB in 0.2 s


def test_music_and_noise_last_as_long_as_asked():
    rng = np.random.default_rng(4)
    for size in (16001, 50000):
        assert len(sound.music(rng, size)) == len(sound.coloured_noise(rng, size)) == size


def test_wav_files_hold_16_bits_and_saturate(tmp_path):
    path = str(tmp_path / "x.wav")
    sound.write_wav(path, np.array([0.0, 0.5, 1.5, -1.5]))
    with wave.open(path) as file:
        assert file.getparams()[:4] == (1, 2, 16000, 4)
        assert np.frombuffer(file.readframes(4), "<i2").tolist() == [0, 16384, 32767, -32768]
