"""The definition of a grid of experiments (systems x levels x seeds), read from YAML and checked.

    title: Losses on a small corpus
    config: conf/minivox.yaml           # relative to the recipe
    set: "train.num_epochs=8"           # of every run (may be left out)
    seeds: [1, 2, 3]
    baseline: aam                       # what the others are compared with (fine-tuned ones: with aam-lm, if it is there)
    stop_stage: 7                       # 3: judged by the held-out training speakers; 5: by the trial lists, cosine scores
                                        # alone; 7: by the trial lists, and a report of each experiment; 8: the same, both
                                        # before and after large-margin fine-tuning, as two rows NAME and NAME-lm
    validations: 2                      # for 3: how many at the end of a training are averaged
    options: {score-norm: none}         # further options of run.sh, of every run
    systems:
      aam: {label: "AAM, m 0.2"}
      sf2: {set: "loss.name=sphereface2", stop_stage: 8}      # label, config, overlay, set, options, stop_stage
    notes: ["Labels drawn once."]       # what a reader of the comparison must know besides (may be left out)
    curves: [weight_classification]     # figures of training to draw over its epochs (may be left out); see plot_curves
    vary:                               # a second axis (may be left out)
      name: noise rate
      levels: {"0": {}, "uniform 10": {set: "labels.rate=0.1"}}   # label, set

Experiments lie in ROOT/SYSTEM[/LEVEL]/seedN, blanks of a level's name written as ``_``, and what fine-tuning makes of
them in seedN-lm.
"""

import re
from dataclasses import dataclass, replace
from pathlib import Path

from wespk.utils.config import read_yaml
from wespk.utils.errors import InputError
from wespk.utils.registry import nearest

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
LEVEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*( [A-Za-z0-9._+-]+)*")
TOP = ("title", "config", "set", "seeds", "baseline", "stop_stage", "validations", "options", "systems",
       "vary", "notes", "curves")  # fmt: skip
OF_SYSTEM = ("label", "config", "overlay", "set", "options", "stop_stage")
OF_LEVEL = ("label", "set")
STOP_STAGES = (3, 5, 7, 8)
FINE_TUNED = "-lm"
OF_FINE_TUNING = "lm-"  # how the options of stage 8 begin
# what the grid says itself, or what would make its runs different experiments than it says
OWN_OPTIONS = ("stage", "stop-stage", "config", "overlay", "set", "seed", "exp", "data", "recipe", "corpus",
               "default-config", "corpus-script", "force", "help")  # fmt: skip


@dataclass(frozen=True)
class Run:
    """One experiment: where it lies below the grid's folder, and what decides it."""

    system: str
    level: "str | None"
    seed: int
    folder: str
    config: str
    overlay: str
    set: str
    options: tuple  # of (name, value), in the file's order
    stop_stage: int


@dataclass(frozen=True)
class Row:
    """One line of the comparison: a system, as trained or after fine-tuning."""

    name: str
    label: str
    system: str
    fine_tuned: bool


@dataclass(frozen=True)
class Grid:
    """A checked definition. ``levels``: name -> label, {None: ""} without a second axis, which ``axis`` names."""

    name: str
    title: str
    config: str
    set: str
    options: tuple
    seeds: tuple
    baseline: str
    rows: tuple
    axis: str
    levels: dict
    runs: tuple
    validations: int = 2
    notes: tuple = ()
    curves: tuple = ()

    @property
    def judged_by_scores(self):
        """True: by score files of trial lists; False: by the error rates of held-out training speakers."""
        return self.runs[0].stop_stage > 3

    @property
    def tuned(self):
        """Name of a fine-tuned row -> name of the row that it began as."""
        return {row.name: row.system for row in self.rows if row.fine_tuned}

    def folder(self, row, level, seed):
        """Where the experiment of a row lies, relative to the grid's folder."""
        return folder_of(row.system, level, seed) + (FINE_TUNED if row.fine_tuned else "")


def part_of(grid, systems=(), baseline=""):
    """``grid`` with these of its rows alone (all, if none is named) and another baseline (its own, if none is named).

    Raises ``InputError`` for names that it does not have, and for a baseline that is not among the rows.
    """
    names = [row.name for row in grid.rows]
    strange = next((name for name in (*systems, *filter(None, [baseline])) if name not in names), None)
    if strange is not None:
        raise InputError(f"the grid '{grid.name}' has no system '{strange}'{nearest(strange, names)}")
    baseline = baseline or grid.baseline
    if systems and baseline not in systems:
        raise InputError(f"the baseline '{baseline}' is not among the systems {', '.join(systems)}: name it as well, or another")
    rows = tuple(row for row in grid.rows if not systems or row.name in systems)
    runs = tuple(run for run in grid.runs if run.system in {row.system for row in rows})
    return replace(grid, rows=rows, runs=runs, baseline=baseline)


