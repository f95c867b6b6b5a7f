"""One run of a grid: the words that run.sh is called with, whether it is done already, and the process.

``plan`` is a ``run_grid.Plan``. A run lies in a folder of its own, and so does what fine-tuning made of it and each of
their evaluations elsewhere; the folders are told by their suffix to the run's: "", "-lm", "/on/NAME" and "-lm/on/NAME".
"""

import json
import os
import re
import signal
import subprocess
import time

import stage_mark
from submit.array_job import quoted

from wespk.utils import config
from wespk.utils.errors import InputError
from wespk.utils.grid import FINE_TUNED, OF_FINE_TUNING

OF_SCORING = ("trials", "score-norm", "top-n", "cohort", "expected")
MACHINE = ("nj", "gpus", "cmd")  # how to run, which changes no result
OF_EVALUATION = ("stage", "stop-stage", "data", "exp", "eval-data", "eval-name", "score-norm", "top-n", "cohort", *MACHINE)
FILES = ("lm-overlay", "expected")  # options of run.sh that name files; in a grid relative to the recipe
REACHED_FINE_TUNING = re.compile(r"^\d\d:\d\d:\d\d stage 8, ", re.MULTILINE)  # run.sh says so once stages 3 to 7 are done


def merged(plan, run):
    """The configurations of a run as its files are now: suffix of its folder -> what merges them.

    "" is the run as trained and, where stage 8 is asked for, "-lm" what fine-tuning makes of it. Raises ``InputError``
    naming the run where they do not merge.
    """
    try:
        confs = {"": config.load(in_recipe(plan, run.config), in_recipe(plan, run.overlay), run.set)}
        if run.stop_stage == 8:
            words = words_of(plan, run)
            overlay = words.get("lm-overlay") or str(plan.recipe / "conf" / "lmft.yaml")
            confs[FINE_TUNED] = config.lay_over(confs[""], overlay, words.get("lm-set", ""))
        return confs
    except InputError as error:
        raise InputError(f"{plan.path}: '{run.folder}': {error}") from None


def in_recipe(plan, names):
    """Paths of comma-separated files, which a grid gives relative to the recipe."""
    return ",".join(os.path.normpath(plan.recipe / name) for name in names.split(",") if name)


