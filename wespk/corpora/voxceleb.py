"""VoxCeleb1 and VoxCeleb2 as they lie on disk.

A speaker folder ``idNNNNN`` holds a folder for each session (video), which holds ``NNNNN.wav``, ``.flac`` or ``.m4a``.
Above the speakers there may be any of the levels the archives and their users make: ``dev``, ``test``, ``wav``,
``aac``, ``vox1_dev_wav`` and the like. Utterance ids are Kaldi's: ``id10270-x6uYqmx31kE-00001``.
"""

import os
import re
from concurrent.futures import ThreadPoolExecutor

from wespk.corpora.audio_files import SUFFIXES, check_folder, is_audio
from wespk.corpora.registry import CORPORA, Corpus, Utterance
from wespk.corpora.voxceleb_trials import O_LIST, find_lists, pick_lists
from wespk.utils.errors import InputError
from wespk.utils.registry import nearest

# speakers and utterances of the full corpora (VoxCeleb1: 1,211 + 40 speakers; VoxCeleb2: 5,994 development speakers)
PUBLISHED = {"vox1_dev": (1211, 148642), "vox1_test": (40, 4874), "vox2_dev": (5994, 1092009)}
VOX1_TEST_SPEAKERS = frozenset(f"id{number}" for number in range(10270, 10310))
TRAIN_SETS = ("vox1_dev", "vox2_dev")

_SPEAKER = re.compile(r"id\d{5,}")
_LEVEL_WORDS = frozenset(
    ("voxceleb", "voxceleb1", "voxceleb2", "vox1", "vox2", "dev", "test", "wav", "flac", "aac", "m4a")
)
_SCAN_THREADS = 16


class Tree:
    """The utterances below one corpus root.

    utterances: id -> Utterance; split: speaker -> "dev", "test" or None where no level says which.
    """

    def __init__(self, root, option):
        self.root = check_folder(root, option)
        self.utterances, self.split = {}, {}
        folders = sorted(_speaker_folders(self.root), key=lambda found: found[1])
        if not folders:
            raise InputError(
                f"{option} {root}: no speaker folders (idNNNNN) there, nor below its levels dev, test, wav, aac; "
                "give the folder that holds them"
            )
        with ThreadPoolExecutor(_SCAN_THREADS) as pool:
            for (split, folder), utterances in zip(folders, pool.map(_scan_speaker, [f for _, f in folders])):
                self._add(split, folder, utterances)

    def _add(self, split, folder, utterances):
        speaker = os.path.basename(folder)
        if self.split.setdefault(speaker, split) != split:
            raise InputError(f"{folder}: speaker {speaker} is also in the {self.split[speaker]} part of {self.root}")
        for utterance_id, utterance in utterances:
            other = self.utterances.setdefault(utterance_id, utterance)
            if other is not utterance:
                raise InputError(
                    f"utterance {utterance_id} is there twice: {other.path} and {utterance.path}; give a root that "
                    "holds one of them"
                )

    def speakers(self, *splits):
        return {speaker for speaker, split in self.split.items() if split in splits}


def _speaker_folders(folder, split=None):
    """All (split, speaker folder) below ``folder``, looking only into folders named like a level of VoxCeleb."""
    with os.scandir(folder) as entries:
        for entry in entries:
            words = set(re.split(r"[_\-]", entry.name.lower()))
            if not entry.is_dir():
                continue
            if _SPEAKER.fullmatch(entry.name):
                yield split, entry.path
            elif words <= _LEVEL_WORDS:
                part = "test" if "test" in words else "dev" if "dev" in words else split
                yield from _speaker_folders(entry.path, part)


def _scan_speaker(folder):
    """All (id, Utterance) of a speaker folder, by two listings and no look at any file."""
    speaker, found = os.path.basename(folder), []
    with os.scandir(folder) as entries:
        sessions = sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))
    for session in sessions:
        parent = os.path.join(folder, session)
        for name in sorted(filter(is_audio, os.listdir(parent))):
            utterance_id = f"{speaker}-{session}-{os.path.splitext(name)[0]}"
            if len(utterance_id.split()) != 1:
                raise InputError(f"{os.path.join(parent, name)}: white space in a session or file name; rename it")
            found.append((utterance_id, Utterance(speaker, session, os.path.join(parent, name))))
    if not found:
        raise InputError(
            f"{folder}: no {', '.join(SUFFIXES)} file in {len(sessions)} session folders (idNNNNN/SESSION/NNNNN.wav); "
            "complete the speaker or remove the folder"
        )
    return found


def _train_sets(text, roots):
    """The training sets named by ``text`` (comma-separated; empty = those whose roots are given), checked."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in TRAIN_SETS:
            known = ", ".join(TRAIN_SETS)
            raise InputError(f"--train-sets: unknown set '{name}'{nearest(name, TRAIN_SETS)}; known: {known}")
        if name not in roots:
            raise InputError(f"--train-sets {name} needs --{name.replace('vox', 'voxceleb').replace('_dev', '')}")
    return names or list(roots)


def _mark_unsplit(tree, lists):
    """Say dev or test for the speakers of a VoxCeleb1 tree without these levels.

    Test speakers are those of the O list (``veri_test*.txt``) where there is one, else the 40 published ones.
    """
    unsplit = tree.speakers(None)
    if not unsplit:
        return []
    o_lists = [found for found in lists if O_LIST.fullmatch(os.path.basename(found.source))]
    test = set().union(*(_speakers_of(found) for found in o_lists)) if o_lists else VOX1_TEST_SPEAKERS
    for speaker in unsplit:
        tree.split[speaker] = "test" if speaker in test else "dev"
    source = "named by " + ", ".join(found.source for found in o_lists) if o_lists else "published as VoxCeleb1 test"
    return [f"{tree.root}: no dev/test level; {len(unsplit & test)} of {len(unsplit)} speakers are test ({source})"]


def _utterances_of(trial_list):
    """The ids of all utterances that a list takes, those of its enrolments' averages included."""
    parts = (key for ids in trial_list.models.values() for key in ids)
    return {*trial_list.test, *(parts if trial_list.models else trial_list.enroll)}


