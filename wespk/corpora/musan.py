"""MUSAN, and any noise collection laid out like it: folders ``noise``, ``music`` and ``speech``."""

import os

from wespk.corpora.audio_files import check_folder, durations, walk
from wespk.io.tables import write_table
from wespk.utils.errors import InputError

KINDS = ("noise", "music", "speech")


def find_musan(root):
    """{kind: {id: path}} for the three kinds, from ``root`` or its folder ``musan``.

    Raises ``InputError`` when a kind's folder is missing or holds no audio.
    """
    top = check_folder(root, "--musan")
    if os.path.isdir(os.path.join(top, "musan")):
        top = os.path.join(top, "musan")
    found = {}
    for kind in KINDS:
        folder = os.path.join(top, kind)
        found[kind] = walk(folder)
        if not found[kind]:
            raise InputError(f"--musan {root}: no audio in {folder}; MUSAN has the folders {', '.join(KINDS)}")
    return found


def write_musan(found, out, jobs=8):
    """Write ``out/{noise,music,speech}.scp`` (id path); returns a report line. Every file's header is read."""
    counts = []
    seconds = durations({(kind, i): path for kind in KINDS for i, path in found[kind].items()}, jobs)
    for kind in KINDS:
        hours = sum(seconds[kind, i] for i in found[kind]) / 3600
        write_table(os.path.join(out, f"{kind}.scp"), found[kind])
        counts.append(f"{kind} {len(found[kind])} files ({hours:.2f} hours)")
    return [f"{out}: {', '.join(counts)}"]
