"""CN-Celeb1 and CN-Celeb2 as they lie on disk.

CN-Celeb1 holds ``data/idNNNNN/GENRE-NN-NNN.flac``, ``dev/dev.lst`` with the training speakers and
``eval/{enroll,test,lists}``; CN-Celeb2 holds ``data`` and ``spk.lst``. NN is the session within the genre. An utterance
id is ``id00010-singing-01-001``, an enrolment's ``id00800-enroll``. Files may be FLAC, WAV or AAC, whatever suffix the
lists carry.

The trials are those of the corpus, ``cnceleb_concat``: the enrolment is the one recording in ``eval/enroll``, made of
several. What it was made of, ``enroll.map``, is kept, and the parts are utterances of the evaluation set too.
"""

import os
import re
from concurrent.futures import ThreadPoolExecutor

from wespk.corpora.audio_files import SUFFIXES, check_folder, is_audio
from wespk.corpora.cnceleb_lists import read_enrolments, read_parts, read_speakers, read_trials, speaker_of
from wespk.corpora.registry import CORPORA, Corpus, TrialList, Utterance
from wespk.utils.errors import InputError
from wespk.utils.registry import nearest

# training speakers of each corpus; enrolments, test files and trials of the evaluation set of CN-Celeb1
PUBLISHED = {"cnceleb1": 797, "cnceleb2": 1996, "enrolments": 196, "test files": 17_777, "trials": 3_484_292}
CONCATENATED = "cnceleb_concat"
_SPEAKER_LIST = {"cnceleb1": os.path.join("dev", "dev.lst"), "cnceleb2": "spk.lst"}
_FILE = re.compile(r"(?P<session>(?P<genre>[^\W\d][^\W\d]*)-\d+)-\d+", re.ASCII)
_INCOMPLETE = 0.1  # share of the listed training speakers that may lack a folder
_SCAN_THREADS = 16


def find_root(folder, name):
    """The top folder of corpus ``name`` (cnceleb1 or cnceleb2): ``folder`` itself, or one CN-Celeb folder in it."""
    folder, wanted = check_folder(folder, f"--{name}"), _SPEAKER_LIST[name]
    below = sorted(entry for entry in os.listdir(folder) if entry.lower().startswith("cn-celeb"))
    found = [path for path in (folder, *(os.path.join(folder, entry) for entry in below))
             if os.path.isfile(os.path.join(path, wanted)) and os.path.isdir(os.path.join(path, "data"))]  # fmt: skip
    if not found:
        raise InputError(f"--{name} {folder}: no folder data and no {wanted} there, nor in a folder CN-Celeb* below; "
                         "give the folder that holds both")  # fmt: skip
    if len(found) > 1:
        raise InputError(f"--{name} {folder}: {' and '.join(found)} both hold the corpus; give one of them")
    return found[0]


def _listing(folder):
    """{name without suffix: path} of the audio files that lie in ``folder``; one listing, no look at any file."""
    found = {}
    for name in sorted(filter(is_audio, os.listdir(folder) if os.path.isdir(folder) else ())):
        stem, path = os.path.splitext(name)[0], os.path.join(folder, name)
        if stem in found:
            raise InputError(f"two files for one utterance: {found[stem]} and {path}; keep one of them")
        if len(stem.split()) != 1:
            raise InputError(f"{path}: white space in a file name; rename it")
        found[stem] = path
    return found


def _utterance(speaker, stem, path):
    """The ``Utterance`` of a file GENRE-NN-NNN; ``InputError`` for another name."""
    parts = _FILE.fullmatch(stem)
    if not parts:
        raise InputError(f"{path}: the name does not say genre and session; a file is GENRE-NN-NNN.flac: rename it, or "
                         "take it out of the folder")  # fmt: skip
    return Utterance(speaker, parts["session"], path, parts["genre"])


def _scan_speaker(folder):
    """All (id, Utterance) of a speaker's folder."""
    speaker = os.path.basename(folder)
    found = [(f"{speaker}-{stem}", _utterance(speaker, stem, path)) for stem, path in _listing(folder).items()]
    if not found:
        raise InputError(f"{folder}: no {', '.join(SUFFIXES)} file; complete the speaker, or take it off the list")
    return found


