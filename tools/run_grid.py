#!/usr/bin/env python3
"""Train a table of systems x seeds through a recipe's run.sh, several at a time, and write the comparison.

    run_grid.py GRID.yaml --recipe DIR [--jobs N] [--only PATTERN] [--gpus-per-job N] [--evaluate NAME=DIR ...]
                [--dry-run] [-- RUN.SH OPTIONS]

What a grid's YAML holds stands in wespk/utils/grid.py. Behind ``--`` come options of run.sh for every run: the corpora,
--nj, --data, and --exp for the folder that will hold GRID/SYSTEM[/LEVEL]/seedN (default: the recipe's exp).

Stages 1 and 2 are run first, once, with the grid's own config and set. A run that fails leaves the others going; at the
end the failed ones are named, the comparison of the systems that are whole is written all the same, and the exit status
is 1. Stopped by a signal, the runs are told to stop (training writes a checkpoint first, and that is waited for), and
the same command goes on from there.

A run that is done is not started again. run.sh would find that out too, but takes seconds for it, so each run leaves
.stages/grid.json: the words that it was called with and its configuration, merged, as they were when it started. It is
done as long as these are still the same and all that its stages have noted of their inputs and outputs (see
stage_mark.py) is true. Anything else is left to run.sh to judge. What fine-tuning (stage 8) makes of a run, seedN-lm, has
such a note of its own and is judged by itself: without it the run is still compared as it was trained. So are the
evaluations on further data folders (--evaluate), which lie in seedN/on/NAME: they can be asked for after the training,
and a later call without them goes on comparing by them (see grid_evaluations.py). What concerns one run stands in
grid_runs.py.
"""

import argparse
import fnmatch
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from grid_evaluations import check_features, further_data, note, noted, with_noted
from grid_runs import Task, clock, command, command_of, evaluations, merged, not_done, start
from submit.array_job import quoted, tail
from submit.visible_gpus import visible_gpus

from wespk.utils.errors import InputError
from wespk.utils.grid import OWN_OPTIONS, Grid, check_fine_tuning, read_grid
from wespk.utils.registry import nearest

ROOT = Path(__file__).resolve().parent.parent
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
POLL_SECONDS = 0.05
HELP_OPTION = re.compile(r"^ *--([a-z0-9][a-z0-9-]*)", re.MULTILINE)


# --- the command line -------------------------------------------------------------------------------------------------
@dataclass
class Plan:
    """All that the command line and the grid decide. ``options``: name -> value, those behind ``--``."""

    grid: Grid
    path: Path
    recipe: Path
    root: Path
    data: Path
    options: dict
    jobs: int
    gpus: list  # one list of GPU names for each job slot
    chosen: list = field(default_factory=list)  # the runs to do
    evaluate: dict = field(default_factory=dict)  # name -> further data folder to evaluate on
    confs: dict = field(default_factory=dict)  # (system, level) -> merged configurations, see ``merged``


def parse(words):
    """A ``Plan`` and whether it is a dry run. Exits with status 2 on a wrong command line, 1 on a wrong grid."""
    parser = argparse.ArgumentParser(
        prog="run_grid.py", allow_abbrev=False, usage=__doc__.split("\n\n")[1].strip(),
        description="Train a table of systems x seeds and compare the systems.")  # fmt: skip
    parser.add_argument("grid", metavar="GRID.yaml", help="the systems, seeds and levels; see wespk/utils/grid.py")
    parser.add_argument("--recipe", required=True, metavar="DIR", help="recipe, whose run.sh is called")
    parser.add_argument("--jobs", type=_count, default=1, metavar="N", help="runs at a time (default: 1)")
    parser.add_argument("--only", metavar="PATTERN", help="only runs whose SYSTEM[/LEVEL]/seedN fits, as '*/seed1'; "
                        "the comparison is of all that is there")  # fmt: skip
    parser.add_argument("--gpus-per-job", type=int, metavar="N", help="GPUs that each run sees; runs share them in "
                        "turn if there are fewer than jobs x N (default: 1 if this machine shows any, else 0)")  # fmt: skip
    parser.add_argument("--evaluate", action="append", default=[], metavar="NAME=DIR", help="evaluate every run on the "
                        "evaluation set of this data folder too (run.sh --eval-data); may be repeated")  # fmt: skip
    parser.add_argument("--dry-run", action="store_true", help="print the commands and what is done already")
    own, behind = (words[: words.index("--")], words[words.index("--") + 1 :]) if "--" in words else (words, [])
    given = parser.parse_args(own)
    try:
        return make_plan(given, behind), given.dry_run
    except InputError as error:
        print(f"run_grid.py: error: {error}", file=sys.stderr)
        raise SystemExit(1) from None


