"""Trial lists and speaker overlap: what makes an evaluation meaningless without any file being broken."""

from array import array
from pathlib import Path

import numpy as np

from wespk.io.column_kinds import Names
from wespk.io.columns import Defective, read_values
from wespk.io.defects import Defect, scan_table
from wespk.io.tables import read_text, split_line
from wespk.utils.errors import InputError

_WORDS = ("nontarget", "target")
_LABELS = {"target": 1, "nontarget": 0, "": -1}


def check_trials(folder, utt2spk, defects):
    """Check every list of a ``trials`` folder against the set's utterances and speakers."""
    for path in sorted(Path(folder).glob("*")):
        if path.is_file() and not path.name.startswith("."):
            try:
                table = Path(folder).parent / "enroll_maps" / path.name
                defects.extend(_check_list(path, utt2spk, _model_speakers(table, utt2spk)))
            except InputError as error:
                defects.append(Defect(str(path), 0, "", str(error), "write the list again (stage 1)"))


def _model_speakers(path, utt2spk):
    """{enrolment: speaker of the utterances that it is made of} by a table of ``enroll_maps``, None without one."""
    if not path.is_file():
        return None
    table, found = scan_table(path, []), {}
    for key in table:
        parts = [part for part in split_line(table.value(key)) if part in utt2spk]
        found[key] = utt2spk.value(parts[0]) if parts else None  # check_models tells of parts that are not there
    return found


class _List:
    """The lines of a list that are trials, by number: some 13 bytes a trial.

    enroll, test: int32 (n,), indices into ``ids``; labels: int8 (n,), 1 target, 0 nontarget, -1 none; lines: int32
    (n,). ``others``: (line, text) of what is no trial.
    """

    def __init__(self, path):
        numbers, self.others = {}, []
        enroll, test, lines, labels = array("i"), array("i"), array("i"), array("b")
        for line, text in _lines(path):
            fields = split_line(text)
            label = _LABELS.get("".join(fields[2:])) if len(fields) in (2, 3) else None
            if label is None:
                self.others.append((line, text))
                continue
            enroll.append(numbers.setdefault(fields[0], len(numbers)))
            test.append(numbers.setdefault(fields[1], len(numbers)))
            labels.append(label)
            lines.append(line)
        self.ids = list(numbers)
        self.enroll, self.test, self.lines = (np.frombuffer(side, np.int32) for side in (enroll, test, lines))
        self.labels = np.frombuffer(labels, np.int8)

    def first_of_pair(self):
        """Index (n,) of the first labelled trial of the same pair; where there is none, anything."""
        pairs = self.enroll * np.int64(len(self.ids)) + self.test
        pairs[self.labels < 0] = -1
        _, first, which = np.unique(pairs, return_index=True, return_inverse=True)
        return first[which.reshape(-1)]


def _lines(path):
    """(number, text) of each line of a text file, one at a time; ``InputError`` unless it is UTF-8."""
    try:
        with open(path, encoding="utf-8", newline="\n") as file:
            for number, line in enumerate(file, start=1):
                yield number, line.rstrip("\r\n")
    except UnicodeDecodeError:
        read_text(path)
        raise


def _check_list(path, utt2spk, models):
    """All defects of a list, in the order of its lines: bad lines, absent ids, a pair's two labels, wrong labels."""
    trials = _List(path)
    if not len(trials.lines) and not trials.others:
        return [Defect(str(path), 0, "", "is empty", "convert the published list again (stage 1)")]
    fix = "a trial is `enroll test target|nontarget`"
    found = [Defect(str(path), line, "", f"'{text}' is not a trial", fix) for line, text in trials.others]
    found += _absent(path, trials, utt2spk, models) + _two_labels(path, trials)
    found += _wrong_labels(path, trials, utt2spk, models)
    found.sort(key=lambda defect: defect.line)
    for word in ("nontarget", "target"):
        if (trials.labels >= 0).any() and not (trials.labels == _LABELS[word]).any():
            fix = "error rates need both kinds: convert the published list again"
            found.append(Defect(str(path), 0, "", f"has no {word} trial", fix))
    return found


