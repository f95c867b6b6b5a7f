"""Training input, from bytes on disk to features on the device: wespk against a pipeline utterance by utterance.

    . tools/path.sh; OMP_NUM_THREADS=1 python tools/bench/training_input.py --input waves --frames 100,200,400

Sizes are frames in a chunk; every side makes --chunks chunks, and its rate is chunks a second of CPU time, one thread.
Ours:

    fetch         what a loader's worker does by itself: reads the bytes that are wanted
    worker        the same through a loader with one worker, both ends; its start, which happens once, apart
    finish        what the training device does, here on the CPU: dequantises, or changes speed, spoils and makes
                  filterbanks; then normalises
    all           fetch and finish in one process, on one core

The other side is the first row, which "x" compares with; it sends nothing between processes. --input waves: soundfile
reads the recording (torchaudio 2.11 has no reader of its own), torchaudio.functional.resample changes the speed, a
chunk is cut out, scipy.signal.fftconvolve reverberates, noise of the bank is added at an SNR,
torchaudio.compliance.kaldi makes filterbanks. Its noises and impulse responses lie in memory, as ours do. --input
feats: kaldiio loads the matrix, a chunk is cut out.

Before anything is timed: a batch made twice is the same; other company changes nothing but last bits; and what
both sides make of the same samples is the same.
"""

import resource
from functools import partial
from pathlib import Path

import made_up
import numpy as np
import torch
from measuring import Measured, Rows, peak_memory, reset_peak, sizes, turns

from wespk.data import build_source
from wespk.data.loader import Batch, stream
from wespk.data.sampler import EpochPlan
from wespk.io.audio import floating, read_audio
from wespk.io.tables import read_table
from wespk.utils import config
from wespk.utils.cli import main
from wespk.utils.errors import InputError

SPEEDS = (0.9, 1.1)
GOAL = {"feats": 10_000, "waves": 3_000}
LONGER = 4  # times as many chunks through the loader


class OneByOne:
    """The other side on audio: each utterance by itself, in the order that recipes of other toolkits have.

    Speed by ``SPEEDS``, then of the share ``prob`` half reverberation and half noise at 0 to 15 dB, then filterbanks
    (T, 80) less their mean.
    """

    def __init__(self, data, bank, frames, prob):
        self.paths = list(read_table(data / "wav.scp").values())
        self.samples, self.prob = (frames - 1) * 160 + 400, prob
        self.noises, self.responses = ([read_audio(path)[0] for path in read_table(bank / f"{table}.scp").values()]
                                       for table in ("noise", "rirs"))  # fmt: skip
        self.draw = np.random.default_rng(0)

    def _crop(self, samples):
        start = self.draw.integers(max(len(samples) - self.samples, 0) + 1)
        return np.resize(samples[start : start + self.samples], self.samples)

    def utterance(self, path):
        import soundfile
        from scipy.signal import fftconvolve
        from torchaudio.functional import resample

        samples, rate = soundfile.read(path, dtype="float32")
        speed = (1, *SPEEDS)[self.draw.integers(1 + len(SPEEDS))]
        if speed != 1:
            samples = resample(torch.from_numpy(samples), int(rate * speed), rate).numpy()
        samples = self._crop(samples)
        if self.draw.random() < self.prob:
            if self.draw.random() < 0.5:
                response = self.responses[self.draw.integers(len(self.responses))]
                samples = fftconvolve(samples, response / np.sqrt(np.square(response).sum()))[: self.samples]
            else:
                noise = self._crop(self.noises[self.draw.integers(len(self.noises))])
                power = np.square(samples).mean() / np.square(noise).mean()
                samples = samples + noise * np.sqrt(power * 10 ** (-self.draw.uniform(0, 15) / 10))
        return features_of(samples)

    def batch(self, items):
        return torch.stack([self.utterance(self.paths[item]) for item in items])


