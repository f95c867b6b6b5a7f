"""Figures that training notes in metrics.jsonl -> curves over epochs, of one experiment or of several seeds of a system."""

import json
import re
from pathlib import Path

import numpy as np

from wespk.io.tables import read_lines
from wespk.utils.errors import InputError
from wespk.utils.registry import nearest


def read_records(path):
    """The lines of a ``metrics.jsonl`` as dicts, in order: each has a number "step", and "epoch", if there, is one too.

    Raises ``InputError`` naming the file, and a damaged line.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: there is no such file; training (stage 3) writes it into the experiment's folder")
    for number, line in enumerate(read_lines(path), start=1):
        try:
            record = json.loads(line)
        except ValueError:
            raise InputError(f"{path}:{number}: not a line of JSON; train again (stage 3)") from None
        if not isinstance(record, dict) or not _is_number(record.get("step")) or not _is_number(record.get("epoch", 0)):
            raise InputError(f"{path}:{number}: not what training notes, {{\"step\": number, ...}}; train again (stage 3)")
        yield record


def _is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def read_curves(folder):
    """The curves of an experiment: figure -> {epoch: value}, sorted by epoch.

    Epochs are fractions, as training notes them. What is noted of a step alone (dev_eer) counts at the epoch of that
    step, and of a step that was noted twice, as training was resumed, the later values count.
    """
    steps, curves = {}, {}
    for record in read_records(Path(folder) / "metrics.jsonl"):
        steps.setdefault(record["step"], {}).update(record)
    for _, record in sorted(steps.items()):
        for name, value in record.items():
            if name not in ("step", "epoch") and "epoch" in record and isinstance(value, (int, float)):
                curves.setdefault(name, {})[record["epoch"]] = value
    return curves


def over_seeds(curves):
    """Mean and standard deviation of curves {epoch: value} at the epochs that all of them have.

    Returns {"epochs", "mean", "sd"}, lists of equal length; sd, with n - 1 in the denominator, is None for one curve.
    Raises ``InputError`` where no epoch is common to all.
    """
    epochs = sorted(set.intersection(*map(set, curves)))
    if not epochs:
        raise InputError("the experiments have no epoch in common at which they noted their figures, so they have no mean; "
                         "were they trained with other batches or log intervals?")  # fmt: skip
    values = np.array([[curve[epoch] for epoch in epochs] for curve in curves])
    sd = np.std(values, axis=0, ddof=1).tolist() if len(curves) > 1 else None
    return {"epochs": epochs, "mean": values.mean(axis=0).tolist(), "sd": sd}


def path_labels(folders):
    """What to call the system of each experiment: its resolved path, cut to as few last parts as tell the systems apart.

    The system of SYSTEM/seedN is SYSTEM, and of SYSTEM/seedN-lm, what fine-tuning made of it, SYSTEM-lm. Raises
    ``InputError`` where two systems have one label all the same.
    """
    systems = []
    for folder in folders:
        path = Path(folder).resolve()
        seed = re.fullmatch(r"seed\d+(-lm)?", path.name)
        systems.append((path.parent.parts, seed[1] or "") if seed else (path.parts, ""))
    for depth in range(1, max(len(parts) for parts, _ in systems) + 1):
        labels = [f"{Path(*parts[-depth:])}{tuned}" for parts, tuned in systems]
        if len(set(labels)) == len(set(systems)):
            return labels
    double = next(label for label, own in zip(labels, systems) if dict(zip(labels, systems))[label] != own)
    raise InputError(f"two systems would be called {double}: a folder of this name and one fine-tuned; give --labels")


def system_curves(folders, figures):
    """The curves of one system: figure -> as of ``over_seeds``, of the experiments ``folders``, its seeds.

    Raises ``InputError`` for a figure that one of them lacks, naming the folder and listing those that are there.
    """
    seeds = [read_curves(folder) for folder in folders]
    for folder, curves in zip(folders, seeds):
        for name in figures:
            if name not in curves:
                raise InputError(f"{folder}/metrics.jsonl has no figure '{name}'{nearest(name, curves)}; "
                                 f"there is: {', '.join(sorted(curves)) or 'none'}")  # fmt: skip
    return {name: _named(name, folders, [curves[name] for curves in seeds]) for name in figures}


def _named(name, folders, curves):
    try:
        return over_seeds(curves)
    except InputError as error:
        raise InputError(f"'{name}' of {', '.join(map(str, folders))}: {error}") from None


def grid_curves(grid, root, cells):
    """The curves that a ``Grid`` asks for, of its (row, level) ``cells``, whose experiments lie under ``root``.

    Returns ([{"figure", "lines": [{"system", "level", "label", "epochs", "mean", "sd"}]}], sentences on what is missing).
    A cell without the figure has no line. A figure that no cell has is put down among the sentences, and so are a cell
    whose ``metrics.jsonl`` cannot be read and a figure whose seeds have no epoch in common.
    """
    panels, missing = {name: [] for name in grid.curves}, []
    known, told = set(), set()
    for row, level in cells if panels else ():
        label = row.label if level is None else f"{row.label}, {grid.levels[level]}"
        folders = [root / grid.folder(row, level, seed) for seed in grid.seeds]
        try:
            seeds = [read_curves(folder) for folder in folders]
        except InputError as error:
            missing.append(f"curves: '{label}' has none: {error}")
            continue
        known.update(*seeds)
        for name, lines in panels.items():
            if all(name in curves for curves in seeds):
                try:
                    drawn = _named(name, folders, [curves[name] for curves in seeds])
                except InputError as error:
                    missing.append(f"curves: {error}")
                    told.add(name)
                    continue
                lines.append({"system": row.name, "level": level, "label": label, **drawn})
    for name in [name for name, lines in panels.items() if not lines and name not in told]:
        there = ", ".join(sorted(known)) or "none"
        missing.append(f"curves: no system has the figure '{name}'{nearest(name, known)}; there is: {there}")
    return [{"figure": name, "lines": lines} for name, lines in panels.items() if lines], missing
