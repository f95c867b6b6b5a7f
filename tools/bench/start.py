"""Start of every entry point: `python -m wespk.bin.X --help`, against the same with torch imported before.

    . tools/path.sh; python tools/bench/start.py --modules "" --rounds 3

Each start is a process of its own; its figures are the least over the rounds: seconds by the wall clock and of CPU, and
memory at the peak. The other side is what a start would cost if the entry point imported torch at its top; it is measured
for the first entry point and every --torch-every'th after. "imports": which of the slow packages the start loaded.
"""

import sys
from pathlib import Path

from measuring import command

from wespk.utils.cli import listed, main
from wespk.utils.errors import InputError

BIN = Path(__file__).resolve().parents[2] / "wespk" / "bin"
SLOW = ("torch", "torchaudio", "scipy", "numpy", "sklearn", "matplotlib", "yaml")
GOAL = 0.3  # CPU seconds
_TELL = "import atexit, sys; atexit.register(lambda: print('loaded', *(n for n in {slow} if n in sys.modules)))\n"
_HELP = "import runpy, sys; sys.argv[1:] = ['--help']; runpy.run_module('wespk.bin.{name}', run_name='__main__')"


def start(name, before=""):
    """(``Measured``, slow packages loaded) of one start of an entry point; before: program text that runs first."""
    measured = command([sys.executable, "-c", _TELL.format(slow=SLOW) + before + _HELP.format(name=name)])
    return measured, measured.found.splitlines()[-1].split()[1:]


def _best(rounds, *wanted):
    """(wall seconds, CPU seconds, bytes, slow packages), least over rounds."""
    runs = [start(*wanted) for _ in range(rounds)]
    return *(min(column) for column in zip(*(measured[:3] for measured, _ in runs))), runs[0][1]


def bench(modules: str = "", rounds: int = 3, torch_every: int = 10):
    """Print a line for every entry point, and how many are beyond 0.3 s of CPU time.

    Args:
        modules: entry points, separated by commas; empty: all
        rounds: starts of each, of which the quickest counts
        torch_every: how many entry points go by between two of the other side; 1: none
    """
    known = sorted(path.stem for path in BIN.glob("*.py") if path.stem != "__init__")
    names = listed(modules) or known
    if not set(names) <= set(known):
        raise InputError(f"--modules: there is no {min(set(names) - set(known))}; there are {', '.join(known)}")
    if rounds < 1 or torch_every < 1:
        raise InputError("--rounds and --torch-every are 1 or more")
    print(f"{'entry point':>25} {'CPU s':>6} {'wall s':>7} {'MB':>5} {'torch: CPU s':>13} {'x':>6}  imports", flush=True)
    late = []
    for number, name in enumerate(names):
        wall, cpu, peak, loaded = _best(rounds, name)
        late += [name] if cpu > GOAL else []
        other = _best(1, name, "import torch\n")[1] if number % torch_every == 0 else None
        against = f"{'-':>13} {'-':>6}" if other is None else f"{other:>13.2f} {other / cpu:>6.1f}"
        print(f"{name:>25} {cpu:>6.2f} {wall:>7.2f} {peak / 1e6:>5.0f} {against}  {' '.join(loaded) or '-'}", flush=True)
    print(f"{len(late)} of {len(names)} beyond {GOAL} s of CPU time{': ' if late else ''}{', '.join(late)}")


if __name__ == "__main__":
    main(bench)