def features_of(samples):
    """torchaudio's filterbanks (T, 80) of one waveform (N,), less their mean."""
    from torchaudio.compliance.kaldi import fbank

    wave = torch.from_numpy(np.asarray(samples, np.float32))[None] * 32768
    feats = fbank(wave, num_mel_bins=80, dither=0, sample_frequency=made_up.RATE)
    return feats - feats.mean(0)


class WholeMatrix:
    """The other side on arks: kaldiio loads the matrix of an utterance, of which a chunk is cut out."""

    def __init__(self, data, frames):
        self.specs, self.frames = list(read_table(data / "feats.scp").values()), frames
        self.draw = np.random.default_rng(0)

    def batch(self, items):
        import kaldiio

        chunks = []
        for item in items:
            matrix = kaldiio.load_mat(self.specs[item])
            start = self.draw.integers(max(len(matrix) - self.frames, 0) + 1)
            chunks.append(np.resize(matrix[start : start + self.frames], (self.frames, matrix.shape[1])))
        feats = torch.from_numpy(np.stack(chunks))
        return feats - feats.mean(1, keepdim=True)


def _batches(source, items, batch):
    """``Batch`` es of the first epoch, fetched in this process."""
    for first in range(0, len(items), batch):
        some = items[first : first + batch]
        inputs, labels = source.fetch(0, some)
        yield Batch(inputs, torch.from_numpy(some), torch.from_numpy(labels), 0, len(some))


def _finish(source, batches):
    for batch in batches:
        feats = source.finish(batch, torch.device("cpu"))
    return feats


