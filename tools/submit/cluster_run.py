"""Run an array job through a scheduler: submit, wait, run lost jobs again, name the failed ones, leave nothing behind.

A scheduler is an object with ``program`` and ``title``, and

    asked()                    the words of that command line for the site's queue and for what a job needs
    words(batch, submission)   the command line that submits; ``position`` is the shell's word for a job's place
    submit(words, folder)      the id it got; raises ClusterError if it is refused, Unreachable if nobody has heard of it
    submitter, probe           the command that submits, and a cheap command line that fails if nothing answers
    present()                  (id, position) -> Seen, of all jobs of this user; None if the scheduler does not answer
    cancel(targets)            [(id, position or None for all)]; no complaint if they have gone
    fates(id)                  position -> Fate, what became of the jobs of one submission, as far as it is known
    untraced         what is said of a job that it knows nothing of
    largest_array()            how many jobs one submission may hold
"""

import os
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, replace

from array_job import quoted
from cluster_batch import Batch, Submission
from submitter_main import Failure, UsageError, check_stopped

from wespk.utils.errors import InputError

INTERRUPTED = 85  # how a command says that it has written a checkpoint and would go on from there
ASSUMED_ARRAY = 1000  # for --dry-run where there is no scheduler
FIRST_SLEEP = 0.1
NOTE_AFTER_SECONDS = 30
CANCEL_SECONDS = 20
PROBE_SECONDS = 60
ELSEWHERE = "submit from a machine of the cluster, or run on this one (--cmd local)"
NOT_HEARD = re.compile(  # nobody has got the request
    "connect failure|Connection refused|resolve_ctls|establish a configuration source|"
    "SGE_ROOT|qmaster name|can't resolve hostname"
)
NO_ANSWER = re.compile("Unable to contact|did not answer|timed out|commlib error|unable to send message", re.IGNORECASE)


class ClusterError(InputError):
    """The scheduler is not there, or refuses."""


class Unreachable(ClusterError):
    """The scheduler cannot be connected to: what was asked of it has not been done, and may be asked again."""


def refusal(title, text):
    """The error that says why a job was not taken."""
    if NOT_HEARD.search(text):
        return _unreachable(title, text)
    text = " ".join(text.split())
    if NO_ANSWER.search(text):
        return ClusterError(f"{title} gave no answer to the submission ({text})")
    return ClusterError(f"{title} refused the job: {text}")


def check(scheduler):
    """Raise ClusterError unless jobs can be submitted from here to a scheduler that answers."""
    if not shutil.which(scheduler.submitter):
        raise _no_command(scheduler.submitter)
    status, _, errors = call(scheduler.probe, seconds=PROBE_SECONDS)
    if status:
        raise _unreachable(scheduler.title, errors or f"{scheduler.probe[0]} exited with status {status}")


def _unreachable(title, text):
    last = re.sub(r"^(\w+: )?(error|fatal): ", "", text.strip().splitlines()[-1])
    return Unreachable(f"no controller of {title} was reached ({last}): {ELSEWHERE}")


def _no_command(name):
    return ClusterError(f"there is no command '{name}' here: {ELSEWHERE}")


@dataclass(frozen=True)
class Seen:
    """A job in the queue: why it waits (or nothing), and whether it will never run without help."""

    reason: str = ""
    hopeless: bool = False


@dataclass(frozen=True)
class Fate:
    """What the scheduler knows of a job that has ended; ``final``: to run it again would end the same."""

    text: str
    final: bool = False


def call(words, folder=None, seconds=120, without=()):
    """Run a scheduler's command, out of reach of the terminal's Ctrl-C; (status, output, errors).

    ``without``: names that are taken out of its environment.
    """
    environment = {name: value for name, value in os.environ.items() if name not in without}
    try:
        done = subprocess.run(
            words, cwd=folder, capture_output=True, text=True, errors="replace", timeout=seconds, check=False,
            stdin=subprocess.DEVNULL, start_new_session=True, env=environment,
        )  # fmt: skip
    except FileNotFoundError:
        raise _no_command(words[0]) from None
    except subprocess.TimeoutExpired:
        return 1, "", f"{words[0]} did not answer in {seconds} s"
    return done.returncode, done.stdout, done.stderr.strip()


