"""The evaluation set of CN-Celeb1, under both protocols.

``cnceleb_concat``: an enrolment is the one recording in ``eval/enroll``, made of several. ``cnceleb_avg``: it is the
average of the embeddings of what ``enroll.map`` says it was made of. The trials are the same.
"""

import os

from wespk.corpora.cnceleb_files import count_note, listing, need_files, some, utterance
from wespk.corpora.cnceleb_lists import read_enrolments, read_parts, read_trials, speaker_of
from wespk.corpora.registry import TrialList, Utterance
from wespk.utils.errors import InputError

CONCATENATED, AVERAGED = "cnceleb_concat", "cnceleb_avg"


def evaluation(root, chosen, train):
    """(utterances {id: Utterance}, trial lists, notes) of the corpus in ``root``.

    chosen: names of the lists; train: the training utterances. Raises ``InputError`` with path:line where a list and
    the files do not fit, or a speaker is a training speaker.
    """
    folder = os.path.join(root, "eval")
    enroll_path, map_path, trials_path = (os.path.join(folder, "lists", f"{name}.{suffix}") for name, suffix in
                                          (("enroll", "lst"), ("enroll", "map"), ("trials", "lst")))  # fmt: skip
    enrolments = read_enrolments(enroll_path)
    trials = read_trials(trials_path)
    _check_enrolments(trials_path, trials, enrolments, enroll_path)
    _check_apart(enroll_path, {key: line for key, (line, _) in enrolments.items()}, train)
    _check_apart(trials_path, trials.test_lines, train)
    tests, notes = _tests(os.path.join(folder, "test"), trials_path, trials.test_lines)
    parts = {}
    if os.path.isfile(map_path):
        parts = _parts(os.path.join(root, "data"), map_path, enrolments)
    elif AVERAGED in chosen:
        raise InputError(f"{map_path}: no such file, and {AVERAGED} needs it: complete the corpus, or give --trials "
                         f"{CONCATENATED}")  # fmt: skip
    notes += _notes(trials, enrolments, parts, tests, map_path)
    utterances, lists = dict(tests), []
    for name, models in ((CONCATENATED, {}), (AVERAGED, {key: list(found) for key, found in parts.items()})):
        if name in chosen:
            lists.append(TrialList(name, trials_path, trials.enroll, trials.test, trials.labels, models))
    for found in parts.values() if AVERAGED in chosen else ():
        utterances.update((key, found[key]) for key in found.keys() - tests.keys())
    utterances.update(_enrolments(os.path.join(folder, "enroll"), enroll_path, enrolments, parts))
    return utterances, lists, notes


def _check_enrolments(path, trials, enrolments, enroll_path):
    unknown = next((key for key in trials.enroll_lines if key not in enrolments), None)
    if unknown:
        raise InputError(f"{path}:{trials.enroll_lines[unknown]}: '{unknown}' is not in {enroll_path}; complete that")
    twice = next((key for key in trials.test_lines if key in enrolments), None)
    if twice:
        raise InputError(f"{path}:{trials.test_lines[twice]}: '{twice}' is an enrolment too ({enroll_path}); correct "
                         "the line")  # fmt: skip


def _check_apart(path, lines, train):
    """Stop when a speaker of ``lines`` {id: line} of the list at ``path`` is a training speaker."""
    trained = {found.speaker: found.path for found in train.values()}
    for key, line in lines.items():
        speaker = speaker_of(key)
        if speaker in trained:
            raise InputError(f"{path}:{line}: speaker {speaker} is a training speaker too ({trained[speaker]}); take "
                             "the speaker off dev.lst or spk.lst")  # fmt: skip


def _tests(folder, path, lines):
    """({id: Utterance} of the test files in the trials, notes)."""
    files = listing(folder)
    need_files(lines, files, folder, {key: f"{path}:{line}" for key, line in lines.items()})
    notes = count_note("test files", len(lines), "test files in trials", [key for key in files if key not in lines])
    return {key: utterance(speaker_of(key), key.split("-", 1)[1], files[key]) for key in lines}, notes


def _parts(data, path, enrolments):
    """What the enrolments were made of: {enrolment: {id: Utterance}}."""
    found = {}
    for key, (line, stems) in read_parts(path, enrolments).items():
        speaker = speaker_of(key)
        folder = os.path.join(data, speaker)
        files = listing(folder)
        need_files(stems, files, folder, f"{path}:{line}", f"complete the corpus, or give --trials {CONCATENATED}")
        found[key] = {f"{speaker}-{stem}": utterance(speaker, stem, files[stem]) for stem in stems}
    return found


def _enrolments(folder, path, enrolments, parts):
    """{id: Utterance} of the recordings of the enrolments; genre and session are those of their parts."""
    files, found = listing(folder), {}
    need_files([stem for _, stem in enrolments.values()], files, folder,
               {stem: f"{path}:{line}" for line, stem in enrolments.values()})  # fmt: skip
    for key, (_, stem) in enrolments.items():
        made_of = parts.get(key, {}).values()
        genre, session = ("+".join(sorted({getattr(part, kind) for part in made_of})) for kind in ("genre", "session"))
        found[key] = Utterance(speaker_of(key), session or "enroll", files[stem], genre or "unknown")
    return found


def _notes(trials, enrolments, parts, tests, map_path):
    unused = [key for key in enrolments if key not in trials.enroll_lines]
    notes = count_note("enrolments", len(trials.enroll_lines), "enrolments in trials", unused)
    notes += count_note("trials", len(trials.labels), "trials")
    shared = sorted(set().union(*parts.values()) & tests.keys())
    if shared:
        notes.append(f"{map_path}: {len(shared)} of its files are test files too: {some(shared)}")
    return notes