def folder_of(system, level, seed):
    """``SYSTEM[/LEVEL]/seedN``."""
    return "/".join([system, *([level.replace(" ", "_")] if level is not None else []), f"seed{seed}"])


def read_grid(path):
    """Read and check a grid's YAML file; its name is the file's. Raises ``InputError`` naming the file and the key."""
    path = Path(path)
    try:
        return _grid(path.stem, read_yaml(path))
    except InputError as error:
        raise error if str(path) in str(error) else InputError(f"{path}: {error}") from None


def _grid(name, raw):
    _check_name(name, NAME, "the file's name", "the experiments' folder is called after it")
    _known_keys(raw, TOP, "the grid")
    for key in ("config", "seeds", "baseline", "systems"):
        if key not in raw:
            raise InputError(f"'{key}' is missing; a grid needs config, seeds, baseline and systems")
    common = {"config": _text(raw, "config"), "set": _text(raw, "set"), "overlay": "", "label": "",
              "stop_stage": _stop_stage(raw, 7, "the grid"), "options": _options(raw, "the grid")}  # fmt: skip
    systems = _systems(_mapping(raw["systems"], "systems"), common)
    axis, levels = _levels(raw.get("vary"))
    rows = _rows(systems)
    baseline = str(raw["baseline"])
    if baseline not in [row.name for row in rows]:
        raise InputError(f"baseline: there is no system '{baseline}'{nearest(baseline, [row.name for row in rows])}")
    seeds = _seeds(raw["seeds"])
    runs = [_run(system, level, seed, common["set"], systems[system], levels[level])
            for seed in seeds for level in levels for system in systems]  # fmt: skip
    return Grid(name, _text(raw, "title") or name, common["config"], common["set"], common["options"], seeds, baseline,
                rows, axis, {level: entry["label"] for level, entry in levels.items()}, tuple(runs), _validations(raw),
                _notes(raw), _curves(raw))  # fmt: skip


def _run(system, level, seed, common_set, entry, level_entry):
    sets = " ".join(text for text in (common_set, entry["set"], level_entry["set"]) if text)
    return Run(system, level, seed, folder_of(system, level, seed), entry["config"], entry["overlay"], sets,
               entry["options"], entry["stop_stage"])  # fmt: skip


def _systems(raw, common):
    systems = {}
    for name, own in raw.items():
        name, where = str(name), f"system '{name}'"
        _check_name(name, NAME, where, "it names a folder")
        _unlike(name, systems, "systems")
        own = _mapping({} if own is None else own, where, may_be_empty=True)
        _known_keys(own, OF_SYSTEM, where)
        systems[name] = {
            "config": _text(own, "config") or common["config"],
            "overlay": _text(own, "overlay"),
            "set": _text(own, "set"),
            "label": _text(own, "label") or name,
            "options": tuple({**dict(common["options"]), **dict(_options(own, where))}.items()),
            "stop_stage": _stop_stage(own, common["stop_stage"], where),
        }
        if systems[name]["stop_stage"] < 8:
            check_fine_tuning(_options(own, where), False, f"{where}: options")
    check_fine_tuning(common["options"], any(entry["stop_stage"] == 8 for entry in systems.values()), "options")
    if len({entry["stop_stage"] > 3 for entry in systems.values()}) > 1:
        raise InputError("stop_stage is 3 for some systems and later for others: what is judged by held-out speakers "
                         "and what is judged by trial lists cannot be compared; make two grids")  # fmt: skip
    return systems


def _rows(systems):
    rows = []
    for name, entry in systems.items():
        rows.append(Row(name, entry["label"], name, False))
        if entry["stop_stage"] == 8:
            rows.append(Row(name + FINE_TUNED, f"{entry['label']}, fine-tuned", name, True))
    names = [row.name for row in rows]
    double = next((name for name in names if names.count(name) > 1), None)
    if double:
        raise InputError(f"'{double}' is a system and the fine-tuned '{double.removesuffix(FINE_TUNED)}' too: rename it")
    return tuple(rows)


