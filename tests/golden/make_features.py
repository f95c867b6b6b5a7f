"""Make kaldi_features.json and sox_speed.json: ``WESPK_TEST_DATA=DIR python tests/golden/make_features.py`` (sox on PATH)."""

import json
import os
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import soundfile

HERE = Path(__file__).resolve().parent
FRAMES = 5
# (utterance, first frame), where the rounding of Kaldi's single-precision FFT stays below 1e-3 even in the MFCC
EXCERPTS = (("id20093-pjPj8FHobid-00007", 100), ("id20151-36pRagXSuJW-00004", 100), ("id20093-pjPj8FHobid-00007", 3))


def read_matrices(path):
    """Kaldi's text matrices or vectors: dict key -> list of rows of numbers as printed."""
    found, rows = {}, None
    for line in Path(path).read_text().splitlines():
        key, bracket, rest = line.partition(" [")
        if bracket:
            rows = found[key.strip()] = []
            line = rest
        values = line.replace("]", " ").split()
        if values:
            rows.append([float(v) for v in values])
    return found


def excerpts(folder):
    """65 ms of samples and Kaldi's frames that need no others."""
    fbank, plain, mfcc = (read_matrices(folder / f"{n}.txt") for n in ("fbank80", "fbank40_energy_nosnip", "mfcc30"))
    for key, first in EXCERPTS:
        samples, _ = soundfile.read(folder / "wav" / f"{key}.wav", dtype="int16")
        part = samples[160 * first : 160 * (first + FRAMES - 1) + 400]
        inner = slice(first + 1, first + FRAMES)  # frame t of snip-edges=false starts at sample 160 t - 120
        yield {"samples": part.tolist(), "fbank80": fbank[key][first : first + FRAMES],
               "fbank40_energy_nosnip": plain[key][inner], "mfcc30": mfcc[key][inner]}


def decisions(folder):
    """Energies (column 0 of the MFCC) and VAD decisions of whole utterances; two columns of sliding CMN of one."""
    mfcc, vad = read_matrices(folder / "mfcc30.txt"), read_matrices(folder / "vad.txt")
    slid = read_matrices(folder / "mfcc30_slidingcmn.txt")
    energies = {key: {"energy": [row[0] for row in mfcc[key]], "vad": [int(v) for v in vad[key][0]]} for key in mfcc}
    longest = max(mfcc, key=lambda key: len(mfcc[key]))
    return energies, {name: [row[:2] for row in table[longest]] for name, table in (("before", mfcc), ("after", slid))}


def chirp(num=1200):
    """The signal given to sox: two sweeps and a click, float32."""
    t = np.arange(num) / 16000
    wave = 0.4 * np.sin(2 * np.pi * (200 + 20000 * t) * t) + 0.2 * np.sin(2 * np.pi * 5000 * t)
    wave[700] += 0.3
    return wave.astype(np.float32)


def sox_speed(factor):
    """``sox -D in.wav out.wav speed FACTOR`` on float32 files."""
    with tempfile.TemporaryDirectory() as folder:
        soundfile.write(f"{folder}/in.wav", chirp(), 16000, subtype="FLOAT")
        subprocess.run(["sox", "-D", f"{folder}/in.wav", "-e", "float", "-b", "32", f"{folder}/out.wav", "speed", factor],
                       check=True)
        return [float(f"{v:.6f}") for v in soundfile.read(f"{folder}/out.wav", dtype="float32")[0]]


def main():
    folder = Path(os.environ["WESPK_TEST_DATA"]) / "golden_kaldi"
    energies, sliding = decisions(folder)
    golden = {"excerpts": list(excerpts(folder)), "vad": energies, "sliding_cmn": sliding}
    (HERE / "kaldi_features.json").write_text(json.dumps(golden, separators=(",", ":")) + "\n")
    speeds = {factor: sox_speed(factor) for factor in ("0.9", "1.1")}
    (HERE / "sox_speed.json").write_text(json.dumps(speeds, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
