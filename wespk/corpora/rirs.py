"""Room impulse responses: RIRS_NOISES (its ``rir_list`` files), or any folder of impulse responses."""

import os

from wespk.corpora.audio_files import check_folder, enter, read_headers, relative_id, walk
from wespk.io.audio import audio_info
from wespk.io.tables import write_table
from wespk.utils.errors import InputError

_NOT_RESPONSES = "pointsource_noises"  # RIRS_NOISES carries noises as well


def find_rirs(root):
    """{id: path} of the impulse responses under ``root``.

    Where ``rir_list`` files are found, what they list; else every audio file except those of the folder
    ``pointsource_noises``. Raises ``InputError`` when there is none or a listed file is missing.
    """
    top = check_folder(root, "--rirs")
    lists = [os.path.join(parent, "rir_list") for parent, _, files in sorted(os.walk(top)) if "rir_list" in files]
    if lists:
        found = {}
        for path in lists:
            _read_rir_list(path, top, found)
    else:
        found = {i: p for i, p in walk(top).items() if _NOT_RESPONSES not in i.split("/")}
    if not found:
        raise InputError(f"--rirs {root}: no rir_list and no audio file in it or below")
    return found


def _read_rir_list(path, top, found):
    """Enter the files of a rir_list (``--rir-id I --room-id R FILE``) into ``found``."""
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                response = _resolve(line.split()[-1], path, top)
                if response is None:
                    raise InputError(f"{path}:{number}: no file {line.split()[-1]} under {top}; complete the folder")
                enter(found, relative_id(response, top), response)


def _resolve(name, list_path, top):
    """The file that a rir_list names: relative to a folder above ``top`` under whatever name, or beside the list."""
    parts = name.split("/")
    for start in range(len(parts)):
        response = os.path.join(top, *parts[start:])
        if os.path.isfile(response):
            return response
    response = os.path.join(os.path.dirname(list_path), parts[-1])
    return response if os.path.isfile(response) else None


def write_rirs(found, out, jobs=8):
    """Write ``out/rirs.scp`` (id path) of the one-channel responses; returns report lines with both counts.

    Raises ``InputError`` when none has one channel. Every file's header is read.
    """
    channels = read_headers(found, lambda path: audio_info(path)[2], jobs)
    mono = {i: path for i, path in found.items() if channels[i] == 1}
    if not mono:
        raise InputError(f"{next(iter(found.values()))}: several channels, like all found; give one-channel files")
    write_table(os.path.join(out, "rirs.scp"), mono)
    several = len(found) - len(mono)
    return [f"{out}: {len(mono)} impulse responses" + (f"; {several} of several channels left out" if several else "")]