def _levels(raw):
    if raw is None:
        return "", {None: {"set": "", "label": ""}}
    raw = _mapping(raw, "vary")
    _known_keys(raw, ("name", "levels"), "vary")
    levels = {}
    for name, own in _mapping(raw.get("levels"), "vary: levels").items():
        name, where = str(name), f"level '{name}'"
        _check_name(name, LEVEL, where, "it names a folder")
        _unlike(name, levels, "levels")
        own = _mapping({} if own is None else own, where, may_be_empty=True)
        _known_keys(own, OF_LEVEL, where)
        levels[name] = {"set": _text(own, "set"), "label": _text(own, "label") or name}
    return _text(raw, "name") or "level", levels


def _unlike(name, known, kind):
    """Refuse a name whose folder is another one's, also where upper and lower case are one."""
    folders = {other.replace(" ", "_").casefold(): other for other in known}
    other = folders.get(name.replace(" ", "_").casefold())
    if other is not None:
        raise InputError(f"the {kind} '{other}' and '{name}' would share a folder: rename one")


def _seeds(raw):
    if not isinstance(raw, list) or not raw or any(type(seed) is not int or seed < 0 for seed in raw):
        raise InputError(f"seeds must be a list of whole numbers such as [1, 2, 3], not {raw!r}")
    if len(set(raw)) < len(raw):
        raise InputError(f"seeds: {raw} names a seed twice")
    return tuple(raw)


def _validations(raw):
    value = raw.get("validations", 2)
    if type(value) is not int or value < 1:
        raise InputError(f"validations must be a whole number of 1 or more, not {value!r}")
    return value


def _notes(raw):
    value = raw.get("notes", [])
    if not isinstance(value, list) or not all(isinstance(line, str) and line.strip() for line in value):
        raise InputError(f"notes must be a list of sentences, not {value!r}")
    return tuple(" ".join(line.split()) for line in value)


def _curves(raw):
    value = raw.get("curves", [])
    if not isinstance(value, list) or not all(isinstance(name, str) and name for name in value):
        raise InputError(f"curves must be a list of figures in metrics.jsonl such as [loss, dev_eer], not {value!r}")
    return tuple(dict.fromkeys(value))


def _stop_stage(raw, default, where):
    value = raw.get("stop_stage", default)
    if value not in STOP_STAGES or isinstance(value, bool):
        raise InputError(f"{where}: stop_stage is 3, 5, 7 or 8 (a run that ends elsewhere leaves nothing to compare), "
                         f"not {value!r}")  # fmt: skip
    return value


def _options(raw, where):
    found = []
    for name, value in _mapping(raw.get("options", {}), f"{where}: options", may_be_empty=True).items():
        if name in OWN_OPTIONS:
            raise InputError(f"{where}: options: '{name}' is for the grid itself to say; {_own_hint(name)}")
        if isinstance(value, (dict, list)) or value is None:
            raise InputError(f"{where}: options: '{name}' takes a single value, not {value!r}")
        found.append((str(name), str(value).lower() if isinstance(value, bool) else str(value)))
    return tuple(found)


def check_fine_tuning(options, is_asked_for, where):
    """Refuse options (pairs) of stage 8 unless some run goes that far; the others are not given them."""
    name = next((name for name, _ in options if name.startswith(OF_FINE_TUNING)), None)
    if name and not is_asked_for:
        raise InputError(f"{where}: '{name}' is of stage 8, which is not asked for: set stop_stage to 8")


def _own_hint(name):
    if name == "force":
        return "a grid does what is not done; to do a run again remove its folder"
    if name in ("exp", "data"):
        return "give it on the command line, behind --"
    return "use config, set, overlay, seeds and stop_stage of the grid and its systems"


def _text(raw, key):
    value = raw.get(key, "")
    if isinstance(value, (dict, list, bool)) or value is None:
        raise InputError(f"'{key}' must be text, not {value!r}")
    return str(value)


def _mapping(value, where, may_be_empty=False):
    if not isinstance(value, dict) or not (value or may_be_empty):
        raise InputError(f"{where}: must hold 'name: {{...}}' entries, not {value!r}")
    return value


def _known_keys(raw, known, where):
    for key in raw:
        if key not in known:
            raise InputError(f"{where}: unknown key '{key}'{nearest(key, known)}; it takes: {', '.join(known)}")


def _check_name(name, pattern, where, why):
    if not pattern.fullmatch(name):
        raise InputError(f"{where} has characters that are not safe in a path ({why}): take letters, digits, and "
                         "._+- within")  # fmt: skip
