"""CN-Celeb1 and CN-Celeb2 as they lie on disk.

CN-Celeb1 holds ``data/idNNNNN/GENRE-NN-NNN.flac``, ``dev/dev.lst`` with the training speakers and
``eval/{enroll,test,lists}``; CN-Celeb2 holds ``data`` and ``spk.lst``. NN is the session within the genre. An utterance
id is ``id00010-singing-01-001``, an enrolment's ``id00800-enroll``. Files may be FLAC, WAV or AAC, whatever suffix the
lists carry.
"""

import os
from concurrent.futures import ThreadPoolExecutor

from wespk.corpora.audio_files import SUFFIXES, check_folder
from wespk.corpora.cnceleb_eval import AVERAGED, CONCATENATED, evaluation
from wespk.corpora.cnceleb_files import count_note, listing, some, utterance
from wespk.corpora.cnceleb_lists import read_speakers
from wespk.corpora.registry import CORPORA, Corpus
from wespk.utils.errors import InputError
from wespk.utils.registry import nearest

LISTS = (CONCATENATED, AVERAGED)
_SPEAKER_LIST = {"cnceleb1": os.path.join("dev", "dev.lst"), "cnceleb2": "spk.lst"}
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


def _training(name, root):
    """({id: Utterance}, notes) of the training speakers of one corpus, those of its list."""
    path = os.path.join(root, _SPEAKER_LIST[name])
    speakers = read_speakers(path)
    folders = {speaker: os.path.join(root, "data", speaker) for speaker in sorted(speakers)}
    absent = [speaker for speaker, folder in folders.items() if not os.path.isdir(folder)]
    if len(absent) > _INCOMPLETE * len(speakers):
        raise InputError(f"{path}:{speakers[absent[0]]}: no folder {folders[absent[0]]} ({len(absent)} of "
                         f"{len(speakers)} speakers have none); complete the corpus")  # fmt: skip
    present = [folders[speaker] for speaker in speakers if speaker not in absent]
    with ThreadPoolExecutor(_SCAN_THREADS) as pool:
        train = {key: found for scanned in pool.map(_scan_speaker, present) for key, found in scanned}
    notes = count_note(name, len(present), f"training speakers in {root}", absent)
    if absent and not notes:
        notes.append(f"{path}: no folder for {some(absent)}; left out")
    return train, notes


def _scan_speaker(folder):
    """All (id, Utterance) of a speaker's folder."""
    speaker = os.path.basename(folder)
    found = [(f"{speaker}-{stem}", utterance(speaker, stem, path)) for stem, path in listing(folder).items()]
    if not found:
        raise InputError(f"{folder}: no {', '.join(SUFFIXES)} file; complete the speaker, or take it off the list")
    return found


def _chosen(trials):
    """The names of the trial lists that are asked for."""
    if trials == "none":
        return ()
    names = [name.strip() for name in trials.split(",") if name.strip()]
    for name in names:
        if name not in LISTS:
            raise InputError(f"--trials: no list '{name}'{nearest(name, LISTS)}; CN-Celeb has {', '.join(LISTS)}")
    return names or LISTS


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
    chosen = _chosen(trials)
    if chosen and "cnceleb1" not in roots:
        raise InputError("the trials are those of CN-Celeb1: give --cnceleb1, or --trials none to train alone")
    train, notes = {}, []
    for name, root in roots.items():
        part, said = _training(name, root)
        twice = sorted({u.speaker for u in part.values()} & {u.speaker for u in train.values()})
        if twice:
            raise InputError(f"{root}: speaker {twice[0]} is in the CN-Celeb1 root as well; check the two roots")
        train.update(part)
        notes += said
    if not chosen:
        return Corpus(train, {}, [], notes)
    utterances, lists, said = evaluation(roots["cnceleb1"], chosen, train)
    return Corpus(train, utterances, lists, notes + said)
