"""Features made by array jobs through the real schedulers are those made on this machine, byte for byte."""

import subprocess
import sys
import wave

import numpy as np
import pytest

from tests.conftest import ROOT
from wespk.bin.compute_fbank import compute_fbank

pytestmark = pytest.mark.slow


def data_folder(folder):
    """Two utterances of a second of noise."""
    folder.mkdir()
    tables = {"wav.scp": [], "utt2spk": []}
    for seed in (1, 2):
        path = folder / f"a b {seed}.wav"
        with wave.open(str(path), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(16000)
            file.writeframes(np.random.default_rng(seed).integers(-3000, 3000, 16000, dtype="<i2").tobytes())
        tables["wav.scp"].append(f"u{seed} {path}\n")
        tables["utt2spk"].append(f"u{seed} s\n")
    for name, lines in tables.items():
        (folder / name).write_text("".join(lines))
    return folder


def made(folder):
    """Name -> contents, by the same folder's name; without logs, and job.N.json, which notes the times of the files."""
    files = [path for path in folder.iterdir() if path.suffix not in (".log", ".json")]
    return {path.name: path.read_bytes().replace(str(folder).encode(), b"OUT") for path in files}


def submit(scheduler, data, out, environment):
    """Start the second of two jobs of compute_fbank, as stage 2 does with both."""
    line = [sys.executable, ROOT / "tools" / "submit" / f"{scheduler}.py", "WESPK_JOB=2:2", out / "log.WESPK_JOB.log"]
    line += [sys.executable, "-m", "wespk.bin.compute_fbank", "--data", data, "--out", out, "--job", "WESPK_JOB"]
    return subprocess.Popen([*line, "--num-jobs", "2"], env=environment, stderr=subprocess.PIPE, text=True)


def test_slurm_and_grid_engine_make_the_same_files_as_this_machine(slurm, grid_engine, tmp_path):
    data = data_folder(tmp_path / "some data")
    clusters = {"slurm": slurm, "sge": grid_engine}
    calls = {name: submit(name, data, tmp_path / name, cluster.environment) for name, cluster in clusters.items()}
    compute_fbank(str(data), str(tmp_path / "local"), job=2, num_jobs=2)
    for name, call in calls.items():
        assert (call.communicate(timeout=300)[1], call.returncode) == ("", 0), name
    expected = made(tmp_path / "local")
    assert {"feats.2.ark", "feats.2.scp", "utt2num_frames.2"} == set(expected)
    assert made(tmp_path / "slurm") == expected
    assert made(tmp_path / "sge") == expected