def _training(name, root):
    """({id: Utterance}, notes) of the training speakers of one corpus, those of its list."""
    path = os.path.join(root, _SPEAKER_LIST[name])
    speakers = read_speakers(path)
    folders = {speaker: os.path.join(root, "data", speaker) for speaker in sorted(speakers)}
    absent = [speaker for speaker, folder in folders.items() if not os.path.isdir(folder)]
    if len(absent) > _INCOMPLETE * len(speakers):
        raise InputError(f"{path}:{speakers[absent[0]]}: no folder {folders[absent[0]]} ({len(absent)} of "
                         f"{len(speakers)} speakers have none); complete the corpus")  # fmt: skip
    for speaker in absent:
        del folders[speaker]
    with ThreadPoolExecutor(_SCAN_THREADS) as pool:
        train = {key: found for scanned in pool.map(_scan_speaker, folders.values()) for key, found in scanned}
    notes = [f"{path}: no folder for {len(absent)} of {len(speakers)} speakers, left out: {_some(absent)}"] if absent else []
    return train, notes + _count_note(name, len(folders), "training speakers", absent)


def _count_note(name, count, what, missing=()):
    """A line when a number comes near the published one without being it: most often an incomplete download."""
    published = PUBLISHED[name]
    if count == published or count <= 0.9 * published:
        return []
    return [f"{count} {what}; published are {published}" + (f"; missing: {_some(missing)}" if missing else "")]


def _some(names):
    return ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")


def _check_speakers(path, names, train):
    """Stop when a speaker of ``names`` {name: line}, which the list at ``path`` evaluates, is a training speaker."""
    of_training = {found.speaker: found.path for found in train.values()}
    for name, line in names.items():
        speaker = speaker_of(name)
        if speaker in of_training:
            raise InputError(f"{path}:{line}: speaker {speaker} is a training speaker too ({of_training[speaker]}); take "
                             "the speaker off dev.lst or spk.lst")  # fmt: skip


def _missing(where, file, kind, count):
    more = f" ({count} of the list's are missing)" if count > 1 else ""
    return InputError(f"{where}: no file {file} ({', '.join(SUFFIXES)}){more}; complete the corpus{kind}")


