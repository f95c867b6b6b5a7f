#!/usr/bin/env python3
"""Run an array job through Grid Engine, and wait for it.

See array_job.py for the command line, site.yaml for the site's settings and README.md for the rest. Logs, messages and
exit status are those of local.py. A job that got lost (node failure, deleted by somebody else) is run again --retries
times; one that ends with status 85, as training does after a checkpoint, goes on in a new job. When this program is
stopped by a signal it deletes its jobs. A job runs on one node.
"""

import os
import pwd
import re
from xml.etree import ElementTree

from cluster_run import Fate, Seen, call, refusal, run
from site_settings import gpus_and_memory, site_settings
from submitter_main import UsageError, main

from wespk.utils.errors import InputError

OVER_A_LIMIT = "37 "
QACCT_SECONDS = 10  # it reads the whole account, which may be large


class GridEngine:
    program, title = "sge.py", "Grid Engine"
    submitter, probe = "qsub", ("qconf", "-sconf")
    untraced = "not accounted for yet, see qacct -j"
    position = '"${SGE_TASK_ID/undefined/1}"'

    def __init__(self, job, settings):
        self.job, self.settings = job, settings

    def resources(self):
        """The words for what one job needs."""
        job, words = self.job, []
        if job.num_threads > 1:
            if not self.settings["parallel_environment"]:
                raise InputError("--num-threads: the site's settings name no 'parallel_environment' for Grid Engine")
            words += ["-pe", self.settings["parallel_environment"], str(job.num_threads)]
        words += gpus_and_memory(self.settings, job)
        if job.time_seconds is not None:
            words += ["-l", f"h_rt={job.time_seconds}"]
        return words

    def asked(self):
        """The words for the site's queue and for what one job needs."""
        named = []
        for option, key in (("-q", "queue"), ("-P", "project")):
            named += [option, self.settings[key]] if self.settings[key] else []
        return [*named, *self.resources(), *self.settings["options"]]

    def words(self, batch, submission):
        # the script is started as a program, not by a login shell, whose profile may do anything or take its time
        words = ["qsub", "-terse", "-N", batch.name, "-b", "y", "-shell", "n", "-j", "y"]
        if "$" in str(batch.folder):  # some names behind it are replaced in these two, and nothing keeps them
            words += ["-wd", "/", "-o", "/dev/null"]
        else:
            words += ["-wd", str(batch.folder)]
            words += ["-o", f"{submission.number}.{'$TASK_ID' if submission.is_array else '1'}.out"]
        words += [*self.asked(), "-r", "n"]  # who waits runs lost jobs again, alone
        if submission.is_array:
            words += ["-t", f"1-{len(submission.indices)}"]
            words += ["-tc", str(submission.at_once)] if submission.at_once else []
        return [*words, "/bin/bash", str(batch.folder / f"{submission.number}.sh")]

    @staticmethod
    def submit(words, folder):
        status, output, errors = call(words, folder)
        id = re.match(r"\d+", output.strip())
        if status or not id:
            raise refusal("Grid Engine", errors or output)
        return id[0]

    @staticmethod
    def present():
        user = pwd.getpwuid(os.getuid()).pw_name
        status, output, _ = call(["qstat", "-u", user, "-g", "d", "-xml"])
        if status:
            return None
        try:
            entries = list(ElementTree.fromstring(output).iter("job_list"))
        except ElementTree.ParseError:  # cut off, or with another job's name that it does not quote
            return None
        found = {}
        for entry in entries:
            state, task = entry.findtext("state", ""), entry.findtext("tasks") or "1"
            reason = f"state {state}, see qstat -j" if "E" in state or "h" in state else ""
            for position in _positions(task):
                found[entry.findtext("JB_job_number"), position] = Seen(reason, "E" in state)
        return found

    @staticmethod
    def cancel(targets):
        whole = [id for id, position in targets if position is None]
        if whole:
            call(["qdel", *whole])
        parts = {}
        for id, position in targets:
            if position is not None:
                parts.setdefault(id, []).append(position)
        for id, positions in parts.items():
            for position in positions:
                call(["qdel", id, "-t", str(position)])

    @staticmethod
    def fates(id):
        """Why jobs never began, or the account of what has ended; jobs deleted before they ran have none there."""
        _, output, _ = call(["qstat", "-j", id])
        found = {int(n): Fate(text) for n, text in re.findall(r"^error reason +(\d+): +(.*)", output, re.MULTILINE)}
        status, output, _ = call(["qacct", "-j", id], seconds=QACCT_SECONDS)
        for entry in re.split(r"^=+$", output, flags=re.MULTILINE) if not status else ():
            known = dict(re.findall(r"^(\w+) +(.*?) *$", entry, re.MULTILINE))
            task = known.get("taskid", "")
            failed = " ".join(known.get("failed", "").split())
            text = f"failed {failed}, exit status {known.get('exit_status', '').partition(' ')[0]}, on {known.get('hostname')}"
            if known:
                found[int(task) if task.isdigit() else 1] = Fate(text, failed.startswith(OVER_A_LIMIT))
        return found

    @staticmethod
    def largest_array():
        _, output, _ = call(["qconf", "-sconf"])
        found = re.search(r"^max_aj_tasks\s+(\d+)", output, re.MULTILINE)
        return int(found[1]) or 10**6 if found else 1000


def _positions(task):
    """The places in a list of Grid Engine's: "3", "1-9:2" or "1,4-6:1"."""
    found = []
    for part in task.split(","):
        first, last, step = re.fullmatch(r"(\d+)(?:-(\d+)(?::(\d+))?)?", part).groups()
        found += range(int(first), int(last or first) + 1, int(step or 1))
    return found


def submit(job):
    settings = site_settings("sge")
    if job.nodes > 1:
        raise UsageError(f"--nodes {job.nodes}, but a job has one node here: take more GPUs on one, or Slurm")
    return run(GridEngine(job, settings), job, settings)


if __name__ == "__main__":
    main("sge.py", submit)