def _through_loader(source, chunks, batch):
    """CPU seconds of both ends for ``chunks`` chunks through a loader with one worker, and for its start and end."""
    plan = EpochPlan(len(source.labels), batch)

    def spent():
        used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return sum(one.ru_utime + one.ru_stime for one in used)

    def run(steps):
        before = spent()
        found = sum(len(one.items) for one in stream(source, plan, 0, steps, num_workers=1))
        return spent() - before, found

    (start, few), (whole, many) = run(1), run(1 + LONGER * -(-chunks // batch))
    return (whole - start) * chunks / (many - few), start


def check(source, frames):
    """Raise ``InputError`` unless batches are of the right shape, and the same when made again or in other company."""
    items = np.arange(min(24, len(source.labels)))
    once, again = (_finish(source, _batches(source, items, len(items))) for _ in range(2))
    alone = torch.cat([_finish(source, _batches(source, items[i : i + 1], 1)) for i in items])
    if once.shape != (len(items), frames, 80) or not torch.isfinite(once).all():
        raise InputError(f"a batch of shape {tuple(once.shape)}, or with values that are not finite")
    if not torch.equal(once, again) or not torch.allclose(once, alone, atol=1e-2):
        raise InputError("a chunk is not a function of seed, epoch and utterance: "
                         f"{(once - again).abs().max():.1e} between two times, {(once - alone).abs().max():.1e} alone")


def agree_on_audio(data, sets):
    """The largest difference of our features from torchaudio's, of the samples that a worker reads, as they are."""
    source = build_source(config.load(sets=sets), data)
    batch = next(_batches(source, np.arange(min(8, len(source.labels))), 8))
    theirs = torch.stack([features_of(wave.numpy()) for wave in floating(batch.inputs["waves"])])
    return float((source.finish(batch, torch.device("cpu")) - theirs).abs().max())


def agree_on_arks(source, other):
    """The largest difference of our features from kaldiio's, of a whole utterance."""
    matrix = torch.from_numpy(source.reader.read(0))
    other.frames = len(matrix)
    return float((source.front_end.normalise(matrix) - other.batch([0])[0]).abs().max())


def _measure(rows, frames, sides, source, chunks, batch, rounds):
    spent, peaks = {}, {}
    for name, work in sides.items():
        before = reset_peak()
        work()
        peaks[name] = max(0, peak_memory() - before)
    spent = turns(sides, rounds)
    for name in sides:
        rows.add(frames, name, spent[name], peaks[name], f"{chunks / min(spent[name].cpu):,.0f} a second")
        if name == "fetch":
            seconds, start = map(min, zip(*(_through_loader(source, chunks, batch) for _ in range(rounds))))
            note = f"{chunks / seconds:,.0f} a second; and once {start:.2f} s"
            rows.add(frames, "worker", Measured(seconds, seconds, None), note=note)
    return {name: chunks / min(one.cpu) for name, one in spent.items()} | {"worker": chunks / seconds}


def bench(input: str = "waves", frames: str = "100,200,400", chunks: int = 256, batch: int = 64, utterances: int = 500,
          audio: str = "wav", prob: float = 0.6, rounds: int = 3, data: str = "", bank: str = ""):
    """Print a table; at the end, the rates at the middle size beside the goals.

    Args:
        input: feats (arks of stage 2) or waves (recordings with speed, noise and reverberation)
        frames: frames in a chunk, several sizes
        chunks: how many each side makes in a round
        batch: utterances in a batch
        utterances: of the made-up data
        audio: kind of the made-up recordings: wav or flac
        prob: share of chunks that get noise or reverberation
        rounds: of each side, taking turns
        data: folder of stage 1 or 2 to take instead of made-up data
        bank: folder with its noise.scp, music.scp, speech.scp and rirs.scp
    """
    if input not in GOAL or audio not in ("wav", "flac"):
        raise InputError(f"--input is feats or waves, --audio wav or flac, not '{input}' and '{audio}'")
    wanted = sizes(frames, 20)
    torch.set_num_threads(1)
    with made_up.folder("training_input") as made:
        data, bank = Path(data or made), Path(bank or made)
        if data == Path(made):
            made_up.features(data, utterances) if input == "feats" else made_up.audio(data, utterances, kind=audio)
        if input == "waves" and bank == Path(made):
            made_up.noises(bank)
        rows, rates = Rows("frames"), {}
        for size in wanted:
            rates[size] = _one_size(rows, input, size, chunks, batch, prob, rounds, data, bank)
    middle = wanted[len(wanted) // 2]
    found, other = rates[middle], rates[middle]["other"]
    told = ", ".join(f"{name} {rate:,.0f} ({rate / other:.1f} x)" for name, rate in found.items())
    print(f"{middle} frames, chunks a second of CPU time: {told}; goal for the worker: {GOAL[input]:,}")


def _one_size(rows, input, size, chunks, batch, prob, rounds, data, bank):
    sets = f"data.input={input} data.chunk_frames={size} data.min_frames=20 "
    plain, augmented = sets, f"{sets} augment.prob={prob} augment.speeds=[{','.join(map(str, SPEEDS))}]"
    source = build_source(config.load(sets=augmented if input == "waves" else plain), data, bank, bank)
    check(source, size)
    items = np.resize(np.random.default_rng(0).permutation(len(source.labels)), chunks)
    pieces = [items[first : first + batch] for first in range(0, chunks, batch)]
    if input == "waves":
        other, differ = OneByOne(data, bank, size, prob), agree_on_audio(data, plain)
    else:
        other = WholeMatrix(data, size)
        differ, other.frames = agree_on_arks(source, other), size
    if differ > 0.02:
        raise InputError(f"both sides differ by {differ:.1e} on the same samples")
    ready = list(_batches(source, items[: min(chunks, 4 * batch)], batch))
    ready = [ready[i % len(ready)] for i in range(len(pieces))]
    sides = {"other": lambda: [other.batch(piece) for piece in pieces],
             "fetch": lambda: list(_batches(source, items, batch)),
             "finish": partial(_finish, source, ready),
             "all": lambda: _finish(source, _batches(source, items, batch))}  # fmt: skip
    return _measure(rows, size, sides, source, chunks, batch, rounds)


if __name__ == "__main__":
    main(bench)
