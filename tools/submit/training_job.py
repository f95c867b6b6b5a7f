#!/usr/bin/env python3
"""One training as a job: its processes on all nodes of the job, and what is to be made of their end.

    training_job.py --exp DIR [--nodes N] [--processes P] [--lock-seconds S] -- ARGUMENT ...

runs "python ARGUMENT ..." P times on each of the N nodes that the scheduler gave to this job (Slurm: any number; Grid
Engine, or none: one), by torchrun where that makes more than one process. It is started once, on the first node.

A signal to stop (SIGTERM, SIGINT, SIGUSR1, SIGUSR2) reaches the processes as SIGUSR1, after which they write a checkpoint
and leave. Exit status: 0 done; 85 stopped, to be run again, when it goes on where it was; 1 failed, and the last lines
tell which process failed first and how its output ends, or that it was stopped three times without getting on.
"""

import argparse
import contextlib
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
import zlib
from pathlib import Path

from logged_task import end_with_parent

from wespk.io.atomic import write_text

STOPPED = 85
IDLE_STOPS = 3  # stops without a step in between, after which another would be of no use
RELAY_SECONDS = 5
POLL_SECONDS = 0.1
GLANCE_SECONDS = 1  # --status holds the lock for an instant, of which nothing is told
LOCK_SECONDS = 180  # a network file system keeps the locks of a node that failed for a minute or two
PORTS = range(15000, 30000)  # below those that systems hand out by themselves
NODE_PROGRAM = Path(__file__).with_name("training_node.py")


class JobError(Exception):
    """The job cannot do what it was submitted for."""


def output_of(*words):
    """What a command prints. Raises JobError if it fails."""
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise JobError(f"'{' '.join(words)}' failed: {done.stderr.strip()}")
    return done.stdout


def allocation():
    """(what identifies this job on the cluster, the names of its nodes, the first one first)."""
    if "SLURM_JOB_ID" in os.environ:
        names = output_of("scontrol", "show", "hostnames", os.environ["SLURM_JOB_NODELIST"]).split()
        return f"Slurm job {os.environ['SLURM_JOB_ID']}", names
    if "PE_HOSTFILE" in os.environ:
        lines = Path(os.environ["PE_HOSTFILE"]).read_text(encoding="utf-8").splitlines()
        return f"Grid Engine job {os.environ['JOB_ID']}", [line.split()[0] for line in lines if line.strip()]
    return f"process {os.getpid()}", [socket.gethostname()]


def address_of(names):
    """Where the other nodes find the first one; the scheduler knows, whether or not its name can be looked up."""
    if len(names) == 1:
        return "127.0.0.1"
    known = output_of("scontrol", "--oneliner", "show", "node", names[0]).split()
    found = [word.removeprefix("NodeAddr=") for word in known if word.startswith("NodeAddr=")]
    return found[0] if found else names[0]


def free_port(identity):
    """A port that is free here now, another one for each job as far as possible."""
    start = zlib.crc32(identity.encode())
    for attempt in range(len(PORTS)):
        port = PORTS[(start + 101 * attempt) % len(PORTS)]
        with contextlib.closing(socket.socket()) as probe, contextlib.suppress(OSError):
            probe.bind(("", port))
            return port
    raise JobError(f"no port from {PORTS[0]} to {PORTS[-1]} is free on {socket.gethostname()}")


def locked(file):
    """Whether the open file could be locked for us alone; where the file system cannot lock, it says so and goes on."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        print(f"{file.name} cannot be locked ({error.strerror}): nothing keeps a second job out", flush=True)
    return True


def lock(path, text, seconds, signals):
    """Keep a second job out of the experiment; returns the open file, whose closing gives it up.

    Another's lock is waited for, as it may be one of a node that failed, or a glance of --status. Returns None if a signal
    came meanwhile; raises JobError if another still holds it after ``seconds``.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    file = open(path, "a+", encoding="utf-8")  # noqa: SIM115 held to the end
    began, told = time.monotonic(), False
    while not locked(file):
        waited = time.monotonic() - began
        file.seek(0)
        holder = file.readline().strip()
        if signals.received or waited >= seconds:
            file.close()
            if signals.received:
                return None
            raise JobError(f"another job trains here already ({holder}): cancel it, or wait for it")
        if waited >= GLANCE_SECONDS and not told:
            print(f"another job trains here ({holder}): waiting {seconds:g} s for its end, or for its lock's", flush=True)
            told = True
        time.sleep(POLL_SECONDS)
    file.truncate(0)
    print(text, file=file, flush=True)
    return file


