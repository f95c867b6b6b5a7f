"""Kaldi's text files: tables (a key and the rest of the line), trial lists and score files.

Readers accept CRLF line ends and a missing last newline, and refuse everything else that is not clean with an
``InputError`` that names the file and the line. Tables are written sorted by key as ``LC_ALL=C sort`` does (UTF-8 byte
order, which is the order of Python strings), trials and scores in their own order, all of them atomically. Files of
millions of lines are read in one pass over the text; only a defective one is walked line by line, to name the line.
"""

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np

from wespk.io.atomic import open_atomic
from wespk.utils.errors import InputError

_BLANKS = re.compile("[ \t]+")
_LABELS = {"target": 1, "nontarget": 0}


def read_text(path):
    """The whole text of a UTF-8 file. Raises ``InputError`` for a missing file or other encodings."""
    path = Path(path)
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; run the stage that writes it, or correct the path") from None
    except IsADirectoryError:
        raise InputError(f"{path}: is a folder; give the file inside it") from None
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        byte = f"0x{data[error.start]:02x}"
        raise InputError(f"{path}:{line}: byte {byte} is not UTF-8; convert the file to UTF-8") from None


def read_lines(path):
    """The lines of a UTF-8 text file without their ends (LF or CRLF); a missing last newline is accepted."""
    text = read_text(path)
    lines = text.split("\n")
    if not lines[-1]:
        lines.pop()
    return [line.rstrip("\r") for line in lines] if "\r" in text else lines


def split_line(line, maxsplit=-1):
    """Fields of a line, separated by runs of spaces and tabs; blanks at both ends are dropped."""
    if line.isascii():
        return line.split(None, maxsplit)  # several times faster; control characters aside, the same
    line = line.strip(" \t")
    return _BLANKS.split(line, max(maxsplit, 0)) if line else []


def _complain(path, fields):
    """Raise ``InputError`` for the first line that is no entry of a table."""
    seen = {}
    for number, parts in enumerate(fields, start=1):
        if not parts:
            raise InputError(f"{path}:{number}: blank line; remove it")
        if len(parts) < 2:
            raise InputError(f"{path}:{number}: '{parts[0]}' has no value; each line is a key, a space and a value")
        if parts[0] in seen:
            raise InputError(f"{path}:{number}: duplicate key '{parts[0]}', first on line {seen[parts[0]]}; keep one")
        seen[parts[0]] = number
    raise AssertionError(f"{path}: no defect found")


def read_table(path):
    """Read a table into a dict key -> rest of the line (blanks at its end dropped), in the file's order.

    Raises ``InputError`` naming path:line for a blank line, a key without a value, a duplicate key or bad UTF-8.
    An empty file gives an empty dict.
    """
    lines = read_lines(path)
    fields = [split_line(line, 1) for line in lines]
    try:
        table = {key: value.rstrip() for key, value in fields}
    except ValueError:
        table = {}
    if len(table) < len(lines):
        _complain(path, fields)
    return table


def read_numbers(path, kind=int):
    """Read a table of numbers (``utt2num_frames``: int, ``utt2dur``: float): dict key -> number."""
    table = read_table(path)
    try:
        return {key: kind(value) for key, value in table.items()}
    except ValueError:
        for number, (key, value) in enumerate(table.items(), start=1):
            try:
                kind(value)
            except ValueError:
                word = {int: "an integer", float: "a number"}[kind]
                raise InputError(f"{path}:{number}: '{key}' has the value '{value}', which is not {word}") from None
        raise


def check_key(key, where):
    """Raise ``InputError`` unless ``key`` can stand first on a line: not empty, no blanks or line ends inside."""
    if not key or key.split() != [key]:
        raise InputError(f"{where}: '{key}' cannot be a key; an id is not empty and has no blanks in it")


def write_table(path, mapping):
    """Write a dict as a table, sorted by key, atomically. Values are turned into text with ``str``.

    Raises ``InputError`` for a key with blanks or a value that is empty or spans lines: it could not be read back.
    """
    with open_atomic(path) as file:
        for key in sorted(mapping):
            value = str(mapping[key])
            check_key(key, path)
            if not value.strip() or "\n" in value or "\r" in value:
                raise InputError(f"{path}: the value of '{key}' is empty or spans lines: {value!r}")
            file.write(f"{key} {value}\n")


def read_spk2utt(path):
    """Read ``spk2utt``: dict speaker -> list of utterance ids, in the file's order."""
    return {speaker: split_line(rest) for speaker, rest in read_table(path).items()}


def spk2utt_of(utt2spk):
    """Invert a dict utterance -> speaker: dict speaker -> sorted utterance ids, sorted by speaker.

    ``write_table(path, {s: " ".join(u) for s, u in spk2utt_of(utt2spk).items()})`` writes Kaldi's ``spk2utt``.
    """
    speakers = {}
    for utterance in sorted(utt2spk):
        speakers.setdefault(utt2spk[utterance], []).append(utterance)
    return {speaker: speakers[speaker] for speaker in sorted(speakers)}


class Trials(NamedTuple):
    """A trial list, in the file's order: ids of both sides and int8 labels (1 target, 0 nontarget) or None."""

    enroll: list
    test: list
    labels: "np.ndarray | None"


def _width(path, lines, allowed):
    """Number of fields of every line; ``InputError`` for the first line that differs from the first line's number."""
    width = None
    for number, line in enumerate(lines, start=1):
        found = len(split_line(line))
        if found == 0:
            raise InputError(f"{path}:{number}: blank line; remove it")
        if found not in allowed or (width and found != width):
            wanted = width or " or ".join(map(str, allowed))
            raise InputError(f"{path}:{number}: {found} fields where {wanted} are expected: '{line[:100]}'")
        width = found
    return width