def _count(text):
    if not re.fullmatch(r"[1-9]\d*", text):
        raise argparse.ArgumentTypeError(f"takes a number of 1 or more, not '{text}'")
    return int(text)


def make_plan(given, behind):
    """Check everything that can be checked before anything starts; raises ``InputError``."""
    recipe = Path(os.path.abspath(given.recipe))
    if not (recipe / "run.sh").is_file():
        raise InputError(f"--recipe: {recipe} has no run.sh")
    grid = read_grid(given.grid)
    known = HELP_OPTION.findall((ROOT / "tools" / "stages.sh").read_text(encoding="utf-8"))
    options = run_options(behind, known)
    for name in {name for run in grid.runs for name, _ in run.options}:
        if name not in known:
            raise InputError(f"{given.grid}: options: run.sh has no --{name}{nearest(name, known)}")
        if name in options:
            raise InputError(f"--{name} is among the grid's options already; say it in one place")
    check_fine_tuning(options.items(), any(run.stop_stage == 8 for run in grid.runs), "behind --")
    exp, data = (Path(os.path.abspath(options.pop(name, recipe / name))) for name in ("exp", "data"))
    plan = Plan(grid, Path(os.path.abspath(given.grid)), recipe, exp / grid.name, data, options, given.jobs,
                gpu_slots(given.gpus_per_job, given.jobs))  # fmt: skip
    plan.chosen = [run for run in grid.runs if fnmatch.fnmatchcase(run.folder, given.only or "*")]
    if not plan.chosen:
        raise InputError(f"--only '{given.only}' fits no run; there is: {', '.join(run.folder for run in grid.runs)}")
    plan.evaluate = further_data(given.evaluate, grid, plan.data)
    for run in grid.runs:
        if (run.system, run.level) not in plan.confs:
            plan.confs[run.system, run.level] = merged(plan, run)
    check_features(plan)
    noted(plan.root)
    return plan


def run_options(words, known):
    """The options behind ``--``: name -> value. Raises ``InputError`` for what run.sh or the grid would not have."""
    options, words = {}, list(words)
    while words:
        word = words.pop(0)
        name, equals, value = word.partition("=")
        name = name[2:].replace("_", "-")
        if not word.startswith("--") or name not in known:
            raise InputError(f"behind --: run.sh has no option '{word}'{nearest(name, known)}")
        if name in OWN_OPTIONS and name not in ("exp", "data"):
            if name == "force":
                raise InputError("--force: a grid does what is not done; to do a run again remove its folder")
            raise InputError(f"--{name} is for the grid to say: config, set, seeds, stop_stage, and those of its systems")
        if not equals:
            if not words or words[0].startswith("--"):
                raise InputError(f"behind --: option --{name} needs a value")
            value = words.pop(0)
        options[name] = value
    return options


def gpu_slots(per_job, jobs):
    """The GPUs of each of so many jobs at a time, taken in turn."""
    gpus = visible_gpus()
    wanted = min(len(gpus), 1) if per_job is None else per_job
    if not 0 <= wanted <= len(gpus):
        raise InputError(f"--gpus-per-job {wanted}, but this machine shows {len(gpus)}")
    return [[gpus[(slot * wanted + i) % len(gpus)] for i in range(wanted)] for slot in range(jobs)]


# --- all of them ------------------------------------------------------------------------------------------------------
class Stopped:
    """Notes the signal that asks us to stop; false until then."""

    def __init__(self):
        self.number = 0
        for number in STOP_SIGNALS:
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # nohup stays in force
                signal.signal(number, self.note)

    def note(self, number, _frame):
        self.number = self.number or number

    def __bool__(self):
        return self.number != 0


def say(text):
    print(f"{clock()} {text}", flush=True)


def took(seconds):
    hours, rest = divmod(round(seconds), 3600)
    return f"{hours} h {rest // 60:02d} min" if hours else f"{rest // 60} min {rest % 60:02d} s"


