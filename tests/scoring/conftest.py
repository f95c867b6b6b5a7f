"""Small sets of embeddings on disk."""

import numpy as np
import pytest

from wespk.io.tables import Trials, write_table


def write_set(folder, vectors, utt2spk=None):
    """Write {key: (D,)} to FOLDER/xvector.{ark,scp} and, if given, utt2spk; returns the scp's path as a string.

    Byte by byte, as other tools may: our own writer refuses NaN.
    """
    folder.mkdir(parents=True, exist_ok=True)
    places, ark = {}, b""
    for key in sorted(vectors):
        ark += key.encode() + b" "
        places[key] = f"{folder / 'xvector.ark'}:{len(ark)}"
        values = np.asarray(vectors[key], dtype="<f4")
        ark += b"\0BFV \4" + np.int32(values.size).tobytes() + values.tobytes()
    (folder / "xvector.ark").write_bytes(ark)
    write_table(folder / "xvector.scp", places)
    if utt2spk:
        write_table(folder / "utt2spk", utt2spk)
    return str(folder / "xvector.scp")


def random_set(prefix, speakers, utterances, dim=8, seed=0):
    """{key: (dim,)} and utt2spk of made-up speakers; the vectors are not centred."""
    draw = np.random.default_rng([seed, speakers])
    vectors, utt2spk = {}, {}
    for s in range(speakers):
        own = draw.normal(size=dim)
        for u in range(utterances):
            key = f"{prefix}{s:03d}-s{u % 2}-{u:03d}"
            vectors[key] = (own + 0.7 * draw.normal(size=dim) + 1.5).astype(np.float32)
            utt2spk[key] = f"{prefix}{s:03d}"
    return vectors, utt2spk


def every_pair(utt2spk):
    """``Trials`` of every pair of the utterances, target where the speaker is one."""
    keys = sorted(utt2spk)
    pairs = [(a, b) for i, a in enumerate(keys) for b in keys[:i]]
    return Trials(*map(list, zip(*pairs)), np.array([utt2spk[a] == utt2spk[b] for a, b in pairs], np.int8))


@pytest.fixture
def make_set(tmp_path):
    """make_set(name, vectors, utt2spk=None) -> path of the scp."""
    return lambda name, vectors, utt2spk=None: write_set(tmp_path / name, vectors, utt2spk)


@pytest.fixture
def eval_set():
    return random_set("e", 6, 4, seed=1)


@pytest.fixture
def train_set():
    return random_set("t", 12, 5, seed=2)
