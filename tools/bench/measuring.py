"""What the benchmarks share: time, peak memory and growth of a piece of work, and the rows that tell them.

    apart(piece, *arguments)     in a process of its own: seconds, CPU seconds, peak memory beyond what lay there before
    command(words)               the same of a command line, whose memory is that of its largest process
    turns(sides, rounds)         several sides in this process, taking turns, so that a busy machine is busy for all
    growth(sizes, seconds)       the power of the size by which seconds grow
    Rows(head, ...)              a table on standard output, a line for each size and side

Other work on the machine lengthens wall seconds, CPU seconds hardly: ratios and exponents are those of CPU seconds where
the CPU does the work, and of wall seconds where a GPU does.
"""

import ctypes
import importlib
import json
import math
import multiprocessing
import os
import statistics
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from wespk.utils.errors import InputError


class Measured(NamedTuple):
    """One run: wall seconds, CPU seconds, bytes at the peak, and what the piece returned."""

    wall: float
    cpu: float
    peak: int
    found: Any = None


class Spent(NamedTuple):
    """Several runs of a side: seconds of each; of the run before them what it returned, and bytes at its peak."""

    wall: list
    cpu: list
    found: Any = None
    peak: int | None = None


def sizes(text, least=1):
    """Sizes of an option, such as "1e4,3e4,100000": list of int, rising, each ``least`` or more; else ``InputError``."""
    try:
        found = [int(float(word)) for word in text.split(",")]
    except ValueError:
        raise InputError(f"'{text}': give sizes as numbers, separated by commas") from None
    if found != sorted(set(found)) or found[0] < least:
        raise InputError(f"'{text}': give sizes that rise, {least} at least, separated by commas")
    return found


def peak_memory(device="cpu"):
    """Bytes at the peak since ``reset_peak``, or the start: of this process's resident set, or of what torch gave out on a GPU.

    The former is read from /proc, so on Linux only.
    """
    if device != "cpu":
        return importlib.import_module("torch").cuda.max_memory_allocated(device)
    status = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line.split()[1] for line in status if line.startswith("VmHWM:")))


def reset_peak(device="cpu"):
    """Forget the peak; returns the bytes in use now. Freed memory goes back first, so that it hides no new peak."""
    if device != "cpu":
        cuda = importlib.import_module("torch").cuda
        cuda.reset_peak_memory_stats(device)
        return cuda.memory_allocated(device)
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    return peak_memory()


def _answer(sender, piece, arguments, imports):
    multiprocessing.set_start_method(None, force=True)  # a spawned process spawns its own, too: forgotten, as in a command
    for name in imports:
        importlib.import_module(name)
    before, began, cpu = reset_peak(), time.perf_counter(), time.process_time()
    found = piece(*arguments)
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    sender.send(Measured(seconds, cpu, max(0, peak_memory() - before), found))


def apart(piece, *arguments, imports=()):
    """``piece(*arguments)`` in a fresh process, ``Measured``; both and what it returns can be pickled.

    imports: modules loaded before, so that neither their time nor their memory is the piece's. Threads of CPU work are
    as the environment says (OMP_NUM_THREADS).
    """
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_answer, args=(sender, piece, arguments, imports))
    process.start()
    sender.close()
    try:
        return receiver.recv()
    except EOFError:
        process.join()
        raise InputError(f"{piece.__name__} ended with status {process.exitcode}; see above") from None
    finally:
        process.join()


def command(words, **environment):
    """A command line run to its end, ``Measured`` (``found``: its standard output); ``InputError`` when it fails.

    A small process of our own starts it: the kernel counts what the starter has in memory as the command's peak.
    """
    run = subprocess.run([sys.executable, "-S", __file__, *map(str, words)], stdout=subprocess.PIPE, text=True,
                         env={**os.environ, **environment}, check=False)  # fmt: skip
    if run.returncode:
        raise InputError(f"'{' '.join(map(str, words[:4]))} ...' ended with status {run.returncode}; see above")
    found, _, figures = run.stdout.rstrip("\n").rpartition("\n")
    return Measured(*json.loads(figures), found)


