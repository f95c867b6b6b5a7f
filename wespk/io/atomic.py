"""Files that appear whole or not at all."""

import os
import re
from contextlib import contextmanager
from pathlib import Path

_TEMPORARY = re.compile(r"\.(.+)\.\d+\.tmp")


def _sync_folder(folder):
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError:
        pass  # some network file systems refuse to sync a folder; the rename itself stands
    finally:
        os.close(handle)


@contextmanager
def open_atomic(path, mode="w"):
    """Open a temporary file beside ``path`` for writing; on success flush it to disk and rename it to ``path``.

    An exception inside the block (a full disk included) removes the temporary file and leaves what stood at ``path``
    before. ``mode`` is "w" (UTF-8 text) or "wb". Missing parent folders are made.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")  # see final_name
    try:
        with open(temporary, mode, encoding=None if "b" in mode else "utf-8") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except OSError as error:
        if error.filename is None:  # a full disk, from write or fsync: say which file did not fit
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


def final_name(name):
    """The file name that a temporary of ``open_atomic`` would have got (a SIGKILL leaves it behind), or ``name`` itself."""
    match = _TEMPORARY.fullmatch(name)
    return match[1] if match else name


def write_text(path, text):
    """Write ``text`` to ``path`` atomically (see ``open_atomic``)."""
    with open_atomic(path) as file:
        file.write(text)
