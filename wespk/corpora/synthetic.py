"""A made corpus of many speakers in VoxCeleb1's layout, with noises and room responses in MUSAN's and RIRS_NOISES'.

The voices are eSpeak NG's, varied over narrow ranges; each session has its own pitch, pace, recording channel and
background noise, so that the sessions of one speaker differ as much as speakers do. It serves to run a recipe from
end to end without data; figures on it say nothing about real speech.
"""

import os
import shutil
from typing import NamedTuple

import numpy as np

from wespk.corpora import synthetic_sound as sound
from wespk.corpora.dev_split import make_trials
from wespk.corpora.espeak import Espeak
from wespk.corpora.registry import Utterance
from wespk.io.atomic import write_text
from wespk.utils.errors import InputError
from wespk.utils.seed import generator

VERSION = 1  # raise it when the same seed no longer gives the same bytes
RECORD = "made_by.txt"

_SESSION_NAME = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"
_WORDS = {
    "who": "the teacher|my brother|an old man|her doctor|the young girl|our neighbour|a farmer|the captain",
    "does": "found|carried|wanted|bought|painted|remembered|watched|followed|opened|forgot|pushed|described",
    "what": "a yellow bag|the broken window|seven small boats|some fresh bread|the heavy door|a long letter|"
    "many wild horses|the other picture|a quiet song|two cups of coffee|the village bridge|his favourite shoes",
    "where": "near the river|in the garden|behind the church|at the station|under the table|by the sea|"
    "across the street|on the mountain|inside the kitchen",
    "when": "on monday|yesterday morning|after the storm|before dinner|every summer|last week|at half past nine",
}


class Sizes(NamedTuple):
    """How much is made; sessions share a speaker's utterances evenly, seconds is the range of utterance lengths."""

    train_speakers: int = 120
    test_speakers: int = 30
    utterances: int = 8
    sessions: int = 4
    min_seconds: float = 2.0
    max_seconds: float = 4.0
    noises: int = 24
    rirs: int = 24


