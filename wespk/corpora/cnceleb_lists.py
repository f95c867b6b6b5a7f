"""CN-Celeb's lists: speakers, enrolments, their parts, trials. Names in them may carry another suffix than the files.

    dev/dev.lst, spk.lst      id00000
    eval/lists/enroll.lst     id00800-enroll enroll/id00800-enroll.wav
    eval/lists/enroll.map     id00800-enroll id00800/singing-01-001.wav id00800/singing-01-002.wav ...
    eval/lists/trials.lst     id00800-enroll test/id00800-singing-01-005.wav 1

CRLF line ends, a byte-order mark, a missing last newline and blank lines at the end do no harm.
"""

import os
import re
from array import array
from typing import NamedTuple

import numpy as np

from wespk.io.tables import read_text
from wespk.utils.errors import InputError

SPEAKER = re.compile(r"id\d{5,}")
_LABELS = {b"1": 1, b"0": 0}
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def read_speakers(path):
    """The speakers of ``dev.lst`` or ``spk.lst``: {id: line number}. Raises ``InputError`` (path:line)."""
    speakers = {}
    for number, fields in _lines(path):
        if len(fields) != 1 or not SPEAKER.fullmatch(fields[0]):
            raise InputError(f"{path}:{number}: '{' '.join(fields)[:80]}' is not one speaker idNNNNN; correct the line")
        speakers.setdefault(fields[0], number)
    return speakers


def read_enrolments(path):
    """``enroll.lst``: {enrolment id: (line number, file's name without folders and suffix)}. ``InputError`` as above."""
    found = {}
    for number, fields in _lines(path):
        if len(fields) != 2:
            raise InputError(f"{path}:{number}: {len(fields)} fields; a line is an enrolment and its file: 'ID enroll/FILE'")
        key, stem = fields[0], stem_of(fields[1])
        check_id(key, f"{path}:{number}")
        if key in found:
            raise InputError(f"{path}:{number}: '{key}' stands on line {found[key][0]} already; keep one of the two")
        found[key] = number, stem
    return found


def read_parts(path, enrolments):
    """``enroll.map``: {enrolment id: (line number, [(speaker, file's name without suffix), ...])}.

    Raises ``InputError`` (path:line) also unless each of ``enrolments`` has one line with files of its own speaker.
    """
    found = {}
    for number, fields in _lines(path):
        key, files = fields[0], [tuple(name.split("/")[-2:]) for name in fields[1:]]
        where = f"{path}:{number}"
        if key not in enrolments:
            raise InputError(f"{where}: '{key}' is not in enroll.lst; take the line out, or complete enroll.lst")
        if key in found:
            raise InputError(f"{where}: '{key}' stands on line {found[key][0]} already; keep one of the two")
        if not files:
            raise InputError(f"{where}: '{key}' has no files; a line is 'ID SPEAKER/FILE SPEAKER/FILE ...'")
        strange = next((name for name, file in zip(fields[1:], files) if file[0] != speaker_of(key)), None)
        if strange:
            raise InputError(f"{where}: '{strange}' is not SPEAKER/FILE with the speaker of '{key}'; correct the line")
        found[key] = number, [(speaker, stem_of(name)) for speaker, name in files]
    missing = sorted(enrolments.keys() - found.keys())
    if missing:
        raise InputError(f"{path}: no line for '{missing[0]}' ({len(missing)} enrolments of enroll.lst have none); "
                         "complete it")  # fmt: skip
    return found


class CodedTrials(NamedTuple):
    """Trials by number: enroll, test: indices (n,) int32 into enroll_names, test_names; labels (n,) int8, 1 = target.

    enroll_names, test_names: {name: line where it is met first}, in order; test names without folder and suffix.
    """

    enroll: np.ndarray
    test: np.ndarray
    labels: np.ndarray
    enroll_names: dict
    test_names: dict

    def ids(self, names=None):
        """The ids of both sides, (list (n,), list (n,)) that share their strings; ``names``: {enrolment: other id}."""
        left = [names[name] if names else name for name in self.enroll_names]
        right = list(self.test_names)
        return list(map(left.__getitem__, self.enroll.tolist())), list(map(right.__getitem__, self.test.tolist()))