class Run:
    """One call: what waits to be submitted, what is out, and what came of it."""

    def __init__(self, scheduler, job, settings):
        self.scheduler, self.job, self.settings = scheduler, job, settings
        self.batch = Batch(job)
        self.retries = int(job.options.get("retries", settings["retries"]))
        self.submissions, self.waiting = {}, []
        self.open, self.results, self.missing = set(), {}, {}
        self.lost, self.interrupted, self.failures = Counter(), Counter(), {}
        self.asked_queue, self.noted, self.began = time.monotonic(), set(), time.monotonic()

    # --- submitting ---------------------------------------------------------------------------------------------------
    def plan(self, indices, attempt=1):
        """Queue these jobs for submission, in arrays that are not too large."""
        size = self.settings["max_array_size"] or (self.largest_array() if len(indices) > 1 else 1)
        for start in range(0, len(indices), size):
            part = list(indices[start : start + size])
            number = len(self.submissions) + len(self.waiting) + 1
            self.waiting.append(Submission(number, part, attempt, self.job.max_jobs_run))

    def largest_array(self):
        try:
            return self.scheduler.largest_array()
        except ClusterError as error:
            if not self.job.dry_run:
                raise
            print(f"{self.scheduler.program}: {error}; arrays of at most {ASSUMED_ARRAY} are assumed", file=sys.stderr)
            return ASSUMED_ARRAY

    def submit_what_may_be(self):
        """Submit what waits; with --max-jobs-run one array at a time, as the limit holds for each array by itself.

        A scheduler that is away for a while does not end what is under way: only the first submission must reach it.
        """
        while self.waiting and not (self.job.max_jobs_run and self.open):
            check_stopped()
            submission = self.waiting.pop(0)
            self.batch.add(submission, self.scheduler.position)
            words = self.scheduler.words(self.batch, submission)
            try:
                submission.id = self.scheduler.submit(words, self.batch.folder)
            except Unreachable:
                if not self.submissions:
                    raise
                self.waiting.insert(0, submission)
                self.note("unreachable", f"{self.scheduler.title} cannot be reached; waiting on")
                return
            self.submissions[submission.number] = submission
            self.open |= {(submission.number, p) for p in range(1, len(submission.indices) + 1)}
            again = " again" if submission.attempt > 1 else ""
            jobs = f"{len(submission.indices)} jobs" if submission.is_array else "1 job"
            print(f"{self.scheduler.program}: {self.batch.name}: {jobs} submitted{again}, id {submission.id}", flush=True)

    # --- what became of them ------------------------------------------------------------------------------------------
    def index(self, key):
        return self.submissions[key[0]].indices[key[1] - 1]

    def fail(self, key, status, what):
        index = self.index(key)
        self.failures[index] = Failure(index, status or 1, os.path.join(self.batch.cwd, self.job.task(index)[0]), what)

    def take_results(self):
        """Book the results that have come; returns the keys of jobs that were killed, or would go on."""
        killed, further = [], []
        for key, result in self.batch.results(self.results).items():
            self.results[key] = result
            if key not in self.open:
                continue
            self.open.remove(key)
            status = result["status"]
            if status == INTERRUPTED and self.interrupted[self.index(key)] < self.settings["requeues"]:
                self.interrupted[self.index(key)] += 1
                further.append(key)
            elif status and result["killed"]:
                killed.append(key)
            elif result["late"]:
                limit = self.job.options["time"]
                self.fail(key, status, f"was stopped at its time limit (--time {limit}) on {result['host']}")
            elif "error" in result:
                self.fail(key, status, f"could not be started on {result['host']} ({result['error']})")
            elif status:
                self.fail(key, status, f"exited with status {status} on {result['host']}")
        return killed, further

    def take_lost(self):
        """The keys of jobs that have left the queue for some time and have no result."""
        asked, pace = time.monotonic(), self.settings["queue_seconds"]
        if not self.open or asked - self.asked_queue < (min(1, pace) if self.missing else pace):
            return []
        present = self.scheduler.present()
        self.asked_queue = time.monotonic()
        if present is None:
            self.note("does not answer", f"{self.scheduler.title} does not answer; waiting on")
            return []
        gone = []  # results were looked for before the question, so that it counts what had gone by the last answer
        for key in self.open:
            seen = present.get((self.submissions[key[0]].id, key[1]))
            if seen and not seen.hopeless:
                self.missing.pop(key, None)
                self.tell_reason(seen.reason)
            elif seen or asked - self.missing.setdefault(key, self.asked_queue) >= self.settings["settle_seconds"]:
                gone.append(key)
        for key in gone:
            self.missing.pop(key, None)
        self.open -= set(gone)
        return gone

    def tell_reason(self, reason):
        if reason and time.monotonic() - self.began > NOTE_AFTER_SECONDS:
            self.note(reason, f"jobs of {self.batch.name} wait ({reason}); Ctrl-C cancels them")

    def note(self, topic, text):
        if topic not in self.noted:
            self.noted.add(topic)
            print(f"{self.scheduler.program}: {text}", file=sys.stderr, flush=True)

    def judge(self, lost):
        """Those of the lost jobs that are to be run again; the others have failed."""
        again = []
        fates = {n: self.scheduler.fates(self.submissions[n].id) for n in {number for number, _ in lost}}
        silent = [(self.submissions[n], p) for n, p in lost if (n, p) not in self.results]
        self.scheduler.cancel([(s.id, p if s.is_array else None) for s, p in silent])
        for key in sorted(lost):
            index, fate = self.index(key), fates[key[0]].get(key[1], Fate(self.scheduler.untraced))
            self.lost[index] += 1
            said = self.batch.said(self.submissions[key[0]], key[1])
            text = f"{self.scheduler.title}: {fate.text}" + (f"; {said.splitlines()[-1]}" if said else "")
            if fate.final or self.lost[index] > self.retries:
                times = f", {self.lost[index]} times" if self.lost[index] > 1 else ""
                self.fail(key, self.results.get(key, {}).get("status"), f"was lost{times} ({text})")
            else:
                which = "the job" if self.job.name is None else f"job {index}"
                print(f"{self.scheduler.program}: {which} was lost ({text}); again", file=sys.stderr, flush=True)
                again.append(index)
        return again

    # --- the whole ----------------------------------------------------------------------------------------------------
    def wait(self):
        pause = FIRST_SLEEP
        while self.open or self.waiting:
            check_stopped()
            self.submit_what_may_be()
            killed, further = self.take_results()
            lost = killed + self.take_lost()
            again = self.judge(lost) if lost else []
            again += [self.index(key) for key in further]
            if again:
                self.plan(sorted(again), attempt=2)
                continue
            if self.open or self.waiting:
                time.sleep(pause)
                pause = min(pause * 1.3, self.settings["poll_seconds"])

    def cancel(self):
        """Cancel what is still out and wait for it to go, so that nothing writes any more when this returns."""
        out = {(self.submissions[number].id, position) for number, position in self.open}
        ids = sorted({id for id, _ in out if id})
        if not ids:
            return
        self.scheduler.cancel([(id, None) for id in ids])
        deadline = time.monotonic() + CANCEL_SECONDS
        while time.monotonic() < deadline:
            present = self.scheduler.present()
            if present is not None and not out & set(present):
                return
            time.sleep(0.3)
        print(f"{self.scheduler.program}: jobs {' '.join(ids)} were cancelled but are not gone yet", file=sys.stderr)

    def whole(self):
        """All of it; returns the failures in order."""
        self.plan(self.job.indices)
        for folder in self.batch.left_behind():
            told = f"{folder} is of a call that was killed, or still runs: cancel its jobs, named {self.batch.name}, if there"
            self.note(folder, f"{told} are any, as they write the same files; then remove it")
        self.batch.create()
        try:
            for index in self.job.indices:  # what an earlier call left would be taken for this one's
                log = os.path.join(self.batch.cwd, self.job.task(index)[0])
                if os.path.lexists(log):
                    os.unlink(log)
            self.wait()
        finally:
            try:
                self.cancel()
            finally:
                self.batch.remove()
        return [self.failures[index] for index in sorted(self.failures)]

    def show(self):
        """What --dry-run prints: each submission's command line and script, what each asks for, and the first job's own."""
        self.plan(self.job.indices)
        for submission in self.waiting:
            shown = replace(submission, id="ID")
            print(f"cd {quoted([str(self.batch.folder)])} && {quoted(self.scheduler.words(self.batch, shown))}")
            print("    " + self.batch.script(shown, self.scheduler.position).rstrip("\n").replace("\n", "\n    "))
        print(f"each asks for: {quoted(self.scheduler.asked())}")
        index = self.job.indices[0]
        log, command = self.job.task(index)
        print(f"job {index}: {quoted(command)} >{quoted([log])} 2>&1")


def run(scheduler, job, settings):
    """The failures of an array job run through ``scheduler``; for --dry-run and --check nothing is submitted."""
    if job.gpus and not settings["gpu"]:
        raise UsageError(f"--gpus {job.gpus}, but the site's settings say nothing of 'gpu' for {scheduler.title}")
    whole = Run(scheduler, job, settings)
    if job.check:
        scheduler.asked()
        check(scheduler)
        return []
    if job.dry_run:
        whole.show()
        return []
    return whole.whole()