def make(out, sizes=None, seed=42):
    """Make the corpus in the new folder ``out``: voxceleb1/{dev,test,veri_test.txt}, musan, rirs; 16 kHz, 16 bit, mono.

    The same seed and sizes give the same bytes. The folder appears whole or not at all; one made before with the same
    arguments is kept. Returns report lines. Raises ``InputError`` for anything else at ``out`` and for unusable sizes.
    """
    sizes = sizes or Sizes()
    _check(sizes)
    engine = Espeak()
    record = f"wespk synthetic corpus {VERSION}, eSpeak NG {engine.version}, seed {seed}, {sizes}\n"
    if os.path.exists(out):
        return [_made_before(out, record)]
    partial = f"{os.path.abspath(out)}.{os.getpid()}.partial"
    try:
        report = _make_speakers(os.path.join(partial, "voxceleb1"), engine, sizes, seed)
        report.append(_make_noises(os.path.join(partial, "musan"), engine, sizes, seed))
        report.append(_make_rirs(os.path.join(partial, "rirs"), sizes, seed))
        write_text(os.path.join(partial, RECORD), record)
        os.rename(partial, out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return [f"{out}/{line}" for line in report]


def _check(sizes):
    if min(sizes) <= 0:
        raise InputError(f"a synthetic corpus takes positive sizes, not {sizes}")
    if sizes.test_speakers < 2 or sizes.utterances < 2:
        raise InputError("a synthetic corpus takes at least 2 test speakers and 2 utterances a speaker, for its trials")
    if sizes.sessions > sizes.utterances:
        raise InputError(f"{sizes.sessions} sessions cannot share {sizes.utterances} utterances; make fewer sessions")
    if not 0.5 <= sizes.min_seconds <= sizes.max_seconds <= 20:
        raise InputError(f"utterance lengths lie in 0.5 to 20 s, not {sizes.min_seconds} to {sizes.max_seconds}")


def _made_before(out, record):
    path = os.path.join(out, RECORD)
    if os.path.isfile(path):
        with open(path, encoding="utf-8") as file:
            if file.read() == record:
                return f"{out}: made before with the same seed and sizes; kept"
    raise InputError(f"{out} exists and is not this corpus ({record.strip()}); remove it or name another folder")


def voice_of(rng):
    """A random voice: (lines of an eSpeak voice file, lower end of its pitch range in Hz)."""
    female = rng.random() < 0.5
    size = rng.normal(113 if female else 100, 3.0)  # formant frequencies, % of eSpeak's own
    pitch = rng.uniform(150, 200) if female else rng.uniform(80, 125)
    lines = [f"gender {'female' if female else 'male'}", f"pitch {pitch:.0f} {pitch * rng.uniform(1.3, 1.5):.0f}"]
    for formant in range(6):
        frequency, height, width = size + rng.normal(0, 3.0), rng.normal(100, 12), rng.normal(100, 12)
        lines.append(f"formant {formant} {frequency:.0f} {height:.0f} {width:.0f}")
    lines.append(f"roughness {rng.integers(0, 4)}")
    lines.append(f"voicing {rng.integers(85, 116)}")
    lines.append(f"consonants {rng.integers(85, 116)} {rng.integers(85, 116)}")
    lines.append("breath " + " ".join(str(rng.integers(0, 5)) for _ in range(8)))
    return lines


def sentence(rng, num_words):
    """At least ``num_words`` plain English words in simple sentences."""
    words = []
    while len(words) < num_words:
        for kind in ("who", "does", "what", "where", "when"):
            if kind not in ("where", "when") or rng.random() < 0.5:
                words += str(rng.choice(_WORDS[kind].split("|"))).split()
        words[-1] += "."
    return " ".join(words)


class _Session:
    """What the utterances of one session have in common."""

    def __init__(self, rng):
        self.rate = rng.uniform(135, 200)
        self.pitch = rng.uniform(35, 65)
        self.pitch_range = rng.uniform(30, 70)
        self.channel = sound.channel(rng, 3.0)
        self.snr_db = rng.uniform(5, 20)
        self.level_db = rng.uniform(-32, -20)
        self.noise_seed = rng.integers(2**62)

    def record(self, engine, rng, seconds):
        """Speech of the engine's present voice, as recorded in this session: float64 (N,), exactly ``seconds`` long."""
        size = round(seconds * sound.SAMPLE_RATE)
        speech = np.zeros(0)
        while len(speech) < size:
            text = sentence(rng, int(seconds * self.rate / 60) + 2)
            settings = rng.normal(self.rate, 8), rng.normal(self.pitch, 4), rng.normal(self.pitch_range, 6)
            rate, pitch, pitch_range = np.clip(settings, (90, 0, 0), (300, 99, 99))
            spoken = engine.speak(text, rate, pitch, pitch_range, seed=int(rng.integers(1, 2**31)))
            speech = np.concatenate([speech, sound.resample(_trim(spoken), engine.sample_rate)])
        speech = sound.through_channel(_fade(speech[:size]), self.channel)
        noise = sound.coloured_noise(np.random.default_rng(self.noise_seed), size)
        return sound.at_level(sound.add_noise(speech, noise, self.snr_db + rng.normal(0, 2)), self.level_db)


def _trim(samples):
    """Cut silence off both ends."""
    loud = np.flatnonzero(np.abs(samples) > 0.01 * np.abs(samples).max())
    return samples[loud[0] : loud[-1] + 1]


def _fade(samples, num_samples=160):
    ramp = np.linspace(0, 1, num_samples)
    samples[:num_samples] *= ramp
    samples[-num_samples:] *= ramp[::-1]
    return samples


def _make_speakers(folder, engine, sizes, seed):
    """Write dev/ and test/ and the trial list of test/."""
    report, made = [], {}
    for part, first, count in (("dev", 10001, sizes.train_speakers), ("test", 20001, sizes.test_speakers)):
        seconds = 0.0
        for number in range(first, first + count):
            utterances, length = _make_speaker(os.path.join(folder, part), f"id{number}", engine, sizes, seed)
            seconds += length
            made.update(utterances if part == "test" else {})
        text = f"{count} speakers, {count * sizes.utterances} utterances, {seconds / 3600:.2f} hours"
        report.append(f"voxceleb1/{part}: {text}")
    enroll, test, labels = make_trials(made, seed)
    lines = [f"{label} {made[a].path} {made[b].path}\n" for a, b, label in zip(enroll, test, labels)]
    write_text(os.path.join(folder, "veri_test.txt"), "".join(lines))
    return report + [f"voxceleb1/veri_test.txt: {len(lines)} trials, {int(labels.sum())} targets"]


def _make_speaker(folder, speaker, engine, sizes, seed):
    """Write the files of one speaker; returns ({id: Utterance with the list's path}, seconds)."""
    rng = generator(seed, "voice", speaker)
    voice, made, total = voice_of(rng), {}, 0.0
    sessions = [_Session(rng) for _ in range(sizes.sessions)]
    names = ["".join(rng.choice(list(_SESSION_NAME), 11)) for _ in sessions]
    engine.set_voice(voice)
    for number in range(sizes.utterances):
        which, count = number % sizes.sessions, number // sizes.sessions + 1
        seconds = rng.uniform(sizes.min_seconds, sizes.max_seconds)
        samples = sessions[which].record(engine, rng, seconds)
        name = f"{speaker}/{names[which]}/{count:05d}.wav"
        os.makedirs(os.path.join(folder, speaker, names[which]), exist_ok=True)
        sound.write_wav(os.path.join(folder, name), samples)
        made[f"{speaker}-{names[which]}-{count:05d}"] = Utterance(speaker, names[which], name)
        total += len(samples) / sound.SAMPLE_RATE
    return made, total


def _make_noises(folder, engine, sizes, seed):
    """Write ``sizes.noises`` files of noise, and half as many of music and of speech by voices used nowhere else."""
    counts = {"noise": sizes.noises, "music": max(1, sizes.noises // 2), "speech": max(1, sizes.noises // 2)}
    for kind, count in counts.items():
        os.makedirs(os.path.join(folder, kind, "synthetic"))
        for number in range(count):
            rng = generator(seed, kind, number)
            size = int(rng.uniform(5, 10) * sound.SAMPLE_RATE)
            if kind == "speech":
                engine.set_voice(voice_of(rng))
                samples = sound.resample(engine.speak(sentence(rng, 16), seed=number + 1), engine.sample_rate)
            else:
                samples = (sound.coloured_noise if kind == "noise" else sound.music)(rng, size)
            path = os.path.join(folder, kind, "synthetic", f"{kind}-synthetic-{number:04d}.wav")
            sound.write_wav(path, sound.at_level(samples, -24))
    return "musan: " + ", ".join(f"{kind} {count} files" for kind, count in counts.items())


def _make_rirs(folder, sizes, seed):
    """Write ``sizes.rirs`` room responses, four to a room, and their rir_list."""
    lines = []
    for number in range(sizes.rirs):
        room, place = divmod(number, 4)
        t60 = generator(seed, "room", room).uniform(0.15, 0.7)
        name = f"simulated_rirs/smallroom/Room{room + 1:03d}/Room{room + 1:03d}-{place + 1:05d}.wav"
        os.makedirs(os.path.dirname(os.path.join(folder, name)), exist_ok=True)
        sound.write_wav(os.path.join(folder, name), sound.room_response(generator(seed, "place", number), t60))
        lines.append(f"--rir-id small-{room + 1:03d}-{place + 1:05d} --room-id small-Room{room + 1:03d} rirs/{name}\n")
    write_text(os.path.join(folder, "simulated_rirs", "smallroom", "rir_list"), "".join(lines))
    return f"rirs: {sizes.rirs} impulse responses"
