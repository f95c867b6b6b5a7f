#!/usr/bin/env python3
"""Run an array job on this machine, as many jobs at once as there are cores, memory and GPUs for.

See array_job.py for the command line. Each job gets OMP_NUM_THREADS = --num-threads (default 1), and sees --gpus GPUs
of its own (default none). A job that outlasts --time is stopped. Its log begins with the command and ends with
"# Ended (code N) at ...". All jobs are run even when one fails; then the failed ones are named with the last lines of
their logs. Exit status: 0; the failed jobs' own status where they agree on it, else 1; 2 for a wrong command line;
128 + n when stopped by signal n, which stops the jobs too.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from array_job import parse, quoted, tail
from visible_gpus import visible_gpus

POLL_SECONDS = 0.03
GRACE_SECONDS = 10  # between SIGTERM and SIGKILL
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
TAILS_SHOWN = 5


def now():
    return time.strftime("%Y-%m-%d %H:%M:%S")


class Task:
    """One running job: its process group, its log, its GPUs."""

    def __init__(self, index, log, command, gpus, threads, limit):
        self.index, self.log, self.gpus = index, Path(log), gpus
        self.started, self.limit, self.late = time.monotonic(), limit, False
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self.log.write_bytes(b"")
        self.note(f"# {quoted(command)}\n# Started at {now()} on {socket.gethostname()}")
        environment = dict(os.environ, OMP_NUM_THREADS=str(threads), CUDA_VISIBLE_DEVICES=",".join(gpus))
        self.process, self.status = None, None
        try:
            with open(self.log, "ab") as out:
                self.process = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=environment, start_new_session=True
                )
        except OSError as error:
            self.note(f"{command[0]}: {error.strerror}")
            self.status = 127 if isinstance(error, FileNotFoundError) else 126

    def note(self, text):
        with open(self.log, "ab") as file:
            file.write(text.encode("utf-8", "surrogateescape") + b"\n")

    def signal(self, number):
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, number)

    def ended(self):
        """True once the job is over; ``status`` then holds its exit status, 128 + n if signal n killed it."""
        if self.process is not None:
            code = self.process.poll()
            if code is None:
                self._enforce_limit()
                return False
            self.status = 128 - code if code < 0 else code
        if self.late:
            self.note(f"# Stopped: over its time limit of {self.limit} s")
            self.status = self.status or 1
        seconds = time.monotonic() - self.started
        self.note(f"# Ended (code {self.status}) at {now()}, elapsed time {seconds:.0f} seconds")
        return True

    def _enforce_limit(self):
        if self.limit is None:
            return
        over = time.monotonic() - self.started - self.limit
        if over > 0 and not self.late:
            self.late = True
            self.signal(signal.SIGTERM)
        elif over > GRACE_SECONDS:
            self.signal(signal.SIGKILL)


def slots(job, num_gpus):
    """How many jobs may run at once: cores, memory (never below one for these two), GPUs and --max-jobs-run."""
    number = max(1, len(os.sched_getaffinity(0)) // job.num_threads)
    if job.mem_bytes:
        number = min(number, max(1, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // job.mem_bytes))
    if job.gpus:
        number = num_gpus // job.gpus
        if not number:
            print(f"local.py: error: --gpus {job.gpus}, but this machine shows {num_gpus}", file=sys.stderr)
            raise SystemExit(2)
    return min(number, job.max_jobs_run or number)


class Stopped(Exception):
    """A signal asked us to stop."""


def stop_on_signals():
    def stop(number, _frame):
        for s in STOP_SIGNALS:
            signal.signal(s, signal.SIG_IGN)
        raise Stopped(number)

    for number in STOP_SIGNALS:
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # nohup stays in force
            signal.signal(number, stop)


def stop_all(running):
    """End the process groups of the running tasks: SIGTERM first, SIGKILL for those that stay."""
    for task in running:
        task.signal(signal.SIGTERM)
    deadline = time.monotonic() + GRACE_SECONDS
    while running and time.monotonic() < deadline:
        running = [task for task in running if not task.ended()]
        time.sleep(POLL_SECONDS)
    for task in running:
        task.signal(signal.SIGKILL)


def run(job):
    """Run every task of the job; returns the failed ones in order."""
    gpus = visible_gpus() if job.gpus else []
    limit = slots(job, len(gpus))
    waiting, running, failed = list(job.indices), [], []
    try:
        while waiting or running:
            while waiting and len(running) < limit:
                index = waiting.pop(0)
                own, gpus = gpus[: job.gpus], gpus[job.gpus :]
                running.append(Task(index, *job.task(index), own, job.num_threads, job.time_seconds))
            for task in [t for t in running if t.ended()]:
                running.remove(task)
                gpus = gpus + task.gpus
                if task.status:
                    failed.append(task)
            time.sleep(POLL_SECONDS if running else 0)
    finally:
        stop_all(running)
    return sorted(failed, key=lambda task: task.index)


def report(failed, job):
    """Name the failed tasks and show how their logs end."""
    if job.name is not None:
        names = " ".join(str(task.index) for task in failed)
        print(f"local.py: {len(failed)} of {len(job.indices)} jobs failed: {names}", file=sys.stderr)
    for task in failed[:TAILS_SHOWN]:
        which = "the job" if job.name is None else f"job {task.index}"
        print(f"local.py: {which} exited with status {task.status}; end of its log {task.log}:", file=sys.stderr)
        print(tail(task.log), file=sys.stderr)
    for task in failed[TAILS_SHOWN:]:
        print(f"local.py: job {task.index} exited with status {task.status}; log {task.log}", file=sys.stderr)


def main():
    job = parse(sys.argv[1:], "local.py")
    stop_on_signals()
    try:
        failed = run(job)
    except Stopped as stopped:
        number = stopped.args[0]
        print(f"local.py: stopped by {signal.Signals(number).name}; its jobs were ended too", file=sys.stderr)
        raise SystemExit(128 + number) from None
    except OSError as error:
        print(f"local.py: error: {error}", file=sys.stderr)
        raise SystemExit(1) from None
    if failed:
        report(failed, job)
        agreed = {task.status for task in failed}
        raise SystemExit(agreed.pop() if len(agreed) == 1 else 1)


if __name__ == "__main__":
    main()
