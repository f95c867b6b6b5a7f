"""What becomes of tables, sampling, checkpoints and array jobs at 1, 10 and 100 million utterances and a million speakers.

    . tools/path.sh; python tools/bench/scale.py

Each piece is measured in a process of its own at the sizes of --utterances (of 50 a speaker) or --speakers: CPU seconds
and the peak of its memory beyond what lay there before. A power of the size is fitted to the upper two, and what lies
beyond the largest size is extrapolated by it and marked "~". Arks are arithmetic on the speed measured.
"""

import json
import os
import tempfile
import time
from pathlib import Path

import numpy as np
from made_up_tables import UTTERANCES_OF_A_SPEAKER, make_tables
from measuring import apart, extrapolate

from wespk.utils import config
from wespk.utils.cli import main
from wespk.utils.errors import InputError

TARGETS = (10**6, 10**7, 10**8)
SPEAKER_TARGETS = (10**4, 10**5, 10**6)
SECONDS_OF_AN_UTTERANCE = 8  # VoxCeleb's mean
EMBEDDING = 256


def check_tables(folder, _):
    from wespk.io.data_dir import validate

    defects = validate(folder, check_audio=False, with_features=False)
    if defects:
        raise InputError(f"the made-up folder is defective: {defects[0]}")


def index_for_training(folder, _):
    from wespk.data.chunks import FeatureChunks
    from wespk.training.checkpoint import fingerprint

    source = FeatureChunks(folder, config.load())
    fingerprint(source.identity())


def account_of_stage(folder, _):
    """What --status and the start of a stage read of a table that is an input."""
    import hashlib

    with open(folder / "feats.scp", "rb") as file:
        hashlib.file_digest(file, "sha256") if hasattr(hashlib, "file_digest") else hashlib.sha256(file.read())


def shuffle(_, number):
    from wespk.data.sampler import EpochPlan

    EpochPlan(number, 512).order(1)


def shuffle_groups(_, number):
    from wespk.data.group_sampler import GroupPlan

    GroupPlan(np.arange(number) // UTTERANCES_OF_A_SPEAKER, 2, 512).order(1)


def checkpoint(folder, speakers):
    import torch

    from wespk.training.checkpoint import load, save

    weight = torch.zeros(speakers, EMBEDDING)
    names = [f"id{i:07d}" for i in range(speakers)]
    state = {"step": 1, "speakers": names, "model": {}, "loss": {"weight": weight},
             "optimizer": {"state": {0: {"momentum_buffer": weight.clone()}}}}  # fmt: skip
    save(folder / "head.pt", state)
    load(folder / "head.pt")
    return (folder / "head.pt").stat().st_size


PIECES = (
    ("read and check the tables (stage 1)", check_tables),
    ("index for training (labels, places, fingerprint)", index_for_training),
    ("content of one table, for stage marks and --status", account_of_stage),
    ("order of an epoch", shuffle),
    ("order of an epoch, 2 utterances a speaker side by side", shuffle_groups),
)


def _text(value, extrapolated, kind):
    mark = "~" if extrapolated else ""
    if kind == "s":
        return f"{mark}{value:.2g} s" if value < 100 else f"{mark}{value / 60:.0f} min"
    unit = next((u for u in ("KB", "MB", "GB") if value < 1000 ** (("KB", "MB", "GB").index(u) + 2)), "TB")
    return f"{mark}{value / 1000 ** (('KB', 'MB', 'GB', 'TB').index(unit) + 1):.3g} {unit}"


def measure(piece, folder, number):
    """(CPU seconds, bytes beyond what was there, what the piece returned), in a process of its own."""
    _, cpu, peak, found = apart(piece, folder, number, imports=("torch", "wespk.data.chunks"))
    return cpu, peak, found


def row(name, sizes, results, targets):
    """A line of the table: seconds and memory at each target."""
    cells = []
    for target in targets:
        both = [extrapolate(sizes, [result[i] for result in results], target) for i in (0, 1)]
        cells.append(f"{_text(*both[0], 's')}, {_text(*both[1], 'B')}")
    return f"| {name} | " + " | ".join(cells) + " |"


def _arks(folder):
    """Lines on the features: bytes, and core hours by the speed of one core here."""
    import torch

    from wespk.features.fbank import fbank

    torch.set_num_threads(1)
    wave = torch.randn(16000 * SECONDS_OF_AN_UTTERANCE)
    fbank(wave)
    began = time.process_time()
    for _ in range(10):
        fbank(wave)
    seconds = (time.process_time() - began) / 10
    bytes_each = (folder / "one.ark").stat().st_size
    sizes = " | ".join(_text(bytes_each * n, False, "B") for n in TARGETS)
    hours = " | ".join(f"{seconds * n / 3600:.3g} h, {seconds * n / 3600 / 40:.2g} h by 40 jobs" for n in TARGETS)
    return [f"| compressed features of {SECONDS_OF_AN_UTTERANCE} s, 80 filters | {sizes} |",
            f"| cores' time for filterbanks alone | {hours} |"]  # fmt: skip


def _numbers(text):
    numbers = [int(float(word)) for word in text.split(",")]
    if len(numbers) < 2 or numbers != sorted(set(numbers)) or numbers[0] < 1000:
        raise InputError(f"'{text}': give two sizes or more, rising, 1000 at least, separated by commas")
    return numbers


def scale(utterances: str = "3e4,1e5", arrays: str = "1e5,3e5,1e6", speakers: str = "1e4,5e4"):
    """Print the tables.

    Args:
        utterances: sizes at which tables are read
        arrays: sizes at which epochs are shuffled, which needs no tables
        speakers: sizes of the head whose checkpoint is written, twice (weights, momentum), and read
    """
    several = {check_tables: _numbers(utterances), index_for_training: _numbers(utterances),
               account_of_stage: _numbers(utterances), shuffle: _numbers(arrays), shuffle_groups: _numbers(arrays)}  # fmt: skip
    heads = _numbers(speakers)
    with tempfile.TemporaryDirectory(prefix="scale.", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as made:
        folders = {}
        for number in _numbers(utterances):
            folders[number] = Path(made) / str(number)
            folders[number].mkdir()
            make_tables(folders[number], number)
        raw = {"measured": {}}
        print("| utterances | " + " | ".join(f"{target // 10**6} M" for target in TARGETS) + " |\n|---|---|---|---|")
        for name, piece in PIECES:
            results = [measure(piece, folders.get(number), number) for number in several[piece]]
            raw["measured"][piece.__name__] = [(n, *result[:2]) for n, result in zip(several[piece], results)]
            print(row(name, several[piece], results, TARGETS), flush=True)
        print("\n".join(_arks(next(iter(folders.values())))))
        results = [measure(checkpoint, Path(made), number) for number in heads]
        raw["measured"]["checkpoint"] = [(n, *result) for n, result in zip(heads, results)]
        print("\n| speakers | " + " | ".join(f"{target:,}" for target in SPEAKER_TARGETS) + " |\n|---|---|---|---|")
        print(row(f"checkpoint of a head of {EMBEDDING}: write and read", heads, results, SPEAKER_TARGETS))
        sizes = [extrapolate(heads, [result[2] for result in results], target) for target in SPEAKER_TARGETS]
        print("| its size | " + " | ".join(_text(*size, "B") for size in sizes) + " |")
        print("\n" + json.dumps(raw))


if __name__ == "__main__":
    main(scale)