def _absent(path, trials, utt2spk, models):
    """Tests that are no utterances of the set, and enrolments that are none or, with a table of models, not in that."""
    of_set = utt2spk, "is not in utt2spk", "add the utterance to the set"
    of_table = models, f"has no line in enroll_maps/{path.name}", "complete that"
    sides = []
    for side, (known, *says) in ((trials.enroll, of_set if models is None else of_table), (trials.test, of_set)):
        sides.append((side, np.array([key not in known for key in trials.ids], dtype=bool)[side], *says))
    return [
        Defect(str(path), int(trials.lines[i]), trials.ids[side[i]], message, f"{fix}, or take the trial off the list")
        for i in np.flatnonzero(sides[0][1] | sides[1][1]) for side, missing, message, fix in sides if missing[i]
    ]  # fmt: skip


def _two_labels(path, trials):
    """A pair has one label."""
    first = trials.first_of_pair()
    found = []
    for i in np.flatnonzero((trials.labels >= 0) & (trials.labels != trials.labels[first])):
        here, there = _WORDS[trials.labels[i]], _WORDS[trials.labels[first[i]]]
        message = f"is {here} here and {there} on line {trials.lines[first[i]]}"
        found.append(_of_pair(path, trials, i, message, "keep the line that is right"))
    return found


def _wrong_labels(path, trials, utt2spk, models):
    """The label is the one that follows from the speakers, where they are known."""
    numbers = {}
    speakers = [utt2spk.value(key) if key in utt2spk else (models or {}).get(key) for key in trials.ids]
    speaker_of = np.array([-1 if name is None else numbers.setdefault(name, len(numbers)) for name in speakers])
    one, other = speaker_of[trials.enroll], speaker_of[trials.test]
    found = []
    known = (trials.labels >= 0) & (one >= 0) & (other >= 0)
    for i in np.flatnonzero(known & ((one == other) != (trials.labels == 1))):
        names = f"'{speakers[trials.enroll[i]]}' and '{speakers[trials.test[i]]}'"
        message = f"is {_WORDS[trials.labels[i]]}, but utt2spk says the speakers are {names}"
        found.append(_of_pair(path, trials, i, message, "correct the label, or utt2spk"))
    return found


def _of_pair(path, trials, i, message, fix):
    pair = f"{trials.ids[trials.enroll[i]]} {trials.ids[trials.test[i]]}"
    return Defect(str(path), int(trials.lines[i]), pair, message, fix)


def check_models(folder, utt2spk, defects):
    """Check the tables of ``enroll_maps``: the utterances of an enrolment are the set's, and of one speaker."""
    for path in sorted(Path(folder).glob("*")):
        if path.is_file() and not path.name.startswith("."):
            table = scan_table(path, defects)
            for key in table:
                own = {utt2spk.value(key)} if key in utt2spk else set()
                for utterance in split_line(table.value(key)):
                    if utterance not in utt2spk:
                        fix = "add the utterance to the set, or take it out of the line"
                        defects.append(table.defect(key, f"is made of '{utterance}', which is not in utt2spk", fix))
                    else:
                        own.add(utt2spk.value(utterance))
                if len(own) > 1:
                    message = f"is made of utterances of several speakers: {', '.join(sorted(own))}"
                    defects.append(table.defect(key, message, "an enrolment is of one speaker: correct the line"))


def _apart(utt2spk, train_path):
    """Whether the speakers are certainly others than those of a training set, which may have millions of utterances."""
    try:
        train = read_values(train_path, Names()).names
    except (Defective, InputError):
        return False
    return {utt2spk.value(utterance) for utterance in utt2spk}.isdisjoint(train)


def check_other_speakers(utt2spk, train_path, defects):
    """Report each speaker of this set that occurs in the training set too."""
    if not train_path.is_file():
        defects.append(Defect(str(train_path), 0, "", "no such file", "give the training set's folder"))
        return
    if _apart(utt2spk, train_path):
        return
    lines = {}
    train = scan_table(train_path, [])
    for utterance in train:
        lines.setdefault(train.value(utterance), train.rows[utterance][0])
    reported = set()
    for utterance in utt2spk:
        speaker = utt2spk.value(utterance)
        if speaker in lines and speaker not in reported:
            reported.add(speaker)
            message = f"is of speaker '{speaker}', who is in training ({train_path}:{lines[speaker]})"
            defects.append(utt2spk.defect(utterance, message, "take the speaker out of one of the two sets"))
