"""Sounds made from random numbers: coloured noise, simple music, room responses, and what a session does to speech.

All arrays are float64 (N,) at ``SAMPLE_RATE``; every function draws from the numpy Generator given to it.
"""

import wave

import numpy as np

SAMPLE_RATE = 16000
_BLOCKS = 16  # resampling blocks taken together, so that the transform's length has small factors


def _easy_size(num_samples):
    """The next length whose Fourier transform is quick."""
    return -(-num_samples // 1600) * 1600


def resample(samples, from_rate, to_rate=SAMPLE_RATE):
    """Band-limited resampling by cutting the spectrum; the length becomes the rounded ratio of the rates."""
    divisor = np.gcd(from_rate, to_rate)
    block, out_block = _BLOCKS * from_rate // divisor, _BLOCKS * to_rate // divisor
    padded = np.pad(samples, (0, -len(samples) % block))
    size = len(padded) // block * out_block
    spectrum = np.fft.rfft(padded)[: size // 2 + 1]
    return np.fft.irfft(spectrum, size)[: round(len(samples) * to_rate / from_rate)] * (to_rate / from_rate)


def write_wav(path, samples):
    """Write float samples in [-1, 1) as 16-bit PCM."""
    with wave.open(path, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes(np.clip(np.round(samples * 32768), -32768, 32767).astype("<i2").tobytes())


def at_level(samples, rms_db):
    """Scale to a level in dB below full scale; samples beyond full scale are brought back by scaling all."""
    samples = samples * (10 ** (rms_db / 20) / max(np.sqrt(np.mean(samples**2)), 1e-9))
    return samples * min(1.0, 0.98 / max(np.abs(samples).max(), 1e-9))


def smooth_curve(points, size):
    """``size`` values through equally spaced ``points``, joined by cosines."""
    place = np.linspace(0, len(points) - 1, size)
    left = np.minimum(place.astype(int), len(points) - 2)
    weight = (1 - np.cos(np.pi * (place - left))) / 2
    return points[left] * (1 - weight) + points[left + 1] * weight


def channel(rng, spread_db):
    """Gains of a recording channel at 513 frequencies from 0 to 8 kHz: a smooth random curve of ``spread_db``
    standard deviation, and a random lower and upper band edge."""
    frequency = np.linspace(0, SAMPLE_RATE / 2, 513)
    gain_db = smooth_curve(rng.normal(0, spread_db, 9), 513)
    low, high = rng.uniform(40, 250), rng.choice([3600.0, 5500.0, 7600.0])
    gain_db -= 24 * np.maximum(0, np.log2(low / np.maximum(frequency, 10))) / 2
    gain_db -= 48 * np.maximum(0, np.log2(np.maximum(frequency, 10) / high))
    return 10 ** (gain_db / 20)


def through_channel(samples, gains):
    """Apply gains given from 0 to the Nyquist frequency, with no delay."""
    size = _easy_size(len(samples))
    spectrum = np.fft.rfft(samples, size)
    place = np.linspace(0, 1, len(spectrum))
    return np.fft.irfft(spectrum * np.interp(place, np.linspace(0, 1, len(gains)), gains), size)[: len(samples)]


def coloured_noise(rng, num_samples):
    """Noise whose power falls by a random 0 to 9 dB an octave, through a random channel, its level swelling slowly."""
    size = _easy_size(num_samples)
    spectrum = rng.normal(size=size // 2 + 1) + 1j * rng.normal(size=size // 2 + 1)
    spectrum *= np.maximum(np.arange(size // 2 + 1), 1) ** (-rng.uniform(0, 1.5))
    noise = through_channel(np.fft.irfft(spectrum, size)[:num_samples], channel(rng, 5.0))
    swell_db = smooth_curve(rng.normal(0, rng.uniform(0, 6), 2 + num_samples // SAMPLE_RATE), num_samples)
    return noise * 10 ** (swell_db / 20)


def add_noise(samples, noise, snr_db):
    """Add ``noise`` (N,) so that the energy ratio over the whole is ``snr_db``."""
    return samples + noise * np.sqrt(np.mean(samples**2) / np.mean(noise**2) / 10 ** (snr_db / 10))


def music(rng, num_samples):
    """Plucked notes of a pentatonic scale over a bass, five to nine harmonics each."""
    seconds = np.arange(num_samples) / SAMPLE_RATE
    root, beat = rng.uniform(110, 220), rng.uniform(0.2, 0.5)
    total = np.zeros(num_samples)
    for start in np.arange(0, num_samples / SAMPLE_RATE, beat):
        pitch = root * 2 ** (rng.choice([-12, 0, 2, 4, 7, 9, 12, 14]) / 12)
        age = seconds[int(start * SAMPLE_RATE) :] - start
        harmonics = range(1, rng.integers(6, 10))
        note = sum(np.sin(2 * np.pi * pitch * h * age) / h ** rng.uniform(0.8, 1.6) for h in harmonics)
        total[len(total) - len(age) :] += note * np.exp(-age * rng.uniform(2, 6)) * rng.uniform(0.4, 1)
    return total


def room_response(rng, t60):
    """A room impulse response: direct sound after 2.5 ms, early reflections, noise falling by 60 dB in ``t60`` s."""
    size = int((t60 + 0.05) * SAMPLE_RATE)
    age = np.arange(size) / SAMPLE_RATE
    response = rng.normal(size=size) * 10 ** (-3 * age / t60) * rng.uniform(0.02, 0.08)
    direct = int(0.0025 * SAMPLE_RATE)
    response[: direct + rng.integers(30, 120)] = 0
    early = direct + rng.integers(30, int(0.03 * SAMPLE_RATE), size=8)
    response[early] += rng.choice([-1, 1], 8) * rng.uniform(0.1, 0.4, 8)
    response[direct] = 1.0
    return 0.5 * response / np.abs(response).max()