def _start_and_wait(words):
    began = time.perf_counter()
    process = subprocess.Popen(words)
    _, status, used = os.wait4(process.pid, 0)
    print(json.dumps([time.perf_counter() - began, used.ru_utime + used.ru_stime, 1024 * used.ru_maxrss]))
    return os.waitstatus_to_exitcode(status)


def turns(sides, rounds=5, device="cpu"):
    """{name: Spent} of {name: function without arguments}, each called once to warm up, then in turn ``rounds`` times.

    The peak is that of the call that warms up, beyond what lay there before.
    device: cpu, or cuda or cuda:N, which waits for the GPU's work at the end of each call and tells its memory.
    """
    wait = (lambda: None) if device == "cpu" else partial(importlib.import_module("torch").cuda.synchronize, device)
    spent = {}
    for name, work in sides.items():
        before = reset_peak(device)
        found = work()
        wait()
        spent[name] = Spent([], [], found, max(0, peak_memory(device) - before))
    for _ in range(rounds):
        for name, work in sides.items():
            wait()
            began, cpu = time.perf_counter(), time.process_time()
            work()
            wait()
            spent[name].wall.append(time.perf_counter() - began)
            spent[name].cpu.append(time.process_time() - cpu)
    return spent


def growth(sizes, seconds):
    """Exponent b of seconds = a * size**b: least squares of log(seconds) on log(size), both (n,) > 0; NaN for one size."""
    if len(sizes) < 2:
        return math.nan
    slope, _ = statistics.linear_regression([math.log(n) for n in sizes], [math.log(max(s, 1e-9)) for s in seconds])
    return slope


def extrapolate(sizes, values, target):
    """(value at ``target``, whether it is extrapolated), by the power (0.9 to 2.2) through the two largest sizes."""
    if target in sizes:
        return values[sizes.index(target)], False
    (a, b), (x, y) = sizes[-2:], values[-2:]
    power = math.log(max(y, 1e-9) / max(x, 1e-9)) / math.log(b / a)
    return y * (target / b) ** min(2.2, max(0.9, power)), True


class Rows:
    """A table: size, side, seconds, x (the first side's seconds divided by this one's), peak memory, exponent, note.

    The first side added at a size is the one that the others are compared with. The exponent of a side is fitted over
    the sizes it has had so far.
    """

    def __init__(self, size, device="cpu"):
        """size: what the sizes count, the head of their column; device: see the top of this file for its clock."""
        self.clock = "cpu" if device == "cpu" else "wall"
        self.first, self.had = None, {}
        print(f"{size:>12} {'side':>22} {'CPU s':>9} {'median':>9} {'wall s':>9} {'x':>7} {'MB':>8} {'exponent':>8}", flush=True)

    def add(self, size, side, spent, peak=None, note=""):
        """Print the row of ``Spent`` or ``Measured`` (least and median over its runs) and bytes at the peak."""
        cpu, wall = ([x] if isinstance(x, float) else x for x in (spent.cpu, spent.wall))
        peak = spent.peak if peak is None else peak
        seconds = min(cpu if self.clock == "cpu" else wall)
        if self.first is None or self.first[0] != size:
            self.first = size, seconds
        had = self.had.setdefault(side, [])
        had.append((size, seconds))
        exponent = growth(*zip(*had))
        print(f"{size:>12} {side:>22} {min(cpu):>9.4f} {statistics.median(cpu if self.clock == 'cpu' else wall):>9.4f} "
              f"{min(wall):>9.4f} {self.first[1] / max(seconds, 1e-9):>7.2f} {'-' if peak is None else f'{peak / 1e6:.0f}':>8} "
              f"{'-' if math.isnan(exponent) else f'{exponent:.2f}':>8} {note}".rstrip(), flush=True)  # fmt: skip

    def compare(self, size, sides, rounds=5, device="cpu"):
        """The rows of ``turns`` at a size, the first side being the one that the others are compared with; returns it."""
        spent = turns(sides, rounds, device)
        for name, side in spent.items():
            self.add(size, name, side)
        return spent


if __name__ == "__main__":
    raise SystemExit(_start_and_wait(sys.argv[1:]))
