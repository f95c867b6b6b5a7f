"""The command line that all submitters share, which is Kaldi's:

    SUBMITTER [--gpus n] [--mem 8G] [--time t] [--num-threads n] [--max-jobs-run n] [--nodes n] [--grace s] [--retries n]
              [--dry-run | --check] [JOB=1:N] LOG COMMAND [ARGUMENT ...]

runs COMMAND once, or N times with JOB replaced by 1 to N in the log's name and in every argument. Two things differ
from Kaldi on purpose: the arguments reach the command exactly as given (no shell reads them a second time, so spaces,
quotes and ``$`` are safe; write ``bash -c '...'`` for pipes and redirections), and JOB is replaced only where it is a
word, that is, not next to another letter or digit (a folder called MYJOBS keeps its name).
"""

import difflib
import re
import shlex
import sys
from dataclasses import dataclass, field

USAGE_ERROR = 2
OPTIONS = {
    "gpus": (r"\d+", "the number of GPUs of each job, on each of its nodes"),
    "mem": (r"(?=.*[1-9])\d+(\.\d+)?[KMGT]?", "the memory of each job on a node, such as 8G (a plain number is in gigabytes)"),
    # not H:MM, which Slurm reads as minutes and seconds; nor 0, which it reads as no limit
    "time": (r"(?=.*[1-9])(\d+|\d+(:[0-5]\d){2}|\d+-\d+(:[0-5]\d){0,2})",
             "the time limit of each job: MINUTES, HH:MM:SS or DAYS-HH:MM:SS"),
    "num-threads": (r"[1-9]\d*", "the CPU cores of each job on a node"),
    "max-jobs-run": (r"[1-9]\d*", "how many jobs may run at once"),
    "nodes": (r"[1-9]\d*", "the nodes of each job; the command itself runs once, on the first of them"),
    "grace": (r"\d+", "the seconds that a job which is told to stop (SIGTERM) at its time limit is given for it"),
    "retries": (r"\d+", "how often a job that got lost (never one that failed by itself) is run again"),
    "dry-run": ("true|false", "only print what would be run or submitted (alone, the word means true)"),
    "check": ("true|false", "run nothing: only look whether the options can be had, and whether the scheduler answers"),
}
FLAGS = {"dry-run", "check"}
SHELL_WORDS = {"|", "||", "&&", ";", "&", "<", ">", ">>", "2>", "2>&1"}
UNITS = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


@dataclass(frozen=True)
class ArrayJob:
    """One parsed command line. ``name`` is None for a single job; ``indices`` is then (1,)."""

    log: str
    command: tuple
    name: str | None = None
    indices: range = field(default_factory=lambda: range(1, 2))
    options: dict = field(default_factory=dict)

    def task(self, index):
        """The log file and the argument list of job ``index``."""
        if self.name is None:
            return self.log, list(self.command)
        word = re.compile(rf"(?<![A-Za-z0-9]){re.escape(self.name)}(?![A-Za-z0-9])")
        return word.sub(str(index), self.log), [word.sub(str(index), argument) for argument in self.command]

    @property
    def gpus(self):
        return int(self.options.get("gpus", 0))

    @property
    def num_threads(self):
        return int(self.options.get("num-threads", 1))

    @property
    def nodes(self):
        return int(self.options.get("nodes", 1))

    @property
    def dry_run(self):
        return self.options.get("dry-run") == "true"

    @property
    def check(self):
        return self.options.get("check") == "true"

    @property
    def max_jobs_run(self):
        """Upper limit on jobs at once; None without one."""
        return int(self.options["max-jobs-run"]) if "max-jobs-run" in self.options else None

    @property
    def mem_bytes(self):
        """Memory of each job in bytes; None if not given."""
        text = self.options.get("mem")
        if text is None:
            return None
        return int(float(text.rstrip("KMGT")) * UNITS[text[-1] if text[-1] in UNITS else "G"])

    @property
    def time_seconds(self):
        """Time limit of each job in seconds; None if not given."""
        text = self.options.get("time")
        if text is None:
            return None
        days, _, clock = text.rpartition("-")
        if not days and ":" not in clock:
            return int(clock) * 60
        hours, minutes, seconds = [*map(int, clock.split(":")), 0, 0][:3]
        return int(days or 0) * 86400 + hours * 3600 + minutes * 60 + seconds


def _options(words):
    """Take the leading ``--name value`` and ``--name=value`` off ``words``; returns (options, rest)."""
    options = {}
    while words and words[0].startswith("--"):
        name, equals, value = words.pop(0)[2:].partition("=")
        name = name.replace("_", "-")
        if name not in OPTIONS:
            near = difflib.get_close_matches(name, OPTIONS, n=1, cutoff=0.5)
            raise ValueError(f"unknown option --{name}" + (f" (did you mean --{near[0]}?)" if near else ""))
        if not equals and name in FLAGS and (not words or words[0] not in ("true", "false")):
            value = "true"
        elif not equals:
            if not words or words[0].startswith("--"):
                raise ValueError(f"--{name} needs a value: {OPTIONS[name][1]}")
            value = words.pop(0)
        if not re.fullmatch(OPTIONS[name][0], value):
            raise ValueError(f"--{name} is {OPTIONS[name][1]}; '{value}' is not")
        options[name] = value
    return options, words


def _parse(words):
    options, words = _options(list(words))
    name, indices = None, range(1, 2)
    array = re.fullmatch(r"([A-Za-z_]\w*)=(\d+)(?::(\d+))?", words[0]) if words else None
    if array:
        name, first, last = array[1], int(array[2]), int(array[3] or array[2])
        if not 1 <= first <= last:
            raise ValueError(f"{words[0]}: jobs are counted from 1 up")
        indices, words = range(first, last + 1), words[1:]
    if len(words) < 2:
        raise ValueError("needs [options] [JOB=1:N] LOG COMMAND [ARGUMENT ...]")
    log, command = words[0], words[1:]
    if re.fullmatch(r"[A-Za-z_]\w*=\d+:\d+", command[0]):
        raise ValueError(f"{command[0]} belongs before the log file {log}")
    for word in command:
        if word in SHELL_WORDS:
            raise ValueError(f"the argument '{word}' would reach the command as it is; for a shell: bash -c '...'")
    job = ArrayJob(log, tuple(command), name, indices, options)
    if len(indices) > 1 and job.task(1)[0] == job.task(2)[0]:
        raise ValueError(f"{len(indices)} jobs would write one log: put {name} into the name {log}")
    return job


def parse(words, program):
    """An ``ArrayJob`` from a command line; if it is wrong, prints one line and exits with status 2."""
    if words and words[0] in ("--help", "-h"):
        print(__doc__.replace("SUBMITTER", program).strip())
        print("\n" + "\n".join(f"  --{name:14s}{meaning}" for name, (_, meaning) in OPTIONS.items()))
        raise SystemExit(0)
    try:
        return _parse(words)
    except ValueError as error:
        print(f"{program}: error: {error}", file=sys.stderr)
        raise SystemExit(USAGE_ERROR) from None


def quoted(command):
    """The argument list as one line that a shell would read back the same."""
    return shlex.join(command).replace("\n", "\\n")


def tail(path, lines=10):
    """The last lines of a log, indented; says so if it cannot be read."""
    try:
        with open(path, "rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - 20000))
            text = file.read().decode("utf-8", "replace")
    except OSError as error:
        return f"    ({error})"
    return "\n".join("    " + line for line in text.rstrip("\n").split("\n")[-lines:])
