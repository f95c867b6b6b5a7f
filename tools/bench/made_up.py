"""Made-up data folders for benchmarks, as stages 1 and 2 leave them, of noise, which costs what speech costs."""

import os
import tempfile

import numpy as np

from wespk.io.ark import ArkWriter
from wespk.io.tables import write_table

RATE = 16000
UTTERANCES_OF_A_SPEAKER = 4
NOISES, RESPONSES = 40, 40  # files of each kind, some minutes in all


def folder(prefix):
    """A temporary folder in memory, where there is one: the disk is not what is measured. A context manager."""
    return tempfile.TemporaryDirectory(prefix=f"{prefix}.", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None)


def names(number):
    """Ids of ``number`` utterances, sorted; the part before the dash is the speaker."""
    return [f"id{i // UTTERANCES_OF_A_SPEAKER:05d}-{i % UTTERANCES_OF_A_SPEAKER:05d}" for i in range(number)]


def features(folder, number, least=4.0, most=12.0, dim=80, compress=2, seed=0):
    """``number`` utterances of ``least`` to ``most`` seconds as stage 2 leaves them: feats.scp, one ark, tables."""
    draw, keys = np.random.default_rng(seed), names(number)
    rows = draw.integers(int(100 * least), int(100 * most), number)
    with ArkWriter(folder / "feats.ark", folder / "feats.scp", compress=compress) as ark:
        for key, num in zip(keys, rows):
            ark.write(key, draw.normal(size=(num, dim)).astype(np.float32))
    write_table(folder / "utt2num_frames", {key: str(num) for key, num in zip(keys, rows)})
    write_table(folder / "utt2spk", {key: key.partition("-")[0] for key in keys})


def audio(folder, number, least=4.0, most=12.0, kind="wav", seed=0):
    """``number`` recordings of ``least`` to ``most`` seconds as stage 1 leaves them, 16 bit, of a kind: wav or flac."""
    draw, keys = np.random.default_rng(seed), names(number)
    samples = draw.integers(int(RATE * least), int(RATE * most), number)
    write_table(folder / "wav.scp", {key: _write(folder / f"{key}.{kind}", draw.normal(scale=0.1, size=size))
                                     for key, size in zip(keys, samples)})  # fmt: skip
    write_table(folder / "utt2dur", {key: f"{size / RATE:.7g}" for key, size in zip(keys, samples)})
    write_table(folder / "utt2spk", {key: key.partition("-")[0] for key in keys})


def noises(folder, seed=1):
    """noise.scp, music.scp, speech.scp (5 to 20 s) and rirs.scp (0.5 s, decaying by 60 dB in 0.4 s) in one folder."""
    draw = np.random.default_rng(seed)
    for table, number in (("noise", NOISES), ("music", NOISES), ("speech", NOISES), ("rirs", RESPONSES)):
        lines = {}
        for i in range(number):
            size = RATE // 2 if table == "rirs" else int(draw.integers(5 * RATE, 20 * RATE))
            fade = 10 ** (-3 * np.arange(size) / (0.4 * RATE)) if table == "rirs" else 1
            lines[f"{table}{i:03d}"] = _write(folder / f"{table}{i:03d}.wav", draw.normal(scale=0.1, size=size) * fade)
        write_table(folder / f"{table}.scp", lines)


def _write(path, samples):
    import soundfile

    soundfile.write(path, samples, RATE, subtype="PCM_16")
    return str(path)
