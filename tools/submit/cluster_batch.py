"""What one call of slurm.py or sge.py leaves for its jobs to read, and they for it: a folder beside the logs.

    .submit-NAME-PID/job.json        command, environment, limits: the same for all jobs of the call
                     N.json, N.sh    submission N: the numbers of its jobs, and the script that the scheduler is given
                     N.POSITION.out  what the scheduler or the script had to say before the job's log was begun
                     N.POSITION.end  the result, which a job writes last; it alone says how the job ended

The folder has to be on a file system that the nodes share, which is where the logs and results of jobs have to be anyway.
"""

import json
import os
import re
import shlex
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from wespk.io.atomic import write_text

RUNNER = Path(__file__).resolve().parent / "cluster_task.py"


@dataclass
class Submission:
    """One array of the scheduler. ``indices[p - 1]`` is the number of the job at position p, which counts from 1."""

    number: int
    indices: list
    attempt: int = 1
    at_once: int | None = None
    id: str | None = None

    @property
    def is_array(self):
        return len(self.indices) > 1


def working_folder():
    """The current folder by the name that the shell knows it by, as nodes may mount it under that one only."""
    named = os.environ.get("PWD", "")
    try:
        return named if os.path.isabs(named) and os.path.samefile(named, ".") else os.getcwd()
    except OSError:
        return os.getcwd()


def job_name(log, name):
    """A readable word for the queue: fbank.train for data/train/log/fbank.JOB.log."""
    path = Path(log)
    parts = [part for part in path.name.removesuffix(".log").split(".") if part and part != name]
    if path.parent.name == "log" and path.parent.parent.name:
        parts.append(path.parent.parent.name)
    word = re.sub(r"[^A-Za-z0-9._-]+", "_", ".".join(parts))
    return word if re.match("[A-Za-z]", word) else f"job.{word}".rstrip(".")


class Batch:
    """The folder. ``job`` is an ``ArrayJob``; nothing is written before ``create``."""

    def __init__(self, job):
        self.job = job
        self.cwd = working_folder()
        self.log = os.path.join(self.cwd, job.log)
        self.name = job_name(self.log, job.name)
        first = os.path.join(self.cwd, job.task(job.indices[0])[0])
        self.folder = Path(os.path.dirname(first)) / f".submit-{self.name}-{os.getpid()}"

    def left_behind(self):
        """The folders of earlier calls of this name that were killed, or have not ended; to be asked before ``create``."""
        ours = re.compile(rf"\.submit-{re.escape(self.name)}-\d+(-\d+)?")
        return sorted(path for path in self.folder.parent.glob(".submit-*") if ours.fullmatch(path.name))

    def create(self):
        """Write what is the same for all jobs; the environment may hold secrets, so the folder is the user's alone."""
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        wanted, number = self.folder, 1
        while True:  # one with the same number, killed or on another machine, may have left its folder
            try:
                self.folder.mkdir(mode=0o700)
                break
            except FileExistsError:
                number += 1
                self.folder = wanted.with_name(f"{wanted.name}-{number}")
        told = {
            "name": self.job.name, "log": self.job.log, "command": self.job.command, "cwd": self.cwd,
            "environment": dict(os.environ), "gpus": self.job.gpus, "num_threads": self.job.num_threads,
            "limit": self.job.time_seconds, "grace": self.job.options.get("grace"),
        }  # fmt: skip
        write_text(self.folder / "job.json", json.dumps(told))

    def script(self, submission, position):
        """The text of the script for a submission; ``position`` is the shell's word for the job's place in the array."""
        return (
            f"#!/bin/bash\n# {self.name}: {len(submission.indices)} of {len(self.job.indices)} jobs, "
            f"logs {self.log!a}\n"
            f"PYTHONPATH={shlex.quote(os.environ.get('PYTHONPATH', ''))} exec {shlex.quote(sys.executable)} "
            f"{shlex.quote(str(RUNNER))} {shlex.quote(str(self.folder))} {submission.number} {position}\n"
        )

    def add(self, submission, position):
        """Write a submission's files; returns the script's path."""
        script = self.folder / f"{submission.number}.sh"
        told = {"indices": submission.indices, "attempt": submission.attempt}
        write_text(self.folder / f"{submission.number}.json", json.dumps(told))
        write_text(script, self.script(submission, position))
        return script

    def results(self, known):
        """(submission number, position) -> result, of those not among ``known``.

        A file is made and removed first, which has a network file system look again instead of answering from memory.
        """
        fresh = self.folder / "look"
        fresh.touch()
        fresh.unlink(missing_ok=True)
        found = {}
        for name in os.listdir(self.folder):
            place = re.fullmatch(r"(\d+)\.(\d+)\.end", name)
            key = place and (int(place[1]), int(place[2]))
            if key and key not in known:
                try:
                    found[key] = json.loads((self.folder / name).read_text(encoding="utf-8"))
                except (OSError, ValueError):
                    pass  # seen before its contents are: the next look will do
        return found

    def said(self, submission, position):
        """What stands in the scheduler's own output of a job; empty if there is none."""
        try:
            return (self.folder / f"{submission.number}.{position}.out").read_text(errors="replace").strip()
        except OSError:
            return ""

    def remove(self):
        shutil.rmtree(self.folder, ignore_errors=True)
