"""The further data folders that a grid's experiments are evaluated on: checked before any training, and noted.

The note, GRID/evaluated.json (name -> folder), is what makes a later call without --evaluate go on including them in the
comparison. It can be edited: what is removed from it is left out from then on.
"""

import json
import os
from dataclasses import replace
from pathlib import Path

from wespk.data.stored import check_stamp
from wespk.io.atomic import write_text
from wespk.utils.errors import InputError
from wespk.utils.grid import NAME

NOTE = "evaluated.json"


def further_data(words, grid, own):
    """The data folders of ``NAME=DIR`` words: name -> absolute path. Raises ``InputError``."""
    found = {}
    if words and not grid.judged_by_scores:
        raise InputError("--evaluate: this grid ends at stage 3 and is judged by held-out speakers, without trial lists")
    for word in words:
        name, equals, folder = word.partition("=")
        if not equals or not NAME.fullmatch(name) or name in found:
            raise InputError(f"--evaluate takes NAME=DIR, each name once and fit for a folder, not '{word}'")
        if not os.path.isdir(os.path.join(folder, "eval", "trials")) or os.path.realpath(folder) == os.path.realpath(own):
            raise InputError(f"--evaluate {word}: not another data folder with eval/trials, as stages 1 and 2 make it")
        found[name] = Path(os.path.abspath(folder))
    return found


def check_features(plan):
    """Raise ``InputError`` unless each folder to evaluate on has features that the networks to be trained can read."""
    for name, folder in plan.evaluate.items():
        path = folder / "eval" / "feats.scp"
        if not path.is_file():
            raise InputError(f"--evaluate {name}={folder}: there is no {path}; run stage 2 of its recipe first, with the "
                             "'features' section of these systems")  # fmt: skip
        for run in plan.chosen:
            for suffix, conf in plan.confs[run.system, run.level].items():
                try:
                    check_stamp(path.parent, conf["features"])
                except InputError as error:
                    raise InputError(f"--evaluate {name}={folder}: '{run.folder}{suffix}': {error}") from None


def noted(root):
    """The note in a grid's folder: name -> folder; nothing if there is none. Raises ``InputError`` if it is damaged."""
    path = Path(root) / NOTE
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError:
        found = None
    if not isinstance(found, dict) or not all(NAME.fullmatch(name) and isinstance(found[name], str) for name in found):
        raise InputError(f"{path}: not the note {{\"NAME\": \"DATA FOLDER\"}} that run_grid.py leaves of --evaluate; mend "
                         "it, or remove it and give --evaluate again")
    return found


def note(plan):
    """Note what this call evaluates on, beside what earlier ones did."""
    if plan.evaluate:
        entries = {**noted(plan.root), **{name: str(folder) for name, folder in plan.evaluate.items()}}
        write_text(plan.root / NOTE, json.dumps(entries, indent=1, sort_keys=True) + "\n")


def with_noted(plan, say):
    """The plan with the evaluations of earlier calls beside its own, for the comparison; ``say`` gets a line for each.

    A folder that can no longer be read is left out and said to be.
    """
    evaluate = dict(plan.evaluate)
    for name, folder in noted(plan.root).items():
        if name not in evaluate:
            try:
                evaluate |= further_data([f"{name}={folder}"], plan.grid, plan.data)
                say(f"{name} was evaluated earlier (--evaluate {name}={folder}) and stays in the comparison; to end that, "
                    f"remove it from {plan.root / NOTE}")
            except InputError as error:
                say(f"{name} was evaluated earlier and is left out of the comparison: {error}")
    return replace(plan, evaluate=evaluate)
