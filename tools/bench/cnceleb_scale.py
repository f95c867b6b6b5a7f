"""Stages 5 to 7 at CN-Celeb's size, by the recipe's own run.sh, on made-up embeddings.

python tools/bench/cnceleb_scale.py   196 enrolments x 17,777 tests = 3,484,292 trials by both protocols, embeddings of 512
                                      values, 2793 training speakers: seconds, CPU seconds and peak memory of each stage,
                                      with cosine, as-norm, PLDA and the EER by genre
    --trials cnceleb_avg              one list alone
    --enrolments 40 --tests 500       a smaller size
    --train-utterances 20             of each training speaker (the joined training set has 186 on average)
    --folder DIR                      where; empty: a temporary folder in memory (/dev/shm), removed at the end

A stage's peak is that of its largest process.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from measuring import command

from wespk.io.ark import ArkWriter
from wespk.io.tables import Trials, write_table, write_trials
from wespk.utils.cli import main
from wespk.utils.config import load

ROOT = Path(__file__).resolve().parents[2]
RECIPE = ROOT / "egs" / "cnceleb" / "supervised"
DIM, PARTS = 512, 8
GENRES = ("advertisement", "drama", "entertainment", "interview", "live_broadcast", "movie", "play", "recitation", "singing",
          "speech", "vlog")  # fmt: skip
LISTS = ("cnceleb_concat", "cnceleb_avg")
SPREAD = 3.2  # of a session, where that of speakers is 1: an EER of some per cent, as of a fair network


def _embed(folder, speaker_of, draw, speakers):
    """FOLDER/xvector.{ark,scp}: an embedding of each id of {id: speaker}, about its speaker's own vector."""
    folder.mkdir(parents=True)
    with ArkWriter(folder / "xvector.ark", folder / "xvector.scp") as ark:
        for key in sorted(speaker_of):
            ark.write(key, (speakers[speaker_of[key]] + SPREAD * draw.normal(size=DIM)).astype(np.float32))
    return [folder / "xvector.scp", folder / "xvector.ark"]


def _evaluation(folder, draw, enrolments, tests):
    """Tables, trial lists and models of the evaluation set; returns {id: speaker}."""
    speakers = [f"id{800 + s:05d}" for s in range(enrolments)]
    genre_of = {f"{s}-enroll": "+".join(sorted(draw.choice(GENRES, 2, replace=False))) for s in speakers}
    tests = [(s, draw.choice(GENRES)) for s in draw.choice(speakers, tests)]
    tests = {f"{s}-{genre}-01-{i:05d}": genre for i, (s, genre) in enumerate(tests)}
    parts = {f"{s}-enroll": [f"{s}-{draw.choice(GENRES)}-02-{i:05d}" for i in range(PARTS)] for s in speakers}
    genre_of.update(tests)
    genre_of.update((key, key.split("-")[1]) for keys in parts.values() for key in keys)
    utt2spk = {key: key.split("-")[0] for key in genre_of}
    write_table(folder / "utt2spk", utt2spk)
    write_table(folder / "utt2genre", genre_of)
    enroll = [key for key in parts for _ in tests]
    test = [key for _ in parts for key in tests]
    labels = np.array([a[:7] == b[:7] for a, b in zip(enroll, test)], np.int8)
    for name in LISTS:
        write_trials(folder / "trials" / name, Trials(enroll, test, labels))
    write_table(folder / "enroll_maps" / LISTS[1], {key: " ".join(ids) for key, ids in parts.items()})
    return utt2spk


def make(folder, sizes, seed=0):
    """A data folder and an experiment after stage 4, with the note that stage 4 leaves of its files; sizes: see ``bench``."""
    draw, exp = np.random.default_rng(seed), folder / "exp"
    enrolments, tests, speakers, utterances = sizes
    evaluation = _evaluation(folder / "data" / "eval", draw, enrolments, tests)
    training = {f"id1{s:04d}-vlog-01-{u:03d}": f"id1{s:04d}" for s in range(speakers) for u in range(utterances)}
    write_table(folder / "data" / "train" / "utt2spk", training)
    made = []
    for name, speaker_of in (("eval", evaluation), ("train", training)):
        own = {speaker: draw.normal(size=DIM) for speaker in dict.fromkeys(speaker_of.values())}
        made += _embed(exp / "embeddings" / name, speaker_of, draw, own)
    (exp / "config.yaml").write_text(_config(), encoding="utf-8")
    mark = [sys.executable, ROOT / "tools" / "stage_mark.py"]
    subprocess.run([*mark, "begin", exp / ".stages" / "4.json"], check=True)
    subprocess.run([*mark, "done", exp / ".stages" / "4.json", *(w for path in made for w in ("--output", path))], check=True)


def _config():
    import yaml

    return yaml.safe_dump(load(str(RECIPE / "conf" / "resnet34.yaml"), "", f"model.embed_dim={DIM}"))


def stage(folder, number, trials):
    """One stage, ``Measured``: its peak is that of its largest process."""
    words = ["--stage", number, "--stop-stage", number, "--data", folder / "data", "--exp", folder / "exp", "--gpus", 0,
             "--scoring", "plda", "--plda", "lda-dim=200", *(["--trials", trials] if trials else [])]  # fmt: skip
    return command(["bash", RECIPE / "run.sh", *words])


def bench(trials: str = "", enrolments: int = 196, tests: int = 17777, train_speakers: int = 2793, train_utterances: int = 20,
          folder: str = ""):  # fmt: skip
    """Make everything and run the stages; see the top of this file.

    Args:
        trials: lists to score, comma-separated; empty: both
        enrolments: each of a speaker of its own, all tested with all tests
        tests: utterances of these speakers
        train_speakers: the cohort, and what PLDA learns from
        train_utterances: of each of them
        folder: where; empty: a temporary one in memory
    """
    with tempfile.TemporaryDirectory(dir="/dev/shm") as temporary:
        place = Path(folder or temporary)
        make(place, (enrolments, tests, train_speakers, train_utterances))
        print(f"{enrolments * tests} trials a list, {train_speakers * train_utterances} training embeddings, load "
              f"{os.getloadavg()[0]:.0f}", flush=True)  # fmt: skip
        for number in (5, 6, 7):
            spent = stage(place, number, trials)
            print(f"stage {number}: {spent.wall:.0f} s ({spent.cpu:.0f} s of CPU), {spent.peak / 1e6:.0f} MB", flush=True)
        print((place / "exp" / "results" / "RESULTS.md").read_text(encoding="utf-8")[:1500])


if __name__ == "__main__":
    main(bench)
