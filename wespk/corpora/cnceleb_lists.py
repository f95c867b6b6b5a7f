"""CN-Celeb's lists: speakers, enrolments, their parts, trials. Names in them may carry another suffix than the files.

    dev/dev.lst, spk.lst      id00000
    eval/lists/enroll.lst     id00800-enroll enroll/id00800-enroll.wav
    eval/lists/enroll.map     id00800-enroll id00800/singing-01-001.wav id00800/singing-01-002.wav ...
    eval/lists/trials.lst     id00800-enroll test/id00800-singing-01-005.wav 1

CRLF line ends, a byte-order mark, a missing last newline and blank lines at the end do no harm. Everything else that is
not of these forms is an ``InputError`` with path:line.
"""

import os
import re
from array import array
from dataclasses import dataclass

import numpy as np

from wespk.io.tables import read_text
from wespk.utils.errors import InputError

SPEAKER = re.compile(r"id\d{5,}")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_LABELS = {b"1": 1, b"0": 0}


def read_speakers(path):
    """The speakers of ``dev.lst`` or ``spk.lst``: {id: line number}."""
    speakers = {}
    for number, fields in _lines(path):
        if len(fields) != 1 or not SPEAKER.fullmatch(fields[0]):
            raise InputError(f"{path}:{number}: '{' '.join(fields)[:80]}' is not one speaker idNNNNN; correct the line")
        speakers.setdefault(fields[0], number)
    return speakers


def read_enrolments(path):
    """``enroll.lst``: {enrolment id: (line number, file's name without folders and suffix)}."""
    found = {}
    for number, fields in _lines(path):
        where = f"{path}:{number}"
        if len(fields) != 2:
            raise InputError(f"{where}: {len(fields)} fields; a line is an enrolment and its file, 'ID enroll/FILE'")
        _enter(found, fields[0], (number, stem_of(fields[1])), where)
    return found


def read_parts(path, enrolments):
    """``enroll.map``: {enrolment id: (line number, names of files without folders and suffix)}.

    Raises ``InputError`` also unless each of ``enrolments`` has one line with files of its own speaker.
    """
    found = {}
    for number, (key, *files) in _lines(path):
        where = f"{path}:{number}"
        if key not in enrolments:
            raise InputError(f"{where}: '{key}' is not in enroll.lst; take the line out, or complete enroll.lst")
        strange = next((file for file in files if file.split("/")[-2:-1] != [speaker_of(key)]), None)
        if strange or not files:
            what = f"'{strange}' is not a file of the speaker of" if strange else "no file follows"
            raise InputError(f"{where}: {what} '{key}'; a line is 'ID SPEAKER/FILE SPEAKER/FILE ...'")
        _enter(found, key, (number, [stem_of(file) for file in files]), where)
    missing = sorted(enrolments.keys() - found.keys())
    if missing:
        raise InputError(f"{path}: no line for '{missing[0]}' ({len(missing)} enrolments of enroll.lst have none); "
                         "complete it")  # fmt: skip
    return found


def _enter(found, key, value, where):
    check_id(key, where)
    if key in found:
        raise InputError(f"{where}: '{key}' stands on line {found[key][0]} already; keep one of the two")
    found[key] = value


class _Side:
    """The names on one side of the trials, numbered as they come. lines: {name: line where it is met first}."""

    def __init__(self, path, name_of):
        self.path, self.name_of = path, name_of
        self.lines, self._numbers, self._number_of_word = {}, {}, {}

    def number(self, word, line):
        """The number of the name that ``word`` (bytes) stands for."""
        try:
            return self._number_of_word[word]
        except KeyError:
            name = self.name_of(word.decode("utf-8", "replace"))
            check_id(name, f"{self.path}:{line}")
            self.lines.setdefault(name, line)
            self._number_of_word[word] = self._numbers.setdefault(name, len(self._numbers))
            return self._number_of_word[word]


@dataclass
class ListedTrials:
    """enroll, test: ids (n,), lists that share their strings; labels: int8 (n,), 1 = target.

    enroll_lines, test_lines: {id: line where it is met first}.
    """

    enroll: list
    test: list
    labels: np.ndarray
    enroll_lines: dict
    test_lines: dict


def read_trials(path):
    """``trials.lst`` as ``ListedTrials``, read line by line: some 25 bytes a trial in memory.

    Raises ``InputError`` for a line that is not 'ENROLMENT FILE 0|1', and for a label that the speakers in the names
    contradict.
    """
    need_file(path)
    left, right, labels = _Side(path, str), _Side(path, stem_of), bytearray()
    enroll, test = array("i"), array("i")
    with open(path, "rb") as file:
        if file.read(3) != _BYTE_ORDER_MARK:
            file.seek(0)
        for line, text in enumerate(file, 1):
            fields = text.split()
            if len(fields) != 3 or fields[2] not in _LABELS:
                if labels and not fields and not file.read().strip():
                    break
                shown = text.decode("utf-8", "replace").strip()[:80]
                raise InputError(f"{path}:{line}: '{shown}' is no trial; expected 'ENROLMENT test/FILE 0|1'")
            enroll.append(left.number(fields[0], line))
            test.append(right.number(fields[1], line))
            labels.append(_LABELS[fields[2]])
    if not labels:
        raise InputError(f"{path}: is empty; take the corpus's own list")
    labels = np.frombuffer(labels, dtype=np.int8)
    _check_labels(path, (left, np.frombuffer(enroll, np.int32)), (right, np.frombuffer(test, np.int32)), labels)
    ids = ([names[i] for i in numbers] for names, numbers in ((list(left.lines), enroll), (list(right.lines), test)))
    return ListedTrials(*ids, labels, left.lines, right.lines)


def _check_labels(path, left, right, labels):
    """The labels must be what the speakers in the names say; left, right: (``_Side``, numbers (n,))."""
    known, speakers = {}, []
    for side, numbers in (left, right):
        of_name = np.array([known.setdefault(speaker_of(name), len(known)) for name in side.lines])
        speakers.append(of_name[numbers])
    wrong = np.flatnonzero((speakers[0] == speakers[1]) != (labels == 1))
    if len(wrong):
        says = "one speaker" if labels[wrong[0]] else "two speakers"
        raise InputError(f"{path}:{wrong[0] + 1}: the label says {says}, the names do not; correct the list")


def stem_of(file):
    """A file's name without folders and suffix."""
    return os.path.splitext(file.rsplit("/", 1)[-1])[0]


def speaker_of(name):
    """The speaker in ``id00800-singing-01-005`` or ``id00800-enroll``."""
    return name.split("-", 1)[0]


def check_id(name, where):
    """Raise ``InputError`` unless ``name`` begins with a speaker and a hyphen."""
    if not SPEAKER.fullmatch(speaker_of(name)) or "-" not in name:
        raise InputError(f"{where}: '{name}' does not begin with a speaker, 'idNNNNN-'; correct the name")


def _lines(path):
    """(number, fields) of each line; ``InputError`` for a missing or empty list, or a blank line inside."""
    need_file(path)
    for number, line in enumerate(read_text(path).lstrip("\ufeff").rstrip().split("\n"), 1):
        fields = line.split()
        if not fields:
            raise InputError(f"{path}:{number}: no entry on this line; remove it, or take the corpus's own list")
        yield number, fields


def need_file(path):
    """Raise ``InputError`` unless the list is there."""
    if not os.path.isfile(path):
        raise InputError(f"{path}: no such file; the corpus is not complete: unpack its archive again")
