"""Which utterances to train on, and their class labels, by speaker name."""

import numpy as np

from wespk.augment.speed import speed_name
from wespk.utils.errors import InputError


def without_speed_copies(keys, speeds):
    """The utterances of the dict (or set) ``keys`` that are no copy of another one of them at one of ``speeds``: list."""
    prefixes = [speed_name("", factor) for factor in speeds]
    return [key for key in keys if not any(key.startswith(p) and key[len(p):] in keys for p in prefixes)]


def label_speakers(keys, utt2spk, source):
    """Number the speakers of ``keys``.

    Returns (speakers: list of names sorted by their bytes, labels: int64 (N,) positions in it). Raises ``InputError``
    when an utterance has no speaker or there are fewer than two speakers; ``source`` names the table in messages.
    """
    missing = next((k for k in keys if k not in utt2spk), None)
    if missing is not None:
        raise InputError(f"{source}: no speaker for utterance '{missing}'; run validate_data on the folder")
    speakers = sorted({utt2spk[k] for k in keys}, key=str.encode)
    if len(speakers) < 2:
        raise InputError(f"{source}: training needs at least two speakers, found {len(speakers)}")
    number = {s: i for i, s in enumerate(speakers)}
    return speakers, np.array([number[utt2spk[k]] for k in keys], dtype=np.int64)