def command(plan, stages, conf, run_set, options, more=()):
    """The argument list of run.sh; stages (first, last), conf (config, overlay); more: pairs of its own."""
    cores = len(os.sched_getaffinity(0))
    pairs = {"stage": stages[0], "stop-stage": stages[1], "config": in_recipe(plan, conf[0]),
             "overlay": in_recipe(plan, conf[1]), "set": run_set, "data": plan.data, **dict(more)}  # fmt: skip
    if stages[0] > 2:
        pairs["nj"] = max(1, cores // plan.jobs)
    pairs.update({name: in_recipe(plan, value) if name in FILES else value for name, value in options})
    pairs.update(plan.options)
    if stages[1] < 8:
        pairs = {name: value for name, value in pairs.items() if not name.startswith(OF_FINE_TUNING)}
    if stages[0] > 3:  # all is told by the experiment's folder; the lists are others
        pairs = {name: value for name, value in pairs.items() if name in OF_EVALUATION}
    if stages[1] < 3:  # the data serve other experiments too: all trial lists are prepared, whichever are scored here
        pairs = {name: value for name, value in pairs.items() if name not in OF_SCORING}
    words = [f"--{name}={value}" for name, value in pairs.items() if str(value)]
    return ["bash", str(plan.recipe / "run.sh"), *words]


def command_of(plan, run):
    """The argument list that trains and judges one run."""
    more = {"seed": run.seed, "exp": plan.root / run.folder}
    return command(plan, (3, run.stop_stage), (run.config, run.overlay), run.set, run.options, more)


def words_of(plan, run):
    """The options that run.sh is called with: name -> value."""
    return values_of(command_of(plan, run))


def evaluations(plan, run):
    """Suffix of the folder -> argument list that evaluates the run, and its fine-tuning, on each further data folder."""
    last = min(run.stop_stage, 7)
    tuned = ["", FINE_TUNED] if run.stop_stage == 8 else [""]
    return {
        f"{suffix}/on/{name}": command(plan, (4, last), ("", ""), "", run.options, {
            "exp": plan.root / (run.folder + suffix), "eval-data": data, "eval-name": name})
        for suffix in tuned for name, data in plan.evaluate.items()
    }  # fmt: skip


def values_of(words):
    """The options in an argument list: name -> value."""
    return dict(word[2:].split("=", 1) for word in words[2:])


def definitions(plan, run, confs):
    """What decides a run's results, as far as it is known here: suffix of its folder -> plain values as of JSON.

    confs: as of ``merged``.
    """
    words = without_machine(command_of(plan, run))
    trained = {name: value for name, value in words.items() if not name.startswith(OF_FINE_TUNING)}
    found = {"": {"words": {**trained, "stop-stage": str(min(run.stop_stage, 7))}, "conf": confs[""]}}
    if FINE_TUNED in confs:
        found[FINE_TUNED] = {"words": words, "conf": confs[FINE_TUNED], "began_as": confs[""]}
    for suffix, own in evaluations(plan, run).items():
        found[suffix] = {**found[suffix.partition("/")[0]], "evaluation": without_machine(own)}
    return json.loads(json.dumps(found))


def without_machine(words):
    """The options in an argument list that can change results: name -> value."""
    return {name: value for name, value in values_of(words).items() if name not in MACHINE}


def mark_of(plan, run, suffix):
    return plan.root / (run.folder + suffix) / ".stages" / "grid.json"


def not_done(plan, run):
    """The suffixes of those folders of a run that are not whole or not as their stages left them."""
    wanted = definitions(plan, run, plan.confs[run.system, run.level])
    return [suffix for suffix, definition in wanted.items() if not is_whole(mark_of(plan, run, suffix), definition)]


def is_whole(mark, definition):
    """Whether a folder's ``mark`` says what is wanted, and its inputs and outputs are as its stages left them."""
    try:
        noted = json.loads(mark.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return False
    if not isinstance(noted, dict) or any(noted.get(name) != value for name, value in definition.items()):
        return False
    if any(mark.parent.glob("*.begun")):
        return False
    for path in mark.parent.glob("[0-9].json"):
        record = stage_mark.read(path)
        if record is None or any(stage_mark.changed_files({**record["inputs"], **record.get("outputs", {})}, "file")):
            return False
    return True


class Task:
    """One run at work: a process group of its own, a log that each start is added to, GPUs of its own.

    First what trains it and then, one after the other, its evaluations elsewhere.
    """

    def __init__(self, plan, run, slot):
        self.plan, self.run, self.slot = plan, run, slot
        self.log, self.started, self.status = plan.root / run.folder / "RUN.log", time.monotonic(), None
        self.definitions = definitions(plan, run, merged(plan, run))  # now: the files may change while it runs
        self.log_start = self.log.stat().st_size if self.log.exists() else 0
        self.environment = {"OMP_NUM_THREADS": str(max(1, len(os.sched_getaffinity(0)) // plan.jobs)), **os.environ,
                            "CUDA_VISIBLE_DEVICES": ",".join(plan.gpus[slot])}  # fmt: skip
        self.todo, self.stopping = self.commands(), False
        self.begin_next()

    def commands(self):
        """What is to be done: [(suffixes, argument list)]; an evaluation elsewhere does not need the training again."""
        missing = [suffix for suffix, wanted in self.definitions.items()
                   if not is_whole(mark_of(self.plan, self.run, suffix), wanted)]  # fmt: skip
        trained = [suffix for suffix in self.definitions if "/" not in suffix]
        elsewhere = [([suffix], words) for suffix, words in evaluations(self.plan, self.run).items()]
        if missing and not set(missing) & set(trained):
            return [(suffixes, words) for suffixes, words in elsewhere if suffixes[0] in missing]
        return [(trained, command_of(self.plan, self.run)), *elsewhere]

    def begin_next(self):
        self.at_work, words = self.todo.pop(0)
        self.process = start(words, self.log, self.environment)

    def stop(self):
        """Tell run.sh to stop; it tells its own commands."""
        self.stopping = True
        if self.process.poll() is None:
            os.kill(self.process.pid, signal.SIGTERM)

    def ended(self):
        """True once the run is over; ``status`` then holds its exit status, and what is whole is marked done."""
        code = self.process.poll()
        if code is None:
            return False
        self.status = 128 - code if code < 0 else code
        for suffix in self.at_work:
            if self.status == 0 or (suffix == "" and self.reached_fine_tuning()):
                stage_mark.write(mark_of(self.plan, self.run, suffix), self.definitions[suffix])
        if self.status or not self.todo:
            return True
        if self.stopping:
            self.status = 143
            return True
        self.begin_next()
        return False

    def reached_fine_tuning(self):
        """Whether run.sh came to stage 8, so that all before it is done, whatever became of the rest."""
        with open(self.log, "rb") as file:
            file.seek(self.log_start)
            return REACHED_FINE_TUNING.search(file.read().decode("utf-8", "replace")) is not None


def start(words, log, environment):
    """A process with a session of its own that writes to ``log``, at whose end its command is noted first."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "ab") as out:
        out.write(f"# {clock()} {quoted(words)}\n".encode("utf-8", "surrogateescape"))
        out.flush()
        return subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=environment,
                                start_new_session=True)  # fmt: skip


def clock():
    return time.strftime("%H:%M:%S")
