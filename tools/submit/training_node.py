"""The training processes of one node; training_job.py starts it, on several nodes by srun.

torchrun runs in this process, so that it can be asked which process failed first. SIGUSR1 and SIGUSR2 are handed on to
the processes alone: torchrun itself must stay, as it would give them 30 seconds.
"""

import argparse
import contextlib
import json
import os
import signal
import socket
import sys
import tempfile
from pathlib import Path

from wespk.io.atomic import write_text

STOPPED = 85
LINES_SHOWN = 5


def children():
    """The processes that this one started, as a list; torchrun starts the training processes directly.

    Threads may end meanwhile, but not the first one: where it has no such file, the system does not tell, and OSError is raised.
    """
    found = []
    for task in os.listdir("/proc/self/task"):
        try:
            found += Path(f"/proc/self/task/{task}/children").read_text(encoding="ascii").split()
        except (FileNotFoundError, ProcessLookupError):
            if task == str(os.getpid()):
                raise
    return [int(number) for number in found]


def hand_on(_number, _frame):
    for process in children():
        with contextlib.suppress(ProcessLookupError):  # it has ended by itself, and been waited for
            os.kill(process, signal.SIGUSR1)


def last_lines(path):
    """The last lines of a process's output; none if it has not said anything."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").rstrip().splitlines()
    except OSError:
        return []
    return [f"    {line}" for line in lines[-LINES_SHOWN:]]


def report(asked, error, logs):
    """Leave word of the process that failed first, unless all have only stopped, for the job to tell at its end."""
    rank, failure = error.get_first_failure()
    if all(one.exitcode == STOPPED for one in error.failures.values()):
        return
    host, killed = socket.gethostname(), failure.exitcode < 0
    node = os.environ.get("SLURMD_NODENAME", host)
    how = f"was killed by {signal.Signals(-failure.exitcode).name}" if killed else f"exited with status {failure.exitcode}"
    if failure.exitcode == -signal.SIGKILL:
        how += ", from outside or for want of memory"
    lines = [line for path in logs.glob(f"*/attempt_0/{failure.local_rank}/stderr.log") for line in last_lines(path)]
    text = "\n".join([f"training process {rank} (on {node}, process id {failure.pid}) {how}{':' if lines else ''}", *lines])
    write_text(asked.reports / f"{asked.node}.json", json.dumps({"text": text, "killed": killed}))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    for name, kind in (("nodes", int), ("processes", int), ("address", str), ("port", int), ("reports", Path)):
        parser.add_argument(f"--{name}", type=kind, required=True)
    split = sys.argv.index("--")
    asked, words_of_training = parser.parse_args(sys.argv[1:split]), sys.argv[split + 1 :]
    asked.node = int(os.environ.get("SLURM_NODEID", "0")) if asked.nodes > 1 else 0
    for number in (signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, hand_on)
    if "OMP_NUM_THREADS" in os.environ:  # the cores of the job on this node, to be shared
        os.environ["OMP_NUM_THREADS"] = str(max(1, int(os.environ["OMP_NUM_THREADS"]) // asked.processes))

    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import parse_args, run

    with tempfile.TemporaryDirectory(prefix="training.") as logs:
        words = [f"--nnodes={asked.nodes}", f"--node-rank={asked.node}", f"--nproc-per-node={asked.processes}"]
        words += [f"--master-addr={asked.address}", f"--master-port={asked.port}", "--max-restarts=0"]
        words += [f"--log-dir={logs}", "--tee=3", *words_of_training]
        try:
            run(parse_args(words))
        except ChildFailedError as error:
            report(asked, error, Path(logs))
            sys.exit(1)
        except SignalException:  # another node has the reason
            sys.exit(1)


if __name__ == "__main__":
    main()
