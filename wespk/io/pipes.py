"""Kaldi's `command |` in the place of a file name, with the exit status looked at."""

import subprocess

from wespk.utils.errors import InputError


def is_pipe(spec):
    """True if ``spec`` is a command whose output is meant (its last character is ``|``)."""
    return spec.rstrip().endswith("|")


def pipe_output(spec):
    """Run ``command |`` with bash and return what it prints, bytes.

    Raises ``InputError`` with the command and its last words on stderr when it, or any member of a pipeline in it,
    exits non-zero: output that came before the failure is not to be trusted.
    """
    command = spec.rstrip()[:-1].strip()
    shell = ["bash", "-o", "pipefail", "-c", command]
    done = subprocess.run(shell, capture_output=True, stdin=subprocess.DEVNULL, check=False)
    if done.returncode != 0:
        words = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:]
        said = f": {words[0]}" if words else ""
        raise InputError(f"`{command}` failed with status {done.returncode}{said}; run it by hand to see why")
    return done.stdout