class Evaluation:
    """The evaluation set of CN-Celeb1: utterances {id: Utterance}, trials, models {model: part ids}, notes."""

    def __init__(self, root, train):
        self.root, self.notes, self.models = os.path.join(root, "eval"), [], {}
        lists = os.path.join(self.root, "lists")
        self.enroll_list, self.trials_list = (os.path.join(lists, name) for name in ("enroll.lst", "trials.lst"))
        self.enrolments = read_enrolments(self.enroll_list)
        self.trials = read_trials(self.trials_list)
        for path, names in ((self.enroll_list, {key: line for key, (line, _) in self.enrolments.items()}),
                            (self.trials_list, self.trials.test_names)):  # fmt: skip
            _check_speakers(path, names, train)
        tests = self._test_files()
        parts = self._parts(os.path.join(lists, "enroll.map"), os.path.join(root, "data"), tests)
        self.utterances = {**parts, **tests, **self._enrolment_files()}

    def _test_files(self):
        files = _listing(os.path.join(self.root, "test"))
        names = self.trials.test_names
        absent = [name for name in names if name not in files]
        if absent:
            where = f"{self.trials_list}:{names[absent[0]]}"
            raise _missing(where, os.path.join(self.root, "test", absent[0]), "", len(absent))
        unused = [name for name in files if name not in names]
        self.notes += _count_note("test files", len(names), "test files in trials", unused)
        return {name: _utterance(speaker_of(name), name.split("-", 1)[1], files[name]) for name in names}

    def _enrolment_files(self):
        files, found = _listing(os.path.join(self.root, "enroll")), {}
        unknown = next((name for name in self.trials.enroll_names if name not in self.enrolments), None)
        if unknown:
            raise InputError(f"{self.trials_list}:{self.trials.enroll_names[unknown]}: '{unknown}' is not in "
                             f"{self.enroll_list}; complete the list of enrolments")  # fmt: skip
        absent = [key for key, (_, stem) in self.enrolments.items() if stem not in files]
        if absent:
            line, stem = self.enrolments[absent[0]]
            raise _missing(f"{self.enroll_list}:{line}", os.path.join(self.root, "enroll", stem), "", len(absent))
        for key, (_, stem) in self.enrolments.items():
            if key in self.trials.test_names:
                raise InputError(f"{self.enroll_list}: '{key}' is a test file of {self.trials_list} too; rename one")
            parts = self.part_utterances.get(key, ())
            genres, sessions = ("+".join(sorted({getattr(part, kind) for part in parts})) for kind in ("genre", "session"))
            found[key] = Utterance(speaker_of(key), sessions or "enroll", files[stem], genres or "unknown")
        unused = [key for key in self.enrolments if key not in self.trials.enroll_names]
        self.notes += _count_note("enrolments", len(self.trials.enroll_names), "enrolments in trials", unused)
        self.notes += _count_note("trials", len(self.trials.labels), "trials")
        return found

    def _parts(self, path, data, tests):
        """The utterances that the enrolments were made of, {id: Utterance}; fills ``models`` and ``part_utterances``."""
        self.part_utterances, found = {}, {}
        if not os.path.isfile(path):
            self.notes.append(f"{path}: no such file; what the enrolments were made of stays unknown")
            return found
        parts, folders = read_parts(path, self.enrolments), {}
        for key, (line, files) in parts.items():
            speaker = speaker_of(key)
            if speaker not in folders:
                folders[speaker] = _listing(os.path.join(data, speaker))
            absent = [stem for _, stem in files if stem not in folders[speaker]]
            if absent:
                raise _missing(f"{path}:{line}", os.path.join(data, speaker, absent[0]),
                               ", or take the name out of enroll.map", len(absent))  # fmt: skip
            ids = [f"{speaker}-{stem}" for _, stem in files]
            utterances = [_utterance(speaker, stem, folders[speaker][stem]) for _, stem in files]
            found.update(zip(ids, utterances))
            self.models[key], self.part_utterances[key] = ids, utterances
        shared = sorted(found.keys() & tests.keys())
        if shared:
            self.notes.append(f"{path}: {len(shared)} of its files are test files too: {_some(shared)}")
        return found


@CORPORA.register("cnceleb")
def cnceleb(cnceleb1="", cnceleb2="", trials=""):
    """Find CN-Celeb on disk.

    cnceleb1, cnceleb2: corpus roots (at least one), or their parents; trials: names of the lists to keep (empty: all;
    "none": no evaluation set). The training set is the speakers of ``dev.lst`` and ``spk.lst`` of the roots given.
    Returns a ``Corpus``; raises ``InputError``.
    """
    roots = {name: find_root(root, name) for name, root in (("cnceleb1", cnceleb1), ("cnceleb2", cnceleb2)) if root}
    if not roots:
        raise InputError("corpus cnceleb needs --cnceleb1 or --cnceleb2 (or both): the corpora's top folders")
    evaluated = _chosen(trials)
    if evaluated and "cnceleb1" not in roots:
        raise InputError("the trials are those of CN-Celeb1: give --cnceleb1, or --trials none to train without evaluation")
    train, notes = {}, []
    for name, root in roots.items():
        part, said = _training(name, root)
        twice = sorted({u.speaker for u in part.values()} & {u.speaker for u in train.values()})
        if twice:
            raise InputError(f"{root}: speaker {twice[0]} is in the CN-Celeb1 root as well; check the two roots")
        train.update(part)
        notes += said
    if not evaluated:
        return Corpus(train, {}, [], notes)
    found = Evaluation(roots["cnceleb1"], train)
    lists = [TrialList(CONCATENATED, found.trials_list, *found.trials.ids(), found.trials.labels)]
    return Corpus(train, found.utterances, lists, notes + found.notes, found.models)


def _chosen(trials):
    """The names of the trial lists that are asked for."""
    known = (CONCATENATED,)
    if trials == "none":
        return ()
    names = [name.strip() for name in trials.split(",") if name.strip()]
    for name in names:
        if name not in known:
            raise InputError(f"--trials: no list '{name}'{nearest(name, known)}; CN-Celeb has {', '.join(known)}")
    return names or known
