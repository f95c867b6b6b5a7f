"""Audio files on disk: finding them, naming them in wav.scp, and their durations from their headers."""

import os
import re
import shlex
from concurrent.futures import ThreadPoolExecutor

from wespk.io.audio import audio_info
from wespk.io.joined import joined_paths
from wespk.io.m4a import m4a_info
from wespk.utils.errors import InputError
from wespk.utils.log import get_logger

SUFFIXES = (".wav", ".flac", ".m4a")
_BLOCK = 256  # files handed to a thread at once: large enough that the hand-over costs nothing
_REPORT = 100_000  # files between two lines of the log
_LISTED = 20  # files named in an error


def is_audio(name):
    """Whether a file name is that of an audio file (hidden files, as some archives carry them, are not)."""
    return name.lower().endswith(SUFFIXES) and not name.startswith(".")


def check_folder(root, option):
    """The absolute path of ``root``; ``InputError`` naming ``option`` unless it is a folder."""
    if not os.path.isdir(root):
        raise InputError(f"{option} {root}: no such folder; give the corpus's top folder")
    return os.path.abspath(root)


def walk(folder):
    """All audio files below ``folder`` as {id: absolute path}; the id is the path below ``folder`` without its suffix.

    White space in an id becomes ``_``. Raises ``InputError`` when two files get the same id.
    """
    found = {}
    for parent, folders, files in os.walk(folder):
        folders.sort()
        for name in sorted(filter(is_audio, files)):
            path = os.path.join(parent, name)
            enter(found, relative_id(path, folder), path)
    return found


def relative_id(path, folder):
    """The path of a file below ``folder``, without its suffix and without white space."""
    return re.sub(r"\s", "_", os.path.splitext(os.path.relpath(path, folder))[0])


def enter(found, key, path):
    """Put ``path`` under ``key``; ``InputError`` naming both files when the key is taken."""
    if key in found:
        raise InputError(f"two files for one id '{key}': {found[key]} and {path}; keep one of them")
    found[key] = path


def wav_scp_value(path):
    """What wav.scp says for a file: its path, or for AAC a command, as Kaldi's programs read WAV only.

    The command fails on a damaged file (``-xerror``) instead of leaving the damaged part out.
    FLAC stays a path: reading it needs no program here, and a command for each utterance would cost more than the
    decoding. (Kaldi's own programs want ``flac -c -d -s PATH |`` in its place.) What joins several files is a command
    already.
    """
    if joined_paths(path):
        return path
    if "\n" in path or "\r" in path or path != path.strip() or path.endswith("|"):
        raise InputError(f"{path!r}: wav.scp cannot hold this path (line break, space at an end, or '|'); rename it")
    if path.lower().endswith(".m4a"):
        return f"ffmpeg -nostdin -v error -xerror -i {shlex.quote(path)} -f wav -acodec pcm_s16le - |"
    return path


def header(path):
    """(seconds, Hz, channels) of a file as its header states them; of .m4a channels 0: not looked at.

    Raises ``InputError`` naming the file.
    """
    num_samples, rate, channels = (*m4a_info(path), 0) if path.lower().endswith(".m4a") else audio_info(path)
    return num_samples / rate, rate, channels


def duration(path):
    """Seconds of audio in a file, from its header. Raises ``InputError`` naming the file."""
    return header(path)[0]


def durations(paths, jobs=8):
    """Durations of many files: {key: path} -> {key: seconds}; see ``read_headers``."""
    return read_headers(paths, duration, jobs)


def read_headers(paths, read, jobs=8):
    """{key: path} -> {key: read(path)} for many files, by ``jobs`` threads (the time goes into the disk).

    Raises ``InputError`` naming the files that ``read`` refuses, in the order given: up to 20 and the number of the rest.
    """
    keys = list(paths)
    blocks = [keys[i : i + _BLOCK] for i in range(0, len(keys), _BLOCK)]
    found, faults = {}, []
    with ThreadPoolExecutor(max(1, jobs)) as pool:
        looks = pool.map(lambda block: [_value_or_fault(read, paths[key]) for key in block], blocks)
        for block, values in zip(blocks, looks, strict=True):
            before = len(found) // _REPORT
            found.update(zip(block, values, strict=True))
            faults += [str(value) for value in values if isinstance(value, Exception)]
            if len(found) // _REPORT > before:
                get_logger().info("headers: %d of %d files", len(found), len(keys))
    if len(faults) == 1:
        raise InputError(faults[0])
    if faults:
        listed = "\n  ".join(faults[:_LISTED] + [f"and {len(faults) - _LISTED} more"] * (len(faults) > _LISTED))
        raise InputError(f"{len(faults)} of {len(keys)} files cannot be used:\n  {listed}")
    return found


def _value_or_fault(read, path):
    try:
        return read(path)
    except (InputError, OSError) as error:
        return error
