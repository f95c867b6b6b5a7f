"""Data folders of short recordings for stage 2: bursts of noise, a pause, at 16 kHz."""

import numpy as np
import soundfile

from wespk.io.tables import spk2utt_of, write_table
from wespk.utils import config


def burst(seconds, seed):
    """Float32 samples: noise with a quiet middle third, so that the VAD has something to find."""
    wave = np.random.default_rng(seed).normal(0, 0.1, int(16000 * seconds)).astype(np.float32)
    wave[len(wave) // 3 : 2 * len(wave) // 3] *= 1e-3
    return wave


def make_audio(folder, name, samples, rate=16000):
    """Write FOLDER/NAME.wav (16 bits); returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    soundfile.write(folder / f"{name}.wav", samples, rate, subtype="PCM_16")
    return str(folder / f"{name}.wav")


def make_data(folder, utterances=7, seconds=0.6):
    """A data folder with wav.scp, utt2spk, spk2utt: 3 utterances a speaker, each a little longer than the one before."""
    names = [f"id{10001 + i // 3}-session-{i % 3:05d}" for i in range(utterances)]
    wavs = {n: make_audio(folder / "audio", n, burst(seconds + 0.05 * i, i)) for i, n in enumerate(names)}
    utt2spk = {name: name.split("-")[0] for name in names}
    write_table(folder / "wav.scp", wavs)
    write_table(folder / "utt2spk", utt2spk)
    write_table(folder / "spk2utt", {s: " ".join(u) for s, u in spk2utt_of(utt2spk).items()})
    return folder


def make_noises(folder):
    """(musan folder, rirs folder) as stage 1 leaves them: 2 noises, 1 music, 7 talkers, 2 responses."""
    musan, rirs = folder / "musan", folder / "rirs"
    for table, count in (("noise", 2), ("music", 1), ("speech", 7)):
        write_table(musan / f"{table}.scp",
                    {f"{table}-{i}": make_audio(musan, f"{table}{i}", burst(0.3 + 0.4 * i, 50 + i)) for i in range(count)})
    response = np.exp(-np.arange(1500) / 200) * np.random.default_rng(3).normal(0, 0.1, 1500)
    response[20] = 0.9
    write_table(rirs / "rirs.scp", {f"r{i}": make_audio(rirs, f"r{i}", response[: 1500 - 300 * i]) for i in range(2)})
    return musan, rirs


def conf(features=(), copies=()):
    """The default configuration with changes to two sections; a few mel filters, as the utterances are short."""
    whole = config.load()
    whole["features"].update({"num_mel_bins": 24, **dict(features)})
    whole["copies"].update(dict(copies))
    return whole
