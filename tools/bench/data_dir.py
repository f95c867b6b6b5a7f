"""A data folder of millions of utterances, checked and indexed for training: in columns, against plain dicts.

    . tools/path.sh; python tools/bench/data_dir.py --sizes 3e5,1e6,5400000

Folders of made-up tables (utt2spk, spk2utt, wav.scp, utt2dur, utt2num_frames, feats.scp; 50 utterances a speaker). Each
side works in a process of its own. The plain side of the check is the walk that names defects, that of the index the
same tables read into dicts and lists, up to --plain-most utterances; both must find the same. Then loader workers are
forked and fetch chunks: their own memory, which they share with nobody, shows what of the index each copies (the dicts
are only looked up in).
"""

import os
import tempfile
from pathlib import Path

import measuring
import numpy as np
from made_up_tables import make_tables

from wespk.utils import config
from wespk.utils.cli import main
from wespk.utils.errors import InputError

LOADED = ("torch", "wespk.data.chunks", "wespk.io.data_dir")  # before anything is measured
FETCHED, BATCH = 20_000, 256  # utterances that a worker fetches chunks of


def check(folder):
    from wespk.io.data_dir import validate

    return [str(defect) for defect in validate(folder, check_audio=False)]


def check_by_walking(folder):
    from wespk.io import data_dir

    data_dir.tables_are_sound = lambda folder, names: False
    return check(folder)


def index(folder):
    from wespk.data.chunks import FeatureChunks
    from wespk.training.checkpoint import fingerprint

    return fingerprint(FeatureChunks(folder, config.load()).identity())


class Dicts:
    """An index of dicts and lists, with what a worker needs of it: an utterance's place, length and label."""

    def __init__(self, folder):
        from wespk.data.speakers import label_speakers
        from wespk.io.tables import read_numbers, read_table

        self.places, self.frames = read_table(folder / "feats.scp"), read_numbers(folder / "utt2num_frames")
        self.keys = [key for key in self.places if self.frames[key] >= 100]
        self.labels = label_speakers(self.keys, read_table(folder / "utt2spk"), "utt2spk")[1]

    def fetch(self, epoch, items):
        keys = [self.keys[item] for item in items]
        return [(self.places[key], self.frames[key]) for key in keys], self.labels[items]


def index_by_dicts(folder):
    from wespk.training.checkpoint import fingerprint

    made = Dicts(folder)
    return fingerprint(f"{key} {label} {made.frames[key]}" for key, label in zip(made.keys, made.labels))


def _own():
    """Bytes of this process that it shares with no other one."""
    text = Path("/proc/self/smaps_rollup").read_text()
    return 1024 * sum(int(text.split(name)[1].split()[0]) for name in ("Private_Clean:", "Private_Dirty:"))


def workers(folder, number, dicts):
    """Bytes that each of ``number`` forked workers has for itself after fetching, beyond what it began with."""
    import torch

    from wespk.data.chunks import FeatureChunks

    torch.set_num_threads(1)
    source = Dicts(folder) if dicts else FeatureChunks(folder, config.load())
    pipes = [os.pipe() for _ in range(number)]
    for worker, (_, write) in enumerate(pipes):
        if not os.fork():
            before = _own()
            items = np.random.default_rng(worker).integers(len(source.labels), size=FETCHED)
            for first in range(0, FETCHED, BATCH):
                source.fetch(0, items[first : first + BATCH])
            os.write(write, str(_own() - before).encode())
            os._exit(0)
    return [int(os.read(read, 100)) for read, _ in pipes if os.wait()]


def data_dir(sizes: str = "1e5,3e5,1e6", plain_most: int = 2_000_000, num_workers: int = 4):
    """Print the tables.

    Args:
        sizes: utterances of the folders
        plain_most: the largest size at which dicts are made: a million utterances take them 1 to 2 GB
        num_workers: loader workers that are forked from one process
    """
    numbers = measuring.sizes(sizes, 1000)
    base = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="data_dir.", dir=base) as made:
        folders = {number: Path(made) / str(number) for number in numbers}
        for number, folder in folders.items():
            folder.mkdir()
            make_tables(folder, number)
        for what, plain, ours in (("check", check_by_walking, check), ("index", index_by_dicts, index)):
            print(what)
            rows = measuring.Rows("utterances")
            for number, folder in folders.items():
                sides = {"dicts": plain, "columns": ours} if number <= plain_most else {"columns": ours}
                found = {side: measuring.apart(piece, folder, imports=LOADED) for side, piece in sides.items()}
                for side, measured in found.items():
                    rows.add(number, side, measured)
                different = len({str(measured.found) for measured in found.values()}) > 1
                if different or what == "check" and found["columns"].found:
                    raise InputError(f"the sides found different things: {found}")
        number = numbers[-1]
        for side in ("dicts", "columns"):
            if side == "columns" or number <= plain_most:
                own = measuring.apart(workers, folders[number], num_workers, side == "dicts", imports=LOADED).found
                told = ", ".join(f"{each / 1e6:.1f}" for each in own)
                print(f"{number} utterances in {side}: MB that each of {num_workers} workers has copied, or made, after "
                      f"{FETCHED} chunks: {told}")  # fmt: skip


if __name__ == "__main__":
    main(data_dir)
