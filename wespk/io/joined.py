"""Several recordings read as one: in ``wav.scp`` the command that joins them, which we need not run.

``sox A B -t wav - |`` prints the samples of A followed by those of B, so that every reader of Kaldi's tables can use the
line. ``wespk.io.audio`` knows this one form and reads the files themselves, of which only what is wanted, without sox.
"""

import re
import shlex

_BEFORE, _AFTER = "sox ", " -t wav - |"
_PLAIN = re.compile(r"[\w@%+=:,./ -]+", re.ASCII)  # what shlex.quote leaves alone, and the space between two paths


def join_command(paths):
    """The value of ``wav.scp`` for the recordings at ``paths``, absolute, one after another."""
    return _BEFORE + " ".join(map(shlex.quote, paths)) + _AFTER


def joined_paths(spec):
    """The paths of a value that ``join_command`` wrote; None for all others, other commands of sox included."""
    if not (spec.startswith(_BEFORE) and spec.endswith(_AFTER)):
        return None
    inside = spec[len(_BEFORE) : -len(_AFTER)]
    try:
        paths = inside.split(" ") if _PLAIN.fullmatch(inside) else shlex.split(inside)
    except ValueError:
        return None
    written = len(paths) > 1 and all(path.startswith("/") for path in paths) and join_command(paths) == spec
    return paths if written else None
