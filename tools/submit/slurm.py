#!/usr/bin/env python3
"""Run an array job through Slurm, and wait for it.

See array_job.py for the command line, site.yaml for the site's settings and README.md for the rest. Logs, messages and
exit status are those of local.py. A job that got lost (node failure, cancelled by somebody else) is run again --retries
times; one that ends with status 85, as training does after a checkpoint, goes on in a new job. When this program is
stopped by a signal it cancels its jobs.
"""

import math
import os
import re

from cluster_run import Fate, Seen, call, refusal, run
from site_settings import gpus_and_memory, site_settings
from submitter_main import main

USUAL_REASONS = {"None", "Priority", "Resources", "JobArrayTaskLimit", "BeginTime", "Cleaning", "Prolog"}
BACKSLASH = "\\"
FINAL_STATES = {"TIMEOUT": "over the time limit", "OUT_OF_MEMORY": "out of memory", "DEADLINE": "over the deadline"}


class Slurm:
    program, title = "slurm.py", "Slurm"
    submitter, probe = "sbatch", ("sinfo", "--noheader", "--format=%P")
    untraced = "no trace of it"
    position = '"${SLURM_ARRAY_TASK_ID:-1}"'

    def __init__(self, job, settings):
        self.job, self.settings = job, settings

    def resources(self):
        """The words for what one job needs."""
        job = self.job
        words = [f"--nodes={job.nodes}", f"--ntasks={job.nodes}", f"--cpus-per-task={job.num_threads}"]
        if job.nodes > 1:
            words.append("--ntasks-per-node=1")
        words += gpus_and_memory(self.settings, job)
        if job.time_seconds is not None:
            words.append(f"--time={math.ceil(job.time_seconds / 60)}")  # minutes
        return words

    def asked(self):
        """The words for the site's queue and for what one job needs."""
        named = [f"--{key}={self.settings[key]}" for key in ("partition", "account", "qos") if self.settings[key]]
        return [*named, *self.resources(), *self.settings["options"]]

    def words(self, batch, submission):
        words = ["sbatch", "--parsable", f"--job-name={batch.name}", "--export=ALL"]
        output = str(batch.folder / f"{submission.number}.").replace("%", "%%")
        # a backslash in it would have nothing replaced, and be taken out
        output += f"{'%a' if submission.is_array else '1'}.out"
        words.append(f"--output={'/dev/null' if BACKSLASH in output else output}")
        words += [*self.asked(), "--no-requeue"]  # who waits runs lost jobs again, alone
        if submission.is_array:
            limit = f"%{submission.at_once}" if submission.at_once else ""
            words.append(f"--array=1-{len(submission.indices)}{limit}")
        return [*words, str(batch.folder / f"{submission.number}.sh")]

    @staticmethod
    def submit(words, folder):
        status, output, errors = call(words, folder, without=_not_for_jobs())
        if status:
            raise refusal("Slurm", re.sub("sbatch: (error|fatal): ", "", errors))
        return output.strip().partition(";")[0]

    def present(self):
        status, output, _ = call(["squeue", "--noheader", "--array", f"--user={os.getuid()}", "--format=%F %K %t %r"])
        if status:
            return None
        found = {}
        for line in output.splitlines():
            id, position, state, reason = [*line.split(None, 3), ""][:4]
            waits = state == "PD" and reason not in USUAL_REASONS
            found[id, int(position) if position.isdigit() else 1] = Seen(reason if waits else "")
        return found

    def cancel(self, targets):
        if targets:
            call(["scancel", "--quiet", *(id if place is None else f"{id}_{place}" for id, place in targets)])

    def fates(self, id):
        status, output, _ = call(["scontrol", "--oneliner", "show", "job", id])
        found = {}
        for line in output.splitlines() if not status else ():
            known = dict(re.findall(r"(\w+)=(\S*)", line))
            state = known.get("JobState", "")
            node = known.get("BatchHost")
            text = FINAL_STATES.get(state, state) + (f" on {node}" if node else "")
            task = known.get("ArrayTaskId", "1")
            if task.isdigit():
                found[int(task)] = Fate(text, state in FINAL_STATES)
        return found

    @staticmethod
    def largest_array():
        _, output, _ = call(["scontrol", "show", "config"])
        found = re.search(r"^MaxArraySize\s*=\s*(\d+)", output, re.MULTILINE)
        return max(1, int(found[1]) - 1) if found else 1000


def _not_for_jobs():
    """The variables of a job that submits another, which that must not inherit."""
    kept = {"SLURM_CONF", "SLURM_CLUSTERS", "SLURM_TIME_FORMAT"}
    theirs = [name for name in os.environ if name.startswith("SLURM_") and name not in kept]
    return {*theirs, "CUDA_VISIBLE_DEVICES", "SBATCH_ARRAY_INX", "SBATCH_WAIT"}


def submit(job):
    settings = site_settings("slurm")
    return run(Slurm(job, settings), job, settings)


if __name__ == "__main__":
    main("slurm.py", submit)
