"""Log-mel filter-bank features equal to Kaldi's ``compute-fbank-feats``, batched, on any device.

Every input becomes one long signal in which each waveform starts at a multiple of the frame shift, so that the frames
of a whole batch are a single strided view; it is worked through in blocks that stay in the processor's cache. The
result for a waveform does not depend on what else is in the batch.
"""

import math
from dataclasses import dataclass, fields
from functools import lru_cache

import numpy as np
import torch

from wespk.features.framing import frame_samples, num_frames, reflect_index, window_function
from wespk.utils.errors import InputError

EPSILON = float(np.finfo(np.float32).eps)  # Kaldi's floor of energies: the smallest log is -15.94
INT16_SCALE = 32768.0
_BLOCK = {"cpu": 256, "cuda": 32768}  # frames worked on at a time
_MEL_GROUP = 16  # neighbouring filters share one product over just the FFT bins that they cover
_ROWS = 16  # matrix products take a multiple of this many frames: with 1 to 3 the last bit differs from that with more


@dataclass(frozen=True)
class FrameOptions:
    """What turns samples into mel energies. Frequencies in Hz, times in milliseconds; see ``fbank``."""

    sample_rate: int = 16000
    num_mel_bins: int = 80
    frame_length: float = 25.0
    frame_shift: float = 10.0
    low_freq: float = 20.0
    high_freq: float = 0.0
    dither: float = 0.0
    preemphasis: float = 0.97
    window: str = "povey"
    snip_edges: bool = True

    @property
    def length(self):
        """Window length, samples."""
        return frame_samples(self.sample_rate, self.frame_length)

    @property
    def shift(self):
        """Frame shift, samples."""
        return frame_samples(self.sample_rate, self.frame_shift)

    @property
    def fft_size(self):
        """The power of two that holds a window."""
        return 1 << (self.length - 1).bit_length()

    @property
    def top_freq(self):
        """Upper edge of the highest filter, Hz, with 0 and negative ``high_freq`` resolved."""
        return self.high_freq if self.high_freq > 0 else self.sample_rate / 2 + self.high_freq

    def frames(self, num_samples):
        """Frames made of ``num_samples`` samples."""
        return num_frames(num_samples, self.length, self.shift, self.snip_edges)

    def check(self):
        """Raise ``InputError`` naming the option that makes no sense."""
        if self.length < 2 or self.shift < 1:
            raise InputError(f"frame_length {self.frame_length} ms or frame_shift {self.frame_shift} ms is too short "
                             f"at {self.sample_rate} Hz: at least 2 samples and 1 sample are needed")
        if not 0 <= self.low_freq < self.top_freq <= self.sample_rate / 2:
            raise InputError(f"low_freq {self.low_freq} and high_freq {self.high_freq} must name a band inside "
                             f"0 to {self.sample_rate / 2:g} Hz")
        if not 0 <= self.preemphasis <= 1:
            raise InputError(f"preemphasis must lie in 0 to 1, not {self.preemphasis}")
        if self.dither < 0:
            raise InputError(f"dither must not be negative, not {self.dither}")
        return self


FRAME_OPTIONS = tuple(f.name for f in fields(FrameOptions))


def _mel(hz):
    """The mel scale in Kaldi's single precision (its rounding shows in the narrow low filters)."""
    ratio = np.float32(1) + np.asarray(hz, np.float32) / np.float32(700)
    return np.float32(1127) * np.log(ratio.astype(np.float64)).astype(np.float32)


def mel_weights(options):
    """Triangular filters (fft_size / 2 + 1, num_mel_bins) float32 on the power spectrum, as Kaldi's.

    The Nyquist bin has no weight, as in Kaldi. Raises ``InputError`` for a filter that covers no FFT bin.
    """
    bins = options.fft_size // 2
    low, high = _mel(options.low_freq), _mel(options.top_freq)
    step = (high - low) / np.float32(options.num_mel_bins + 1)
    at = _mel(np.float32(options.sample_rate / options.fft_size) * np.arange(bins, dtype=np.float32))[:, None]
    number = np.arange(options.num_mel_bins, dtype=np.float32)
    left, center, right = low + number * step, low + (number + 1) * step, low + (number + 2) * step
    slopes = np.where(at <= center, (at - left) / (center - left), (right - at) / (right - center))
    weights = np.zeros((bins + 1, options.num_mel_bins), np.float32)
    weights[:bins] = np.where((at > left) & (at < right), slopes, 0)
    if not (weights > 0).any(0).all():
        raise InputError(f"num_mel_bins {options.num_mel_bins} is too many: the filter number "
                         f"{int(np.argmin((weights > 0).any(0)))} covers no FFT bin; use fewer")
    return weights


