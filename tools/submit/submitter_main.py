"""What all submitters do around their jobs: the command line, signals, the account of what failed, the exit status."""

import signal
import sys
from dataclasses import dataclass

from array_job import USAGE_ERROR, parse, tail

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
TAILS_SHOWN = 5


@dataclass(frozen=True)
class Failure:
    """A job that failed: its number, exit status, log, and what it came to in words ("exited with status 1")."""

    index: int
    status: int
    log: str
    what: str


class Stopped(Exception):
    """A signal asked us to stop."""


class UsageError(Exception):
    """The command line asks for what cannot be had here."""


_asked = []


def stop_on_signals():
    """From now on a signal is only noted, for ``check_stopped``: raised anywhere, it could part a job from its number."""
    for number in STOP_SIGNALS:
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # nohup stays in force
            signal.signal(number, lambda number, _frame: _asked.append(number))


def check_stopped():
    """Raise ``Stopped`` if a signal has asked for it; to be called between jobs."""
    if _asked:
        raise Stopped(_asked[0])


def report(program, failures, job):
    """Name the failed jobs and show how their logs end."""
    if job.name is not None:
        names = " ".join(str(failure.index) for failure in failures)
        print(f"{program}: {len(failures)} of {len(job.indices)} jobs failed: {names}", file=sys.stderr)
    for position, failure in enumerate(failures):
        which = "the job" if job.name is None else f"job {failure.index}"
        if position < TAILS_SHOWN:
            print(f"{program}: {which} {failure.what}; end of its log {failure.log}:", file=sys.stderr)
            print(tail(failure.log), file=sys.stderr)
        else:
            print(f"{program}: {which} {failure.what}; log {failure.log}", file=sys.stderr)


def main(program, run):
    """``run(job)`` does the work and returns the failures in order; this is the rest, ending in ``SystemExit``."""
    job = parse(sys.argv[1:], program)
    stop_on_signals()
    try:
        failures = run(job)
    except Stopped as stopped:
        number = stopped.args[0]
        print(f"{program}: stopped by {signal.Signals(number).name}; its jobs were ended too", file=sys.stderr)
        raise SystemExit(128 + number) from None
    except UsageError as error:
        print(f"{program}: error: {error}", file=sys.stderr)
        raise SystemExit(USAGE_ERROR) from None
    except (OSError, ValueError) as error:
        print(f"{program}: error: {error}", file=sys.stderr)
        raise SystemExit(1) from None
    if failures:
        report(program, failures, job)
        agreed = {failure.status for failure in failures}
        raise SystemExit(agreed.pop() if len(agreed) == 1 else 1)
