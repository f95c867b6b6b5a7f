"""CN-Celeb's files on disk, what their names say, and how complete they are."""

import os
import re

from wespk.corpora.audio_files import SUFFIXES, is_audio
from wespk.corpora.registry import Utterance
from wespk.utils.errors import InputError

# training speakers of each corpus; enrolments, test files and trials of the evaluation set of CN-Celeb1
PUBLISHED = {"cnceleb1": 797, "cnceleb2": 1996, "enrolments": 196, "test files": 17_777, "trials": 3_484_292}
_FILE = re.compile(r"(?P<session>(?P<genre>[a-z]+(?:_[a-z]+)*)-\d+)-\d+", re.IGNORECASE | re.ASCII)
_NAMED = 20  # names in a note


def listing(folder):
    """{name without suffix: path} of the audio files that lie in ``folder``; one listing, no look at any file.

    An absent folder has none. Raises ``InputError`` for two files of one name, and for white space in a name.
    """
    found = {}
    for name in sorted(filter(is_audio, os.listdir(folder) if os.path.isdir(folder) else ())):
        stem, path = os.path.splitext(name)[0], os.path.join(folder, name)
        if stem in found:
            raise InputError(f"two files for one utterance: {found[stem]} and {path}; keep one of them")
        if len(stem.split()) != 1:
            raise InputError(f"{path}: white space in a file name; rename it")
        found[stem] = path
    return found


def utterance(speaker, stem, path):
    """The ``Utterance`` of the file GENRE-NN-NNN; its session is GENRE-NN. ``InputError`` for another name."""
    parts = _FILE.fullmatch(stem)
    if not parts:
        raise InputError(f"{path}: the name does not say genre and session; rename the file to GENRE-NN-NNN, or take "
                         "it out of the folder")  # fmt: skip
    return Utterance(speaker, parts["session"], path, parts["genre"])


def need_files(names, files, folder, where, advice="complete the corpus"):
    """Raise ``InputError`` for the first of ``names`` that ``files``, a listing of ``folder``, lacks.

    where: {name: path:line} or one path:line for all.
    """
    absent = [name for name in names if name not in files]
    if absent:
        line = where if isinstance(where, str) else where[absent[0]]
        more = f" ({len(absent)} of the list's are missing)" if len(absent) > 1 else ""
        file = os.path.join(folder, absent[0])
        raise InputError(f"{line}: no file {file} ({', '.join(SUFFIXES)}){more}; {advice}")


def count_note(name, count, what, missing=()):
    """[a line] when a number comes near the published one without being it: most often an incomplete download."""
    published = PUBLISHED[name]
    if count == published or count <= 0.9 * published:
        return []
    return [f"{count} {what}; published are {published}" + (f"; missing: {some(missing)}" if missing else "")]


def some(names):
    """The first of ``names`` and the number of the rest, as text."""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
