"""VoxCeleb's trial lists: finding, reading and naming them.

The published lists have lines ``1 id10270/x6uYqmx31kE/00001.wav id10270/8jEAjG6SegY/00008.wav`` (1 = same speaker). A
list given by its path may also be in Kaldi's form, ``a b target|nontarget``. Neither form needs to name the suffix
that the files on disk have.

Where beside ``NAME.txt`` lies ``NAME.map``, the first sides of its trials are enrolments of several utterances, which that
file names: lines ``MODEL id10270/x6uYqmx31kE/00001.wav id10270/8jEAjG6SegY/00008.wav ...``, MODEL being any word.
"""

import glob
import os
import re

import numpy as np

from wespk.corpora.registry import TrialList
from wespk.io.tables import read_text
from wespk.utils.errors import InputError
from wespk.utils.registry import nearest

# file name -> (name, number of trials), as published; another file under such a name keeps its own name
PUBLISHED_LISTS = {
    "veri_test.txt": ("vox1_O", 37720),
    "veri_test2.txt": ("vox1_O_cleaned", 37611),
    "list_test_all.txt": ("vox1_E", 581480),
    "list_test_all2.txt": ("vox1_E_cleaned", 579818),
    "list_test_hard.txt": ("vox1_H", 552536),
    "list_test_hard2.txt": ("vox1_H_cleaned", 550894),
}
PATTERNS = ("veri_test*.txt", "list_test_*.txt")
O_LIST = re.compile(r"veri_test.*\.txt")
_LABELS = {"1": 1, "0": 0, "target": 1, "nontarget": 0}
_KALDI_ID = re.compile(r"id\d{5,}-\S+-[^\s-]+")


def utterance_id(file):
    """``id10270/x6uYqmx31kE/00001.wav``, after any folders, or the id -> ``id10270-x6uYqmx31kE-00001``; else None."""
    parts = file.split("/")
    if len(parts) >= 3:
        file = "-".join((*parts[-3:-1], os.path.splitext(parts[-1])[0]))
    return file if _KALDI_ID.fullmatch(file) else None


def read_list(path):
    """Read a trial list in either form into a ``TrialList`` with Kaldi ids.

    CRLF line ends, a byte-order mark, a missing last newline and blank lines at the end do no harm. Raises
    ``InputError`` with path:line for anything else that is not a trial, where a label contradicts the speakers, and for
    a test that is part of its own enrolment.
    """
    map_path = os.path.splitext(path)[0] + ".map"
    models = read_models(map_path) if os.path.isfile(map_path) else {}
    known, enroll, test, labels = {}, [], [], []
    for number, line in _lines(path):
        label, first, second = _fields(line, f"{path}:{number}")
        if models and first not in models:
            raise InputError(f"{path}:{number}: '{first}' has no line in {map_path}, which must name the utterances of "
                             "every enrolment; complete that, or take it away")  # fmt: skip
        for file in (second,) if models else (first, second):
            if file not in known:
                known[file] = _id(file, f"{path}:{number}")
        enroll.append(first if models else known[first])
        test.append(known[second])
        if _one_speaker(models[first][0] if models else enroll[-1], test[-1]) != (label == 1):
            says = "one speaker" if label else "two speakers"
            raise InputError(f"{path}:{number}: the label says {says}, the file names do not; correct the list")
        if models and test[-1] in models[first]:
            raise InputError(f"{path}:{number}: '{second}' is one of the utterances of '{first}' in {map_path}; take the trial "
                             "off the list, or the utterance out of the enrolment")  # fmt: skip
        labels.append(label)
    used = {key: models[key] for key in dict.fromkeys(enroll)} if models else {}
    return TrialList(_name(path, len(labels)), str(path), enroll, test, np.array(labels, dtype=np.int8), used)