def make_data(plan, stopped):
    """Stages 1 and 2, once for all runs; returns their exit status."""
    words, log = command(plan, (1, 2), (plan.grid.config, ""), plan.grid.set, plan.grid.options), plan.root / "data.log"
    say(f"stages 1 and 2, data and features, once for all runs; log: {log}")
    process, told = start(words, log, dict(os.environ)), False
    while process.poll() is None:
        if stopped and not told:
            told = True
            process.terminate()
        time.sleep(POLL_SECONDS)
    if process.returncode and not stopped:
        print(f"run_grid.py: error: stages 1 and 2 failed; end of {log}:\n{tail(log)}", file=sys.stderr)
    return process.returncode


def run_all(plan, waiting, stopped):
    """Do the runs, so many at a time; returns the tasks that failed. A signal stops those at work and starts no other.

    An error of our own, as a full disk, stops those at work too, and is raised once they have ended.
    """
    running = []
    try:
        return work_off(plan, list(waiting), running, stopped)
    except BaseException:
        for task in running:
            task.stop()
        for task in running:
            task.process.wait()
        raise


def work_off(plan, waiting, running, stopped):
    """What ``run_all`` does as long as nothing goes wrong here; ``running`` is a list that holds the tasks at work."""
    failed = []
    free, told = list(range(plan.jobs)), False
    total = len(waiting)
    while running or (waiting and not stopped):
        while waiting and free and not stopped:
            running.append(Task(plan, waiting.pop(0), free.pop(0)))
            done = total - len(waiting) - len(running)
            say(f"{running[-1].run.folder} starts; {done} over, {len(running)} at work, {len(waiting)} wait")
        if stopped and not told:
            told = True
            say(f"stopping {len(running)} runs")
            for task in running:
                task.stop()
        for task in [task for task in running if task.ended()]:
            running.remove(task)
            free.append(task.slot)
            if task.status:
                failed.append(task)
            how = f"{'stopped' if stopped else 'FAILED'} with exit status {task.status}" if task.status else "done"
            say(f"{task.run.folder} {how} after {took(time.monotonic() - task.started)}; "
                f"{len(running) + len(waiting)} remain")  # fmt: skip
        time.sleep(POLL_SECONDS if running else 0)
    return failed


def report(failed):
    """Name the failed runs and show how their logs end."""
    print(f"run_grid.py: {len(failed)} run(s) failed:", file=sys.stderr)
    for task in failed:
        print(f"{task.run.folder}: exit status {task.status}; end of {task.log}:\n{tail(task.log)}", file=sys.stderr)


def compare(plan, folders):
    """Write the comparison of all but ``folders``, which are not whole; returns the exit status."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))}
    words = [sys.executable, "-m", "wespk.bin.compare_systems", "--grid", str(plan.path), "--root", str(plan.root),
             "--data", str(plan.data), f"--without={','.join(folders)}"]  # fmt: skip
    if plan.evaluate:
        words.append(f"--evaluate={','.join(f'{name}={data}' for name, data in plan.evaluate.items())}")
    status = subprocess.run(words, env=environment, check=False).returncode
    if status == 0:
        say(f"comparison: {plan.root / 'COMPARISON.md'}")
    return status


def dry_run(plan):
    """Print what would be done."""
    print(quoted(command(plan, (1, 2), (plan.grid.config, ""), plan.grid.set, plan.grid.options)))
    for run in plan.chosen:
        print(f"# {run.folder}: {'to do' if not_done(plan, run) else 'done'}\n{quoted(command_of(plan, run))}")
        for words in evaluations(plan, run).values():
            print(quoted(words))


def main():
    plan, dry = parse(sys.argv[1:])
    if dry:
        dry_run(plan)
        return
    stopped = Stopped()
    status = make_data(plan, stopped)
    failed, done = [], []
    if not status and not stopped:
        note(plan)
        done = [run for run in plan.chosen if not not_done(plan, run)]
        if done:
            say(f"{len(done)} of {len(plan.chosen)} runs are done already")
        try:
            failed = run_all(plan, [run for run in plan.chosen if run not in done], stopped)
        except (OSError, InputError) as error:
            print(f"run_grid.py: error: {error}; the runs at work were stopped, and the same command goes on",
                  file=sys.stderr)  # fmt: skip
            raise SystemExit(1) from None
    if stopped:
        print(f"run_grid.py: stopped by {signal.Signals(stopped.number).name}; the same command goes on", file=sys.stderr)
        raise SystemExit(128 + stopped.number)
    if status:
        raise SystemExit(1)
    plan = with_noted(plan, say)
    compared = compare(plan, [run.folder + suffix for run in plan.grid.runs for suffix in not_done(plan, run)])
    if failed:
        report(failed)
    raise SystemExit(1 if failed or compared else 0)


if __name__ == "__main__":
    main()
