"""Marks of array jobs: what a job was asked for and which files it wrote, so that a repeated job need not do it again.

A mark is a JSON file, written last. It holds what decides the job's result, a digest of its inputs among it, and the
sizes and times of change of its files: whatever differs, the job is done again.
"""

import hashlib
import json
import os
from pathlib import Path

from wespk.io.atomic import write_text
from wespk.io.joined import joined_paths
from wespk.io.pipes import is_pipe


def file_state(path):
    """[bytes, time of change in ns] of a file, by which a changed one is known; None for one that is not there."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return [found.st_size, found.st_mtime_ns]


def recording_state(spec):
    """``file_state`` of a recording that is a plain file, a list of them if it is several joined; None for another
    ``command |``, whose inputs are not known."""
    paths = joined_paths(spec)
    if paths:
        return [file_state(path) for path in paths]
    return None if is_pipe(spec) else file_state(spec)


def digest(items):
    """Hex digest of a sequence of values, each told by its ``repr``."""
    found = hashlib.blake2b(digest_size=16)
    for item in items:
        found.update(repr(item).encode() + b"\n")
    return found.hexdigest()


def write_mark(path, asked, files, **more):
    """Write the mark of a job that was ``asked`` for (dict) and wrote ``files``; ``more`` is what it has to report."""
    states = {Path(file).name: file_state(file) for file in files}
    write_text(path, json.dumps({**asked, **more, "files": states}) + "\n")


def read_mark(path, asked):
    """The mark (dict) of a job that did what is ``asked`` and whose files, beside the mark, are as it left them; else None."""
    path = Path(path)
    try:
        mark = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    same = isinstance(mark, dict) and json.loads(json.dumps(asked)).items() <= mark.items()
    if not same or not mark.get("files"):
        return None
    whole = all(state and file_state(path.parent / name) == state for name, state in mark["files"].items())
    return mark if whole else None