def _speakers_of(trial_list):
    return {utterance_id.split("-", 1)[0] for utterance_id in _utterances_of(trial_list)}


def _count_note(name, utterances):
    """A line when a set comes near the published size without having it: most often an incomplete download."""
    speakers, count = len({u.speaker for u in utterances.values()}), len(utterances)
    want_speakers, want_count = PUBLISHED[name]
    if speakers > 0.9 * want_speakers and (speakers, count) != (want_speakers, want_count):
        return [f"{name}: {speakers} speakers, {count} utterances; published are {want_speakers} and {want_count}"]
    return []


def _training(trees, names):
    """The utterances of the chosen training sets; no test speaker of VoxCeleb1 among them."""
    test = trees["vox1_dev"].speakers("test") if "vox1_dev" in trees else set()
    train, notes = {}, []
    for name in names:
        tree = trees[name]
        part = {i: u for i, u in tree.utterances.items() if tree.split[u.speaker] != "test"}
        if not part:
            raise InputError(f"{tree.root}: no training speakers for {name}; all its speakers are test speakers")
        wrong = sorted({u.speaker for u in part.values()} & (test | {u.speaker for u in train.values()}))
        if wrong:
            raise InputError(f"{tree.root}: speaker {wrong[0]} is in the VoxCeleb1 root as well; check the two roots")
        notes += _count_note(name, part)
        train.update(part)
    return train, notes


def _without_training_speakers(lists, train, named):
    """The lists that share no speaker with training; a shared one is an error when the user named the list."""
    speakers, kept, notes = {u.speaker for u in train.values()}, [], []
    for found in lists:
        shared = sorted(_speakers_of(found) & speakers)
        if not shared:
            kept.append(found)
            continue
        text = f"{found.name} ({found.source}): {len(shared)} of its speakers are training speakers ({shared[0]}, ...)"
        if named:
            raise InputError(f"--trials {text}; train on other sets or leave the list out")
        notes.append(f"left out {text}")
    return kept, notes


def _evaluation(lists, trees):
    """The utterances that the lists name; ``InputError`` with the trial's line for one that is not on disk."""
    index = {}
    for tree in trees.values():
        index.update(tree.utterances)
    named = set()
    for found in lists:
        ids = _utterances_of(found)
        absent = ids - index.keys()
        if absent:
            enroll = ([*found.models[key]] if found.models else [key] for key in found.enroll)
            trials = enumerate(zip(enroll, found.test), 1)
            line, missing = next((n, i) for n, (made_of, test) in trials for i in [*made_of, test] if i in absent)
            speaker, rest = missing.split("-", 1)
            file = "/".join((speaker, *rest.rsplit("-", 1)))
            roots = ", ".join(tree.root for tree in trees.values())
            raise InputError(
                f"{found.source}:{line}: no file {file} ({', '.join(SUFFIXES)}) under {roots} ({len(absent)} of the "
                "list's are missing); complete the corpus, or choose other lists with --trials"
            )
        named |= ids
    return {utterance_id: index[utterance_id] for utterance_id in sorted(named)}


@CORPORA.register("voxceleb")
def voxceleb(voxceleb1="", voxceleb2="", train_sets="", lists="", trials=""):
    """Find VoxCeleb on disk.

    voxceleb1, voxceleb2: corpus roots (at least one); train_sets: of "vox1_dev,vox2_dev" (empty: of every root given);
    lists: folder of the trial lists (empty: the roots); trials: names or files of the lists to keep (empty: all found
    that share no speaker with training; "none": no evaluation set).
    Returns a ``Corpus``; raises ``InputError``.
    """
    roots = {name: root for name, root in (("vox1_dev", voxceleb1), ("vox2_dev", voxceleb2)) if root}
    if not roots:
        raise InputError("corpus voxceleb needs --voxceleb1 or --voxceleb2 (or both): the corpora's top folders")
    names = _train_sets(train_sets, roots)
    options = {"vox1_dev": "--voxceleb1", "vox2_dev": "--voxceleb2"}
    folders = [check_folder(lists, "--lists")] if lists else [check_folder(r, options[n]) for n, r in roots.items()]
    found = find_lists(folders)
    chosen = pick_lists(found, trials, folders)
    trees = {name: Tree(root, options[name]) for name, root in roots.items()}
    notes = _mark_unsplit(trees["vox1_dev"], found) if "vox1_dev" in trees else []
    train, counts = _training(trees, names)
    kept, left_out = _without_training_speakers(chosen, train, named=bool(trials))
    if chosen and not kept:
        raise InputError("no trial list is left: " + "; ".join(left_out))
    return Corpus(train, _evaluation(kept, trees), kept, notes + counts + left_out)