def _columns(path, allowed):
    """Read a file whose lines all have the same number of fields: one list of tokens for each column."""
    text = read_text(path)
    if not text:
        raise InputError(f"{path}: is empty; it should hold one trial a line")
    widths = set(map(len, map(str.split, text.removesuffix("\n").split("\n")))) if text.isascii() else ()
    if len(widths) == 1 and widths <= set(allowed):
        tokens, width = text.split(), widths.pop()
    else:
        lines = read_lines(path)
        width = _width(path, lines, allowed)
        tokens = [token for line in lines for token in split_line(line)]
    return [tokens[column::width] for column in range(width)]


def read_trials(path):
    """Read a trial list with or without labels. Raises ``InputError`` (path:line) for anything else.

    Repeated pairs are kept as they are (the published VoxCeleb lists have some).
    """
    columns = _columns(path, (2, 3))
    if len(columns) == 2:
        return Trials(*columns, None)
    enroll, test, words = columns
    if not set(words) <= _LABELS.keys():
        number, word = next((n, w) for n, w in enumerate(words, start=1) if w not in _LABELS)
        raise InputError(f"{path}:{number}: the label is '{word}'; a trial is `enroll test target|nontarget`")
    return Trials(enroll, test, np.fromiter(map(_LABELS.__getitem__, words), dtype=np.int8, count=len(words)))


def write_trials(path, trials):
    """Write a ``Trials``, in its own order, atomically."""
    with open_atomic(path) as file:
        if trials.labels is None:
            file.writelines(f"{a} {b}\n" for a, b in zip(trials.enroll, trials.test, strict=True))
        else:
            words = ("nontarget", "target")
            rows = zip(trials.enroll, trials.test, trials.labels, strict=True)
            file.writelines(f"{a} {b} {words[label]}\n" for a, b, label in rows)


def read_scores(path):
    """Read a score file: (enroll ids, test ids, scores (n,) float64).

    Raises ``InputError`` (path:line) for a score that is not a finite number.
    """
    enroll, test, words = _columns(path, (3,))
    try:
        scores = np.fromiter(map(float, words), dtype=np.float64, count=len(words))
    except ValueError:
        scores = np.array([_number(word) for word in words])
    bad = np.flatnonzero(~np.isfinite(scores))
    if len(bad):
        at = bad[0]
        trial = f"{enroll[at]} {test[at]}"
        raise InputError(f"{path}:{at + 1}: the score of '{trial}' is '{words[at]}', not a finite number; score again")
    return enroll, test, scores


def _number(word):
    try:
        return float(word)
    except ValueError:
        return np.nan


def write_scores(path, enroll, test, scores):
    """Write ``enroll test score`` lines with 9 significant digits, in the given order, atomically.

    Raises ``InputError`` for a score that is not finite, naming its trial.
    """
    scores = np.asarray(scores, dtype=np.float64)
    bad = np.flatnonzero(~np.isfinite(scores))
    if len(bad):
        at = bad[0]
        trial = f"{enroll[at]} {test[at]}"
        raise InputError(f"{path}: the score of '{trial}' is {scores[at]}; look at the embeddings of both sides")
    with open_atomic(path) as file:
        file.writelines(f"{a} {b} {score:.9g}\n" for a, b, score in zip(enroll, test, scores.tolist(), strict=True))


def join_labels(scores_path, trials_path, trials=None):
    """Join a score file to a labelled trial list by (enroll, test), in the order of the trials.

    trials: the list's ``Trials``, if they have been read already. Returns (scores (n,) float64, labels (n,) int8). Raises
    ``InputError`` naming the first pair that is in one file only, or that occurs with two scores or two labels.
    """
    trials = trials or read_trials(trials_path)
    if trials.labels is None:
        raise InputError(f"{trials_path}:1: the trials have no labels; end each line with `target` or `nontarget`")
    enroll, test, scores = read_scores(scores_path)
    if enroll == trials.enroll and test == trials.test and _distinct(enroll, test):
        return scores, trials.labels
    table = _by_pair(scores_path, enroll, test, scores.tolist(), "score")
    labels = _by_pair(trials_path, trials.enroll, trials.test, trials.labels.tolist(), "label")
    for number, pair in enumerate(zip(enroll, test), start=1):
        if pair not in labels:
            raise InputError(f"{scores_path}:{number}: '{' '.join(pair)}' is not in {trials_path}; score the same list")
    joined = np.empty(len(trials.labels))
    for number, pair in enumerate(zip(trials.enroll, trials.test)):
        if pair not in table:
            raise InputError(f"{trials_path}:{number + 1}: '{' '.join(pair)}' has no score in {scores_path}; rescore")
        joined[number] = table[pair]
    return joined, trials.labels


def _distinct(enroll, test):
    """Whether no pair occurs twice."""
    number = {key: i for i, key in enumerate(dict.fromkeys(test))}
    first = {key: i * len(number) for i, key in enumerate(dict.fromkeys(enroll))}
    pairs = sum(np.fromiter(map(of.__getitem__, side), np.int64, len(side)) for of, side in ((first, enroll), (number, test)))
    return len(np.unique(pairs)) == len(pairs)


def _by_pair(path, enroll, test, values, kind):
    """dict (enroll, test) -> value; ``InputError`` if a pair occurs again with another value."""
    table = dict(zip(zip(enroll, test), values))
    if len(table) < len(values):
        first = {}
        for number, (pair, value) in enumerate(zip(zip(enroll, test), values), start=1):
            if first.setdefault(pair, value) != value:
                raise InputError(f"{path}:{number}: '{' '.join(pair)}' occurs again with another {kind}; keep one")
    return table
