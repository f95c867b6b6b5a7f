"""Trial lists and speaker overlap: what makes an evaluation meaningless without any file being broken."""

from pathlib import Path

from wespk.io.defects import Defect, scan_table
from wespk.io.tables import read_lines, split_line
from wespk.utils.errors import InputError


def check_trials(folder, utt2spk, defects):
    """Check every list of a ``trials`` folder against the set's utterances and speakers."""
    for path in sorted(Path(folder).glob("*")):
        if path.is_file() and not path.name.startswith("."):
            try:
                _check_list(path, read_lines(path), utt2spk, defects)
            except InputError as error:
                defects.append(Defect(str(path), 0, "", str(error), "write the list again (stage 1)"))


def _check_list(path, lines, utt2spk, defects):
    labels, seen = {}, set()
    for number, line in enumerate(lines, start=1):
        fields = split_line(line)
        if len(fields) not in (2, 3) or fields[2:] not in ([], ["target"], ["nontarget"]):
            fix = "a trial is `enroll test target|nontarget`"
            defects.append(Defect(str(path), number, "", f"'{line}' is not a trial", fix))
            continue
        pair, label = (fields[0], fields[1]), "".join(fields[2:])
        absent = [name for name in pair if name not in utt2spk]
        for name in absent:
            fix = "add the utterance to the set, or take the trial off the list"
            defects.append(Defect(str(path), number, name, "is not in utt2spk", fix))
        if label:
            seen.add(label)
            _check_label(path, number, pair, label, labels, utt2spk if not absent else None, defects)
    for missing in {"target", "nontarget"} - seen if seen else ():
        fix = "error rates need both kinds: convert the published list again"
        defects.append(Defect(str(path), 0, "", f"has no {missing} trial", fix))
    if not lines:
        defects.append(Defect(str(path), 0, "", "is empty", "convert the published list again (stage 1)"))


def _check_label(path, number, pair, label, labels, utt2spk, defects):
    """A pair has one label, and the one that follows from the speakers."""
    first = labels.setdefault(pair, (number, label))
    name = " ".join(pair)
    if first[1] != label:
        message = f"is {label} here and {first[1]} on line {first[0]}"
        defects.append(Defect(str(path), number, name, message, "keep the line that is right"))
    if utt2spk is not None:
        one, other = (utt2spk.value(side) for side in pair)
        if (one == other) != (label == "target"):
            message = f"is {label}, but utt2spk says the speakers are '{one}' and '{other}'"
            defects.append(Defect(str(path), number, name, message, "correct the label, or utt2spk"))


def check_other_speakers(utt2spk, train_path, defects):
    """Report each speaker of this set that occurs in the training set too."""
    if not train_path.is_file():
        defects.append(Defect(str(train_path), 0, "", "no such file", "give the training set's folder"))
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
