#!/usr/bin/env python3
"""Run an array job on this machine, as many jobs at once as there are cores, memory and GPUs for.

See array_job.py for the command line. Each job gets OMP_NUM_THREADS = --num-threads (default 1), and sees --gpus GPUs
of its own (default none). A job that outlasts --time is stopped. Its log begins with the command and ends with
"# Ended (code N) at ...". All jobs are run even when one fails; then the failed ones are named with the last lines of
their logs. Exit status: 0; the failed jobs' own status where they agree on it, else 1; 2 for a wrong command line;
128 + n when stopped by signal n, which stops the jobs too. No job gets lost here, so that --retries has nothing to do.
"""

import os
import signal
import time

from array_job import quoted
from logged_task import Task
from submitter_main import Failure, UsageError, check_stopped, main
from visible_gpus import visible_gpus

POLL_SECONDS = 0.03
GRACE_SECONDS = 10  # between SIGTERM and SIGKILL


def slots(job, num_gpus):
    """How many jobs may run at once: cores, memory (never below one for these two), GPUs and --max-jobs-run."""
    number = max(1, len(os.sched_getaffinity(0)) // job.num_threads)
    if job.mem_bytes:
        number = min(number, max(1, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // job.mem_bytes))
    if job.gpus:
        number = num_gpus // job.gpus
        if not number:
            raise UsageError(f"--gpus {job.gpus}, but this machine shows {num_gpus}")
    return min(number, job.max_jobs_run or number)


def start(job, index, gpus):
    environment = dict(os.environ, OMP_NUM_THREADS=str(job.num_threads), CUDA_VISIBLE_DEVICES=",".join(gpus))
    grace = int(job.options.get("grace", GRACE_SECONDS))
    task = Task(index, *job.task(index), environment, job.time_seconds, grace)
    task.gpus = gpus
    return task


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


def show(job):
    """What --dry-run prints: each job's command and log."""
    for index in job.indices:
        log, command = job.task(index)
        print(f"{quoted(command)} >{quoted([log])} 2>&1")


def run(job):
    """Run every task of the job; returns the failed ones in order."""
    if job.nodes > 1:
        raise UsageError(f"--nodes {job.nodes}, but this is one machine")
    gpus = visible_gpus() if job.gpus else []
    limit = slots(job, len(gpus))
    if job.check:
        return []
    if job.dry_run:
        show(job)
        return []
    waiting, running, failed = list(job.indices), [], []
    try:
        while waiting or running:
            check_stopped()
            while waiting and len(running) < limit:
                own, gpus = gpus[: job.gpus], gpus[job.gpus :]
                running.append(start(job, waiting.pop(0), own))
            for task in [t for t in running if t.ended()]:
                running.remove(task)
                gpus = gpus + task.gpus
                if task.status:
                    failed.append(task)
            time.sleep(POLL_SECONDS if running else 0)
    finally:
        stop_all(running)
    failed.sort(key=lambda task: task.index)
    return [Failure(task.index, task.status, str(task.log), f"exited with status {task.status}") for task in failed]


if __name__ == "__main__":
    main("local.py", run)