def read_trials(path):
    """``trials.lst`` as ``CodedTrials``, read line by line: 9 bytes a trial in memory.

    Raises ``InputError`` (path:line) for a line that is not 'ENROLMENT FILE 0|1', and for a label that the speakers in
    the names contradict.
    """
    known, sides, labels = ({}, {}), (array("i"), array("i")), bytearray()
    (enroll_of, test_of), (enroll, test) = known, sides
    need_file(path)
    with open(path, "rb") as file:
        if file.read(3) != _BYTE_ORDER_MARK:
            file.seek(0)
        for number, line in enumerate(file, 1):
            fields = line.split()
            if len(fields) != 3 or fields[2] not in _LABELS:
                if not fields and not file.read().strip():
                    break
                text = line.decode("utf-8", "replace").strip()[:80]
                raise InputError(f"{path}:{number}: '{text}' is no trial; expected 'ENROLMENT test/FILE 0|1'")
            enroll.append(enroll_of.setdefault(fields[0], len(enroll_of)))
            test.append(test_of.setdefault(fields[1], len(test_of)))
            labels.append(_LABELS[fields[2]])
    if not labels:
        raise InputError(f"{path}: is empty; take the corpus's own list")
    codes = [np.frombuffer(side, dtype=np.int32) for side in sides]
    names = [_named(path, tokens, code) for tokens, code in zip(known, codes)]
    (enroll_names, enroll_map), (test_names, test_map) = names
    trials = CodedTrials(enroll_map[codes[0]], test_map[codes[1]], np.frombuffer(labels, dtype=np.int8), enroll_names,
                         test_names)  # fmt: skip
    _check_labels(path, trials)
    return trials


def _named(path, tokens, codes):
    """({name: its first line}, (number of tokens,) int32 from the number of a token to that of its name)."""
    _, first = np.unique(codes, return_index=True)
    names, numbers, where = {}, {}, np.empty(len(tokens), dtype=np.int32)
    for token, code in tokens.items():
        line = int(first[code]) + 1
        name = stem_of(token.decode("utf-8", "replace"), keep_plain=True)
        check_id(name, f"{path}:{line}")
        names.setdefault(name, line)
        where[code] = numbers.setdefault(name, len(numbers))
    return names, where


def _check_labels(path, trials):
    """The label must be what the speakers in the names say."""
    numbers, speakers = {}, []
    for names in (trials.enroll_names, trials.test_names):
        speakers.append(np.array([numbers.setdefault(speaker_of(name), len(numbers)) for name in names]))
    same = speakers[0][trials.enroll] == speakers[1][trials.test]
    wrong = np.flatnonzero(same != (trials.labels == 1))
    if len(wrong):
        line, says = wrong[0] + 1, "one speaker" if trials.labels[wrong[0]] else "two speakers"
        raise InputError(f"{path}:{line}: the label says {says}, the names do not; correct the list")


def stem_of(file, keep_plain=False):
    """A file's name without folders and suffix; with ``keep_plain`` a name without any folder is left as it is."""
    return file if keep_plain and "/" not in file else os.path.splitext(file.rsplit("/", 1)[-1])[0]


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
    lines = read_text(path).lstrip("\ufeff").rstrip().split("\n")
    for number, line in enumerate(lines, 1):
        fields = line.split()
        if not fields:
            raise InputError(f"{path}:{number}: {'blank line; remove it' if line or lines[1:] else 'the list is empty'}")
        yield number, fields


def need_file(path):
    """Raise ``InputError`` unless the list is there."""
    if not os.path.isfile(path):
        raise InputError(f"{path}: no such file; the corpus is not complete: unpack its archive again")