@lru_cache(maxsize=16)
def _tables(options, device):
    """(window, [(first column, last column, first filter, last filter, weights), ...]) on ``device``.

    Columns are those of the FFT's output seen as reals: real and imaginary part of each bin in turn.
    """
    options.check()
    weights, groups = mel_weights(options), []
    for a in range(0, options.num_mel_bins, _MEL_GROUP):
        part = weights[:, a : a + _MEL_GROUP]
        used = np.flatnonzero(part.any(1))
        low, high = int(used[0]), int(used[-1]) + 1
        twice = part[low:high].repeat(2, axis=0)  # once for the squared real and once for the imaginary part
        groups.append((2 * low, 2 * high, a, a + part.shape[1], torch.from_numpy(twice).to(device)))
    window = torch.from_numpy(window_function(options.window, options.length)).to(device)
    return window, groups


class _Block:
    """Working memory for ``rows`` frames (a multiple of _ROWS), and the arithmetic on one block of them."""

    def __init__(self, options, rows, device):
        self.rows, self.dither, self.preemphasis = rows, options.dither, options.preemphasis
        self.window, groups = _tables(options, device)
        self.centred = torch.empty(rows, options.length, device=device)
        self.scaled = torch.empty(rows, options.length, device=device)
        self.padded = torch.zeros(rows, options.fft_size, dtype=torch.float64, device=device)
        self.power = torch.empty(rows, options.fft_size + 2, device=device)
        self.body, self.tail = self.centred[:, 1:], self.scaled[:, :-1]
        self.head, self.head_scaled = self.centred[:, 0], self.scaled[:, 0]
        self.filled = self.padded[:, : options.length]
        self.parts = [(self.power[:, low:high], a, b, weights) for low, high, a, b, weights in groups]

    def __call__(self, frames, log_mel, log_energy, generator):
        """frames (rows, length) at int16 scale -> results in log_mel (rows, num_mel_bins) and log_energy (rows,) or None.

        Pre-emphasis rounds as Kaldi's does. The FFT is in double precision: what is
        then left of the distance from Kaldi is the rounding of Kaldi's own.
        """
        if self.dither:
            frames = frames + self.dither * torch.randn(frames.shape, generator=generator, device=frames.device)
        torch.sub(frames, frames.mean(1, keepdim=True), out=self.centred)
        if log_energy is not None:
            torch.sum(torch.mul(self.centred, self.centred, out=self.scaled), 1, out=log_energy)
            log_energy.clamp_min_(EPSILON).log_()
        torch.mul(self.centred, self.preemphasis, out=self.scaled)
        self.body.sub_(self.tail)
        self.head.sub_(self.head_scaled)
        self.filled.copy_(self.centred.mul_(self.window))
        spectrum = torch.fft.rfft(self.padded)
        self.power.copy_(torch.view_as_real(spectrum).flatten(1)).square_()
        for columns, a, b, weights in self.parts:
            torch.mm(columns, weights, out=log_mel[:, a:b])
        log_mel.clamp_min_(EPSILON).log_()


def _as_signals(waveforms):
    """Float32 tensors (N,) or (B, N) of a list of arrays or tensors, type-checked."""
    signals = []
    for wave in waveforms:
        wave = torch.as_tensor(wave)
        if not wave.is_floating_point():
            raise InputError(f"waveforms are floating-point samples in [-1, 1], not {wave.dtype}: divide by 32768")
        signals.append(wave.to(torch.float32))
    return signals


