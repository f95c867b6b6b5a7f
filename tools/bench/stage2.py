"""Stage 2 end to end, FLAC in and compressed ark out, against its parts: decoding, filter banks and writing, each alone.

    . tools/path.sh; OMP_NUM_THREADS=1 python tools/bench/stage2.py --sizes 50,100,200

The recordings are speech as make_synthetic makes it, as FLAC, --seconds long, or the .flac files under --flac. A part is
what does nothing else: soundfile reading a file to float32 samples, wespk.features.fbank of one utterance, and an ArkWriter
without anything around it. All in memory (/dev/shm), on one core, imports and compute_fbank's start left out (the last
line tells the command with them). "x": CPU seconds of the whole divided by those of the row.
"""

import sys
import tempfile
from itertools import cycle
from pathlib import Path

from measuring import Rows, apart, command, sizes, turns

from wespk.io.tables import write_table
from wespk.utils import config
from wespk.utils.cli import main
from wespk.utils.errors import InputError

SPEAKERS, OF_EACH = 6, 4  # the synthetic recordings that all sizes are copies of
IMPORTS = ("soundfile", "torch", "wespk.corpora.features")


def synthetic(folder, seconds):
    """FLAC files of synthetic speech in ``folder``: list of paths. seconds: (shortest, longest)."""
    import soundfile

    from wespk.corpora.synthetic import Sizes, make

    make(folder / "made", Sizes(SPEAKERS - 2, 2, OF_EACH, 2, *seconds, 2, 4))
    found = sorted((folder / "made" / "voxceleb1").rglob("*.wav"))
    paths = [folder / f"{number}.flac" for number in range(len(found))]
    for wav, path in zip(found, paths):
        samples, rate = soundfile.read(wav, dtype="int16")
        soundfile.write(path, samples, rate)
    return paths


def make_data(folder, recordings, number):
    """A data folder of ``number`` utterances, each a file of its own, the recordings one after another, again and again."""
    (folder / "flac").mkdir(parents=True)
    paths = {f"id{i % 1211:05d}-{i:07d}": folder / "flac" / f"{i:07d}.flac" for i in range(number)}
    for path, recording in zip(paths.values(), cycle(recordings)):
        path.write_bytes(Path(recording).read_bytes())
    write_table(folder / "wav.scp", paths)
    write_table(folder / "utt2spk", {key: key[:7] for key in paths})


def whole(folder):
    """What compute_fbank does after its imports; returns the hours of speech."""
    import torch

    from wespk.corpora.features import clear_jobs, compute_job

    torch.set_num_threads(1)
    clear_jobs(folder / "feats", lambda _: True)
    return compute_job(folder, config.load(), folder / "feats", 1, 1)["hours"]


class Parts:
    """Decoding, filter banks and writing of a data folder, each for itself."""

    def __init__(self, folder):
        from wespk.io.tables import read_table

        self.folder, self.recordings = folder, read_table(folder / "wav.scp")
        self.waves = self.decode()
        self.feats = self.fbank()

    def decode(self):
        import soundfile

        return [soundfile.read(path, dtype="float32")[0] for path in self.recordings.values()]

    def fbank(self):
        from wespk.features.fbank import fbank

        return [fbank(wave).numpy() for wave in self.waves]

    def write(self):
        from wespk.io.ark import ArkWriter

        with ArkWriter(self.folder / "parts.ark", self.folder / "parts.scp", compress=2) as ark:
            for key, feats in zip(self.recordings, self.feats):
                ark.write(key, feats)


def measure(folder, rounds):
    """({side: Spent} of the whole and its parts, whether the arks are equal, seconds of speech)."""
    import torch

    torch.set_num_threads(1)
    parts = Parts(folder)
    sides = {"whole": lambda: whole(folder), "decode": parts.decode, "fbank": parts.fbank, "write": parts.write}
    spent = {name: side._replace(found=None) for name, side in turns(sides, rounds).items()}
    equal = (folder / "parts.ark").read_bytes() == (folder / "feats" / "feats.1.ark").read_bytes()
    return spent, equal, sum(map(len, parts.waves)) / config.load()["features"]["sample_rate"]


def _report(folder, number, rounds, rows):
    """Rows of one size, and how the whole compares with the sum of its parts."""
    spent, equal, speech = apart(measure, folder, rounds, imports=IMPORTS).found
    if not equal:
        raise InputError(f"{folder}: the whole wrote another ark than its parts")
    peak = apart(whole, folder, imports=IMPORTS).peak
    seconds = {name: min(side.cpu) for name, side in spent.items()}
    total = seconds["decode"] + seconds["fbank"] + seconds["write"]
    rows.add(number, "whole", spent["whole"], peak,
             f"{number / seconds['whole']:.0f} utterances/s, {speech / seconds['whole']:.0f} x real time")  # fmt: skip
    for name in ("decode", "fbank", "write"):
        rows.add(number, name, spent[name])
    print(f"{number:>12} whole / sum of its parts: {seconds['whole'] / total:.2f}", flush=True)


def bench(utterances: str = "50,100,200", seconds: str = "4,12", flac: str = "", rounds: int = 3):
    """Print the whole and its parts at each size, then the command with its start at the largest.

    Args:
        utterances: numbers of them, separated by commas
        seconds: shortest and longest synthetic recording, s
        flac: folder with .flac files of 16 kHz to take in their place; empty: synthetic ones
        rounds: runs of each side, of which the quickest counts
    """
    numbers, lengths = sizes(utterances), sizes(seconds)
    with tempfile.TemporaryDirectory(dir="/dev/shm") as made:  # memory: the disk is not what is measured
        recordings = sorted(Path(flac).rglob("*.flac")) if flac else synthetic(Path(made), (lengths[0], lengths[-1]))
        if not recordings:
            raise InputError(f"--flac {flac}: no .flac file in it")
        rows = Rows("utterances")
        for number in numbers:
            folder = Path(made) / str(number)
            make_data(folder, recordings, number)
            _report(folder, number, rounds, rows)
        run = command([sys.executable, "-m", "wespk.bin.compute_fbank", "--data", folder, "--out", folder / "command"],
                      OMP_NUM_THREADS="1")  # fmt: skip
        rows.add(numbers[-1], "command, from its start", run)


if __name__ == "__main__":
    main(bench)
