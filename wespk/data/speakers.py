"""Which utterances to train on, and their class labels, by speaker name."""

import numpy as np

from wespk.augment.speed import speed_name
from wespk.utils.errors import InputError

_AT_ONCE = 1 << 20  # utterances


def without_speed_copies(keys, speeds):
    """Which of ``keys`` (``PackedStrings``) are no copy of another one of them at one of ``speeds``: bool (N,)."""
    kept = np.ones(len(keys), bool)
    for factor in speeds:
        at, originals = keys.stripped(prefix=speed_name("", factor))
        kept[at[keys.find(originals) >= 0]] = False
    return kept


def number_speakers(column, source):
    """Number the speakers of a column, ``Named`` (N,), of utterances: ``label_speakers`` without a dict of them."""
    used, labels = np.zeros(len(column.names), bool), np.empty(len(column.numbers), np.int64)
    parts = [slice(first, first + _AT_ONCE) for first in range(0, len(labels), _AT_ONCE)]  # numpy copies an int32 index
    for part in parts:
        used[column.numbers[part]] = True
    speakers = _at_least_two({name for name, there in zip(column.names, used) if there}, source)
    number = {name: i for i, name in enumerate(speakers)}
    label_of = np.array([number.get(name, -1) for name in column.names])
    for part in parts:
        labels[part] = label_of[column.numbers[part]]
    return speakers, labels


def _at_least_two(names, source):
    if len(names) < 2:
        raise InputError(f"{source}: training needs at least two speakers, found {len(names)}")
    return sorted(names, key=str.encode)


def no_speaker(source):
    """The error that an utterance has no speaker in the table ``source``: a function of the utterance."""
    return lambda key: InputError(f"{source}: no speaker for utterance '{key}'; run validate_data on the folder")


def label_speakers(keys, utt2spk, source):
    """Number the speakers of ``keys``.

    Returns (speakers: list of names sorted by their bytes, labels: int64 (N,) positions in it). Raises ``InputError``
    when an utterance has no speaker or there are fewer than two speakers; ``source`` names the table in messages.
    """
    missing = next((k for k in keys if k not in utt2spk), None)
    if missing is not None:
        raise no_speaker(source)(missing)
    speakers = _at_least_two({utt2spk[k] for k in keys}, source)
    number = {s: i for i, s in enumerate(speakers)}
    return speakers, np.array([number[utt2spk[k]] for k in keys], dtype=np.int64)