def _lay_out(signals, options):
    """Join signals (N,) or (B, N) into one, each row starting at a multiple of the frame shift.

    Returns (joined (S,) at int16 scale, a list of (first frame, frame slots a row, frames a row) for each signal, frames
    in all, a multiple of _ROWS).
    """
    length, shift = options.length, options.shift
    pieces, places, at = [], [], 0
    for signal in signals:
        frames = options.frames(signal.shape[-1])
        if frames and not options.snip_edges:
            index = reflect_index(signal.shape[-1], length, shift)
            signal = signal[..., torch.from_numpy(index).to(signal.device)]
        slots = max(-(-signal.shape[-1] // shift), frames)
        pieces.append((signal, slots))
        places.append((at, slots, frames))
        at += slots * math.prod(signal.shape[:-1])
    total = -(-at // _ROWS) * _ROWS
    joined = torch.empty(total * shift + length, device=signals[0].device)
    joined[at * shift :] = 0
    for (signal, slots), (start, _, _) in zip(pieces, places):
        rows = math.prod(signal.shape[:-1])
        room = joined[start * shift : (start + rows * slots) * shift].view(*signal.shape[:-1], slots * shift)
        torch.mul(signal, INT16_SCALE, out=room[..., : signal.shape[-1]])
        room[..., signal.shape[-1] :] = 0  # frames across the gap are dropped, but must not be of subnormal garbage
    return joined, places, total


def _blocks(total, size):
    """(first, number) of each run of at most ``size`` out of ``total`` frames."""
    return [(a, min(size, total - a)) for a in range(0, total, size)]


@torch.no_grad()
def mel_energies(waveforms, options, with_energy=False, generator=None):
    """Log mel energies of several waveforms at once, and with ``with_energy`` their raw log energies.

    waveforms: list of (N,) or (B, N) floating-point samples in [-1, 1), on one device; ``options``: FrameOptions.
    Returns a list of (log_mel (..., T, F), log_energy (..., T) or None) float32, natural log. Energy is taken after the
    mean of each window is removed and before pre-emphasis and windowing (Kaldi's --raw-energy).
    """
    signals = _as_signals(waveforms)
    if not signals:
        return []
    joined, places, total = _lay_out(signals, options)
    device = joined.device
    log_mel = torch.empty(total, options.num_mel_bins, device=device)
    log_energy = torch.empty(total, device=device) if with_energy else None
    work = None
    frames = joined.unfold(0, options.length, options.shift)
    for a, rows in _blocks(total, _BLOCK.get(device.type, 4096)):
        if work is None or rows != work.rows:
            work = _Block(options, rows, device)
        part = slice(a, a + rows)
        work(frames[part], log_mel[part], log_energy[part] if with_energy else None, generator)
    found = []
    for signal, (start, slots, count) in zip(signals, places):
        shape = (*signal.shape[:-1], slots)
        part = slice(start, start + math.prod(shape))
        energy = log_energy[part].view(shape)[..., :count] if with_energy else None
        found.append((log_mel[part].view(*shape, -1)[..., :count, :], energy))
    return found


def fbank_many(waveforms, use_energy=False, generator=None, **options):
    """``fbank`` of a list of waveforms of any lengths, as one batch; returns a list in the same order."""
    found = mel_energies(waveforms, FrameOptions(**options).check(), use_energy, generator)
    if use_energy:
        return [torch.cat([energy[..., None], mel], -1) for mel, energy in found]
    return [mel.contiguous() for mel, _ in found]


def fbank(waveform, sample_rate=16000, num_mel_bins=80, dither=0.0, frame_length=25.0, frame_shift=10.0, low_freq=20.0,
          high_freq=0.0, preemphasis=0.97, window="povey", snip_edges=True, use_energy=False,
          generator=None):
    """Log mel filter-bank features.

    waveform: (N,) or (B, N) numpy or torch floating-point samples in [-1, 1), on any device. Returns (T, F) or (B, T, F)
    float32, natural log of mel energies of int16-scaled samples, floored at -15.94; T may be 0 for a signal shorter
    than a window. No gradient flows back.

    Args as Kaldi's compute-fbank-feats: frame_length, frame_shift in ms; low_freq, high_freq in Hz (0: the Nyquist
    frequency; negative: that much below it); dither: standard deviation of Gaussian noise added to each frame, in
    int16 units, drawn from ``generator``; use_energy: raw log energy as an extra first column.
    Raises ``InputError`` for options that make no sense and for integer samples.
    """
    return fbank_many([waveform], use_energy, generator, sample_rate=sample_rate, num_mel_bins=num_mel_bins,
                      frame_length=frame_length, frame_shift=frame_shift, low_freq=low_freq, high_freq=high_freq,
                      dither=dither, preemphasis=preemphasis, window=window, snip_edges=snip_edges)[0]