def command(asked, identity, names):
    """The words that start the processes."""
    if asked.nodes * asked.processes == 1:
        return [sys.executable, *asked.words]
    words = [sys.executable, str(NODE_PROGRAM), "--nodes", str(asked.nodes), "--processes", str(asked.processes)]
    words += ["--address", address_of(names), "--port", str(free_port(identity)), "--reports", str(reports(asked.exp))]
    if asked.nodes > 1:
        # one task a node; the step is told anew what the job was given, and gets our environment whatever options say
        srun = ["srun", "--export=ALL", "--mpi=none", "--input=none", "--kill-on-bad-exit=1", "--ntasks-per-node=1"]
        srun += [f"--nodes={asked.nodes}", f"--ntasks={asked.nodes}"]
        srun += [f"--cpus-per-task={os.environ.get('SLURM_CPUS_PER_TASK', '1')}"]
        words = srun + words
    return [*words, "--", *asked.words]


def reports(exp):
    return exp / "log" / "failed_processes"


class Signals:
    """Notes that a signal asked to stop."""

    def __init__(self):
        self.received = None
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2):
            signal.signal(number, self._note)

    def _note(self, number, _):
        self.received = self.received or signal.Signals(number).name


def run(words, signals):
    """Run the processes to their end, handing on a signal to stop, again and again as they may not be ready for it.

    They are out of reach of signals that go to our process group, and end with us, lest they train on when a scheduler
    kills this process alone. Returns the exit status.
    """
    process = subprocess.Popen(
        words, stdin=subprocess.DEVNULL, start_new_session=True, preexec_fn=end_with_parent  # noqa: PLW1509 no threads
    )
    relayed = None
    while process.poll() is None:
        now = time.monotonic()
        if signals.received and (relayed is None or now - relayed > RELAY_SECONDS):
            if relayed is None:
                print(f"{signals.received}: asking the training to write a checkpoint and leave", flush=True)
            relayed = now
            process.send_signal(signal.SIGUSR1)
        time.sleep(POLL_SECONDS)
    return process.returncode


def account_of_stop(exp):
    """Exit status after a stop: 85, or 1 when it has been stopped again and again without getting on."""
    requeue, account = exp / "requeue", exp / "stops.json"
    told = requeue.read_text(encoding="utf-8").strip() if requeue.exists() else "stopped before it could write a checkpoint"
    before = json.loads(account.read_text(encoding="utf-8")) if account.exists() else {"told": None, "idle": 0}
    idle = before["idle"] + 1 if not requeue.exists() or told == before["told"] else 0
    if idle >= IDLE_STOPS:
        account.unlink(missing_ok=True)
        print(f"{told}, {idle} times in a row without a step between: it is given too little time (--time) to go on")
        return 1
    write_text(account, json.dumps({"told": told, "idle": idle}) + "\n")
    print(f"{told}; to be run again, when it goes on from there")
    return STOPPED


def tell_failure(exp):
    """Print what the nodes reported; a process that was killed is the cause of others' failures, so it comes last."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(reports(exp).glob("*.json"))]
    for report in sorted(found, key=lambda report: report["killed"]):
        print(report["text"])


def clear(folder):
    for path in folder.glob("*.json"):
        path.unlink()


def whole(asked, signals):
    """The exit status of the job."""
    identity, names = allocation()
    if len(names) != asked.nodes:
        raise JobError(f"{identity} has {len(names)} nodes ({' '.join(names)}) where --nodes {asked.nodes} are to be used")
    text = f"{identity} on {','.join(names)} since {time.strftime('%F %T')}"
    held = lock(asked.exp / ".stages" / "training.lock", text, asked.lock_seconds, signals)
    if held is None:
        print(f"{signals.received} while waiting for the other job; to be run again", flush=True)
        return STOPPED
    with held:
        clear(reports(asked.exp))
        (asked.exp / "requeue").unlink(missing_ok=True)
        status = run(command(asked, identity, names), signals)
        if status == 0:
            (asked.exp / "stops.json").unlink(missing_ok=True)
        elif signals.received or (asked.exp / "requeue").exists():
            status = account_of_stop(asked.exp)
        else:
            tell_failure(asked.exp)
            status = 1
    return status


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--exp", type=lambda text: Path(text).absolute(), required=True, help="the experiment's folder")
    parser.add_argument("--nodes", type=int, default=1, help="how many nodes the job has")
    parser.add_argument("--processes", type=int, default=1, help="how many processes there are on each")
    meaning = "how long a job that has the experiment already is waited for before this one is refused (%(default)s)"
    parser.add_argument("--lock-seconds", type=float, default=LOCK_SECONDS, help=meaning)
    split = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    asked = parser.parse_args(sys.argv[1:split])
    asked.words = sys.argv[split + 1 :]
    if not asked.words:
        parser.error("there is nothing to run: give -- and what python is given")
    signals = Signals()
    try:
        sys.exit(whole(asked, signals))
    except (JobError, OSError) as error:
        print(f"training_job.py: error: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    main()
