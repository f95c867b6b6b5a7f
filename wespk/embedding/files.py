"""Embeddings on disk: Kaldi tables of float32 vectors, and single .npy files."""

from pathlib import Path

import numpy as np

from wespk.io.ark import ArkWriter
from wespk.io.atomic import open_atomic
from wespk.scoring.vectors import read_mean as mean_of_table
from wespk.utils.errors import InputError


def write_vectors(scp, vectors):
    """Write {key: (D,)} as float32 to SCP and the .ark beside it, sorted by key, whole or not at all."""
    scp = Path(scp)
    with ArkWriter(scp.with_suffix(".ark"), scp) as writer:
        for key in sorted(vectors):
            writer.write(key, np.asarray(vectors[key], dtype=np.float32))


def write_npy(path, vector):
    """Write one vector (D,) as float32 to a .npy file, whole or not at all."""
    with open_atomic(path, "wb") as file:
        np.save(file, np.asarray(vector, dtype=np.float32))


def read_mean(path):
    """The mean of the vectors in a Kaldi .scp, or in a .npy file of shape (N, D) or (D,) -> float64 (D,)."""
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file; give the xvector.scp of the training set, or a .npy file")
    if path.suffix != ".npy":
        return mean_of_table(path)
    try:
        found = np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise InputError(f"{path}: not a whole .npy file ({error}); write it again") from None
    return found.mean(axis=0, dtype=np.float64) if found.ndim == 2 and len(found) else found
