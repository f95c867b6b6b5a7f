"""Whether the tables of a data directory are certainly in order: found out in blocks, without an object for each line.

``tables_are_sound`` says yes or perhaps not; only then the tables are read into dicts, to name the line. Lists that
must be equal are compared by digests of 32 bytes, so that nothing is kept of millions of ids.
"""

import hashlib
from pathlib import Path

import numpy as np

from wespk.io.column_kinds import parse_numbers
from wespk.io.columns import Defective, read_blocks
from wespk.utils.strings import as_strings, padded

_NUMBERS = {"utt2dur": float, "utt2num_frames": int}
_BY_WALKING = {"segments", "utt2utts"}  # tables of rules of their own
_BLANK = 32


def tables_are_sound(folder, names):
    """Whether the tables ``names`` of a folder certainly keep all rules: text, ids and their order, speakers, numbers.

    What trials, arks and recordings have to do with them is not looked at. False may have any reason.
    """
    names = set(names)
    if not {"utt2spk", "spk2utt"} <= names or not {"wav.scp", "feats.scp"} & names or _BY_WALKING & names:
        return False
    folder, utterances, pairs = Path(folder), hashlib.sha256(), hashlib.sha256()
    try:
        _read_utt2spk(folder / "utt2spk", utterances, pairs)
        expected = utterances.digest(), pairs.digest()
        if _read_spk2utt(folder / "spk2utt") != expected:
            return False
        others = sorted(names - {"utt2spk", "spk2utt"})
        return all(_read_keys(folder / name, _NUMBERS.get(name)) == expected[0] for name in others)
    except Defective:
        return False


def _blocks(path):
    """(block, its keys with the blank behind each, padded: uint8 (n, W)) of a table that is sorted and has lines."""
    last = b""
    for block in read_blocks(path, strict=True):
        rows = padded(block.data, block.starts, block.key_ends - block.starts + 1)
        keys = as_strings(rows)
        if not (keys[0] > last and (keys[1:] > keys[:-1]).all()):
            raise Defective
        last = keys[-1]
        yield block, rows
    if not last:
        raise Defective


def _words(rows):
    """The bytes of padded rows, without the padding."""
    return np.ascontiguousarray(rows).data if rows[:, -1].all() else rows[rows != 0].data


def _read_utt2spk(path, utterances, pairs):
    """Digest the ids, and the speaker of each; each id begins with its speaker, which therefore is one word.

    That speakers are in order too follows from spk2utt, which is sorted, if its digests are the same.
    """
    for block, rows in _blocks(path):
        speakers = padded(block.data, block.values, block.ends - block.values)
        width = min(speakers.shape[1], rows.shape[1])
        begin = speakers[:, :width]
        if speakers[:, width:].any() or not ((begin == 0) | (begin == rows[:, :width])).all():
            raise Defective
        utterances.update(_words(rows))
        pairs.update(_words(_ended(speakers)))


def _ended(rows):
    """Rows with a blank behind each word."""
    rows = np.pad(rows, ((0, 0), (0, 1)))
    rows[np.arange(len(rows)), np.count_nonzero(rows, axis=1)] = _BLANK
    return rows


def _read_spk2utt(path):
    """The digests that ``_read_utt2spk`` makes, of the same table inverted."""
    utterances, pairs = hashlib.sha256(), hashlib.sha256()
    for block, rows in _blocks(path):
        data = block.data.copy()
        data[block.ends] = _BLANK
        inside = np.zeros(len(data) + 1, np.int8)
        inside[block.values] = 1
        inside[block.ends + 1] -= 1
        utterances.update(data[np.cumsum(inside[:-1], dtype=np.int8).view(bool)].data)
        blanks = np.flatnonzero(block.data == _BLANK)
        counts = np.searchsorted(blanks, block.ends) - np.searchsorted(blanks, block.values) + 1
        pairs.update(_words(np.repeat(rows, counts, axis=0)))
    return utterances.digest(), pairs.digest()


def _read_keys(path, kind):
    """Digest of the ids; values of a ``kind`` (int, float or None) are positive."""
    digest = hashlib.sha256()
    for block, rows in _blocks(path):
        if kind is not None and not _positive(block, kind):
            raise Defective
        digest.update(_words(rows))
    return digest.digest()


def _positive(block, kind):
    """Whether all values of a block are finite numbers above zero, plainly written or not."""
    numbers, plain = parse_numbers(block, kind)
    try:
        odd = [kind(block.value(line)) for line in np.flatnonzero(~plain)]
    except ValueError:
        return False
    return bool((numbers[plain] > 0).all()) and all(0 < number < float("inf") for number in odd)
