"""Run an array job through one of Kaldi's own scripts, run.pl, queue.pl, slurm.pl or one that takes their options:

    kaldi_script.py SCRIPT [ITS OPTIONS] -- [--gpus n] ... [JOB=1:N] LOG COMMAND [ARGUMENT ...]

Behind ``--`` stands the command line of array_job.py. What is Kaldi's own way is put right here: its scripts glue the
arguments together and have bash read them again, so each is written as one blankless word of bash's that stands for it
exactly; their queues carry over PATH at most, so the environment that we need is set before the command; ``--gpus`` is
called ``--gpu``. A log with blanks in its path, --nodes, --grace and --retries are beyond them, and refused.
"""

import os
import re
import sys

from array_job import USAGE_ERROR, parse, quoted

PROGRAM = "kaldi_script.py"
CARRIED = ("PATH", "PYTHONPATH", "WESPK_ROOT", "LC_ALL", "PYTHONUNBUFFERED", "VIRTUAL_ENV")
SAME = ("mem", "time", "num-threads", "max-jobs-run")
BEYOND = ("nodes", "grace", "retries")


def literal(text):
    """``text`` as a word of bash's without blanks or quotes of other kinds, which Kaldi's scripts would quote again."""
    safe = re.compile(rb"[A-Za-z0-9_.,:/=+-]")
    bytes_of = (bytes([byte]) for byte in os.fsencode(text))
    return "$'" + "".join(b.decode() if safe.fullmatch(b) else f"\\x{b[0]:02x}" for b in bytes_of) + "'"


def word(text, name=None, numbered=True):
    """``text`` as one word for bash, in which Kaldi's scripts put a job's number, or a variable that holds it, for ``name``.

    They do so wherever its letters stand. Where ``array_job`` does not, or nowhere if not ``numbered``, its first letter is
    hidden; where it does, the name stands outside of quotes, so that a variable is read, and apart from what would lengthen it.
    """
    boundary = rf"(?<![A-Za-z0-9]){re.escape(name or '')}(?![A-Za-z0-9])"
    parts = re.split(boundary, text) if name and numbered else [text]
    plain = re.compile(r"[\w@%+=:,./-]*", re.ASCII)
    for place, part in enumerate(parts):
        if name and name in part:
            parts[place] = literal(part).replace(name, f"\\x{ord(name[0]):02x}{name[1:]}")
        elif not plain.fullmatch(part) or (place and part.startswith("_")):
            parts[place] = literal(part)
    return (name or "").join(parts) or literal("")


def command_line(script, job):
    """The words that run ``job`` through ``script`` (a list of words). Raises ValueError for what is beyond it."""
    for name in BEYOND:
        if name in job.options and job.options[name] != "1":
            raise ValueError(f"--{name} is beyond {script[0]}: use --cmd local, slurm or sge for it")
    if not re.fullmatch(r"[\w@%+=:,./-]+", job.log):
        raise ValueError(f"{script[0]} takes no log with blanks or the like in its path: {job.log}")
    words = [*script]
    if job.gpus:
        words += ["--gpu", str(job.gpus)]
    for name in SAME:
        if name in job.options:
            words += [f"--{name}", job.options[name]]
    if job.name is not None:
        words.append(f"{job.name}={job.indices[0]}:{job.indices[-1]}")
    carried = [f"{name}={os.environ[name]}" for name in CARRIED if name in os.environ]
    carried.append(f"OMP_NUM_THREADS={job.num_threads}")
    if not job.gpus:
        carried.append("CUDA_VISIBLE_DEVICES=")
    words += [job.log, "env", *(word(text, job.name, numbered=False) for text in carried)]
    return words + [word(text, job.name) for text in job.command]


def main():
    if "--" not in sys.argv[1:]:
        print(f"{PROGRAM}: error: needs SCRIPT [ITS OPTIONS] -- LOG COMMAND", file=sys.stderr)
        raise SystemExit(USAGE_ERROR)
    middle = sys.argv.index("--")
    job = parse(sys.argv[middle + 1 :], PROGRAM)
    try:
        words = command_line(sys.argv[1:middle], job)
    except ValueError as error:
        print(f"{PROGRAM}: error: {error}", file=sys.stderr)
        raise SystemExit(USAGE_ERROR) from None
    if job.check:
        return
    if job.dry_run:
        print(quoted(words))
        return
    for index in job.indices:
        os.makedirs(os.path.dirname(job.task(index)[0]) or ".", exist_ok=True)
    os.execvp(words[0], words)


if __name__ == "__main__":
    main()