def read_models(path):
    """``NAME.map`` as {enrolment: ids of its utterances}.

    Raises ``InputError`` with path:line for a line without utterances or with one of them twice, an enrolment that stands
    there twice or is of several speakers, and names of another form.
    """
    models = {}
    for number, line in _lines(path):
        where, (model, *files) = f"{path}:{number}", line.split() or [""]
        if not files or model in models:
            what = f"'{model}' stands there before" if model in models else f"'{line.strip()[:80]}' names no utterance"
            raise InputError(f"{where}: {what}; a line is 'MODEL FILE FILE ...', one for each enrolment")
        models[model] = [_id(file, where) for file in files]
        strange = next((key for key in models[model] if not _one_speaker(models[model][0], key)), None)
        if strange:
            raise InputError(f"{where}: '{model}' is made of {models[model][0]} and {strange}, of two speakers; an "
                             "enrolment is of one")  # fmt: skip
        double = next((key for key in models[model] if models[model].count(key) > 1), None)
        if double:
            raise InputError(f"{where}: '{model}' is made of {double} more than once, which would count as often; name it once")
    return models


def _lines(path):
    """(number, line) of a list."""
    return enumerate(read_text(path).lstrip("\ufeff").rstrip().split("\n"), 1)


def _id(file, where):
    found = utterance_id(file)
    if found is None:
        raise InputError(f"{where}: '{file}' is not of the form idNNNNN/SESSION/NNNNN.wav")
    return found


def _one_speaker(first, second):
    return first.startswith(second[: second.index("-") + 1])


def _fields(line, where):
    fields = line.split()
    if len(fields) == 3 and fields[0] in ("0", "1"):
        return _LABELS[fields[0]], fields[1], fields[2]
    if len(fields) == 3 and fields[2] in ("target", "nontarget"):
        return _LABELS[fields[2]], fields[0], fields[1]
    what = f"'{line.strip()[:80]}' is no trial"
    raise InputError(f"{where}: {what}; expected '0|1 FILE FILE' or 'ID ID target|nontarget'")


def _name(path, num_trials):
    file = os.path.basename(path)
    name, published = PUBLISHED_LISTS.get(file, (None, None))
    return name if num_trials == published else os.path.splitext(file)[0]


def find_lists(folders):
    """The lists that lie in ``folders`` (not below) under VoxCeleb's names, read; the same one in two counts once."""
    found = {}
    for folder in folders:
        paths = sorted({p for pattern in PATTERNS for p in glob.glob(os.path.join(glob.escape(folder), pattern))})
        for trial_list in map(read_list, paths):
            other = found.setdefault(trial_list.name, trial_list)
            if (other.enroll, other.test, other.models) != (trial_list.enroll, trial_list.test, trial_list.models):
                raise InputError(
                    f"{other.source} and {trial_list.source} are different lists of one name; say with --lists which "
                    "folder to take"
                )
    return list(found.values())


def pick_lists(found, names, folders):
    """Of the lists found, those that ``names`` asks for: comma-separated names, file names or paths of lists.

    Empty: all, and none is an error; "none": none. Raises ``InputError`` for a name that is neither found nor a file.
    """
    if names == "none":
        return []
    where = ", ".join(folders)
    if not names:
        if not found:
            raise InputError(
                f"no trial list ({', '.join(PATTERNS)}) in {where}; name their folder with --lists, or give --trials "
                "none to train without evaluation"
            )
        return found
    by_name = {key: item for item in found for key in (os.path.basename(item.source), item.name)}
    picked = {}
    for name in filter(None, (word.strip() for word in names.split(","))):
        if name not in by_name and not os.path.isfile(name):
            known = ", ".join(item.name for item in found) or "none"
            guess = nearest(name, by_name)
            raise InputError(f"--trials: no list '{name}'{guess} in {where} (found: {known}), and no such file")
        item = by_name[name] if name in by_name else read_list(os.path.abspath(name))
        if picked.setdefault(item.name, item).source != item.source:
            raise InputError(f"--trials: {picked[item.name].source} and {item.source} have one name; rename one")
    return list(picked.values())
