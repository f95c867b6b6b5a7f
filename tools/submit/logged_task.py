"""One running command with its log: how every job is run, on this machine or by a scheduler on a node."""

import ctypes
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

from array_job import quoted

_LIBC = ctypes.CDLL(None)


def end_with_parent():
    """Called in the child: SIGTERM when its parent is gone, as schedulers may kill that alone (it has another session)."""
    _LIBC.prctl(1, signal.SIGTERM)


def now():
    return time.strftime("%Y-%m-%d %H:%M:%S")


class Task:
    """A command in a process group of its own, writing to ``log``.

    The log begins with the command and ends with "# Ended (code N) at ...". ``limit`` (seconds, or None): then the group
    gets SIGTERM, and SIGKILL ``grace`` seconds later; ``named`` is the limit that the log then names. ``again`` adds to a log
    that is there instead of beginning anew. Raises OSError if the log cannot be written.
    """

    def __init__(self, index, log, command, environment, limit=None, grace=10, named=None, again=""):
        self.index, self.log = index, Path(log)
        self.started, self.limit, self.grace, self.late = time.monotonic(), limit, grace, False
        self.named = limit if named is None else named
        self.log.parent.mkdir(parents=True, exist_ok=True)
        if not again:
            self.log.write_bytes(b"")
        self.note(f"# {quoted(command)}\n# Started{again} at {now()} on {socket.gethostname()}")
        self.process, self.status = None, None
        try:
            with open(self.log, "ab") as out:
                self.process = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=environment, start_new_session=True,
                    preexec_fn=end_with_parent,  # noqa: PLW1509 no threads
                )  # fmt: skip
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
            self.note(f"# Stopped: over its time limit of {self.named} s")
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
        elif over > self.grace:
            self.signal(signal.SIGKILL)
