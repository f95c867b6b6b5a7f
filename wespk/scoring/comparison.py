"""A grid's folder of experiments -> the comparison of its systems, as plain numbers ready for JSON."""

import json
import re
from pathlib import Path

import numpy as np

from wespk.io.tables import join_labels, read_table, read_trials
from wespk.metrics.comparison import compare_scores, compare_values, measure_names
from wespk.scoring.curves import grid_curves, read_records
from wespk.scoring.evaluation import speakers_behind
from wespk.utils.errors import InputError

KIND = re.compile(r"cosine(\.(asnorm|snorm|znorm|tnorm))?")
DEV_MEASURES = {"dev_eer": "eer", "dev_min_dcf": "min_dcf_0.01"}


def compare_experiments(grid, root, data, without=(), p_targets=(0.01, 0.05), num_resamples=None, seed=42,
                        elsewhere=None):
    """Compare the experiments of a ``Grid`` that lie under ``root`` and were tested on the data folder ``data``.

    without: folders (relative to ``root``) of experiments to leave out, as they are not whole; those whose last stage
    (3, 5 or 7) is not marked done, or was done on the files of an earlier training, are left out anyway, and a system
    lacking one seed at a level is left out there. Judged by scores: each trial list of data/eval/trials and each kind of
    score, cosine and normalised, is a table. Judged by held-out speakers: the mean of the grid's last ``validations`` of
    dev_eer and dev_min_dcf in metrics.jsonl (the best one would be chosen by its luck).

    elsewhere: name -> further data folder whose evaluation set the experiments were tested on as well, in EXP/on/NAME
    (run.sh --eval-data); its lists, called NAME/LIST, make tables in the same way.

    num_resamples: None: 1000, or 50 for each system if that is more, so that corrected p values can come below 0.05.

    Returns {"format", "grid", "title", "baseline", "seeds", "axis", "judged", "bootstrap", "missing", "notes", "tables":
    [{"trials", "scores", "num_targets", "num_nontargets", "num_speakers", "speakers_from", "levels": [{"level",
    "label", "systems": [{"system", "label", "measures": as of ``compare_values``}]}]}], "curves": as of ``grid_curves``, if
    the grid asks for any}. "missing" and "notes" are lists of sentences.
    Raises ``InputError`` if nothing can be compared, or naming the file that is damaged.
    """
    root, data, missing = Path(root), Path(data), {}
    num_resamples = max(1000, 50 * len(grid.rows)) if num_resamples is None else num_resamples
    settings = {"num_resamples": num_resamples, "seed": seed}
    cells = [(row, level) for level in grid.levels for row in grid.rows]
    cells = _whole_cells(grid, root, cells, set(without), missing)
    if grid.judged_by_scores:
        settings["p_targets"] = p_targets
        tables = _score_tables(grid, root, data / "eval", cells, missing, settings)
        for name, folder in (elsewhere or {}).items():
            there = _whole_cells(grid, root, cells, set(without), missing, name)
            tables += _score_tables(grid, root, Path(folder) / "eval", there, missing, settings, f"on/{name}")
    else:
        tables = [_dev_table(grid, root, data / "dev" / "trials" / "dev", cells, settings)] if cells else []
    if not tables:
        raise InputError(f"{root}: no system of '{grid.name}' has all of its seeds trained and judged; {_first(missing)}")
    curves, lacking = grid_curves(grid, root, cells)
    judged = "scores" if grid.judged_by_scores else f"mean of the last {grid.validations} validations"
    return {"format": 2, "grid": grid.name, "title": grid.title, "baseline": grid.baseline, "seeds": list(grid.seeds),
            "axis": grid.axis, "judged": judged, "bootstrap": {"resamples": num_resamples, "seed": seed, "level": 0.95},
            "missing": [*missing, *lacking], "notes": [*grid.notes, *_notes_elsewhere(elsewhere)], "tables": tables,
            **({"curves": curves} if curves else {})}  # fmt: skip


def _first(missing):
    return next(iter(missing), "run the grid")


def _whole_cells(grid, root, cells, without, missing, name=""):
    """Those of the (row, level) ``cells`` whose experiments are all whole, on the data ``name`` if that is given.

    The others are put down in ``missing``.
    """
    found, last = [], {run.system: min(run.stop_stage, 7) for run in grid.runs}
    below, of_what = (f"on/{name}", f" of '{name}'") if name else ("", "")
    for row, level in cells:
        experiments = [grid.folder(row, level, seed) for seed in grid.seeds]
        absent = [str(Path(folder, below)) for folder in experiments
                  if str(Path(folder, below)) in without or not is_finished(root / folder, last[row.system], below)]  # fmt: skip
        if absent:
            missing[f"{', '.join(absent)}: not whole, so {_named(row, level)} is left out{of_what}"] = None
        else:
            found.append((row, level))
    return found


def _notes_elsewhere(elsewhere):
    if elsewhere:
        yield (f"{', '.join(f'{name}/LIST' for name in elsewhere)}: lists of other data than the systems' own. The mean "
               "that is subtracted and the cohort are of their training set, as for its own lists.")  # fmt: skip


def is_finished(folder, last, below=""):
    """Whether run.sh marked stage ``last`` of an experiment done, on what is there now, and none is at work since.

    below: "on/NAME" for an evaluation on other data, whose stages from 4 on lie there. What a stage noted of the files
    that it read must be what the stage that made them noted of them: else it has worked on an earlier training. That the
    files still are what was noted, is not checked.
    """
    own, judged = Path(folder) / ".stages", Path(folder) / below / ".stages"
    if not (judged / f"{last}.json").is_file() or any(own.glob("*.begun")) or any(judged.glob("*.begun")):
        return False
    written, order = {}, [own / "3.json", own / "4.json", *(judged / f"{stage}.json" for stage in (4, 5, 7))]
    for path in dict.fromkeys(order):
        if path.is_file() and int(path.stem) <= last:
            record = _record(path)
            if any(written.get(name, noted) != noted for name, noted in record.get("inputs", {}).items()):
                return False
            written.update(record.get("outputs", {}))
    return True


def _record(path):
    """What a mark of a stage says (see tools/stage_mark.py)."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        raise InputError(f"{path}: not JSON; run its stage again") from None


def _named(row, level):
    return f"'{row.name}'" if level is None else f"'{row.name}' at '{level}'"


# --- trial lists ------------------------------------------------------------------------------------------------------
def _score_tables(grid, root, evaluation, cells, missing, settings, below=""):
    """One table for each list and kind of score; below: where the scores lie in an experiment, "on/NAME" or nothing."""
    folder = evaluation / "trials"
    lists = sorted(path for path in folder.glob("*") if path.is_file() and not path.name.startswith("."))
    if not lists:
        raise InputError(f"{folder}: there are no trial lists; run stage 1, or give the data folder of the experiments")
    speaker_of = read_table(evaluation / "utt2spk")
    found = {}
    for row, level in cells:
        for seed in grid.seeds:
            folder = root / grid.folder(row, level, seed) / below
            for path in lists:
                for kind in score_kinds(folder / "scores", path.name):
                    found.setdefault((path, kind), {}).setdefault((row, level), []).append(folder / "scores")
    tables = []
    for (path, kind), folders in sorted(found.items(), key=lambda item: item[0]):
        whole = {cell: paths for cell, paths in folders.items() if len(paths) == len(grid.seeds)}
        for row, level in cells:
            if (row, level) not in whole:
                missing[f"{_listed(path, below)}.{kind}: not scored with all seeds of {_named(row, level)}"] = None
        if whole:
            tables.append(_score_table(grid, path, kind, whole, speaker_of, settings, below))
    return tables


def _listed(path, below):
    """How a list is called: LIST, or NAME/LIST."""
    return "/".join([*below.split("/")[1:], path.name])


def score_kinds(folder, trials):
    """The kinds of scores of a list in a folder: cosine, and those normalised since the cosine scores were written.

    An older normalised file stems from another training, or from a run with another --score-norm, and is not of this.
    """
    raw = folder / f"{trials}.cosine"
    if not raw.is_file():
        return []
    kinds = []
    for path in sorted(folder.glob(f"{trials}.cosine*")):
        kind = path.name[len(trials) + 1 :]
        if KIND.fullmatch(kind) and path.stat().st_mtime_ns >= raw.stat().st_mtime_ns:
            kinds.append(kind)
    return kinds


def _score_table(grid, path, kind, folders, speaker_of, settings, below):
    trials = read_trials(path)
    speakers, source = speakers_behind(trials, speaker_of, path, path.parent.parent / "enroll_maps")
    levels = []
    for level in grid.levels:
        systems = {}
        for (row, own_level), paths in folders.items():
            if own_level == level:
                joined = [join_labels(scores / f"{path.name}.{kind}", path, trials) for scores in paths]
                systems[row.name], labels = [scores for scores, _ in joined], joined[0][1]
        if systems:
            try:
                found = compare_scores(systems, labels, speakers, grid.baseline, tuned=grid.tuned, **settings)
            except InputError as error:
                raise InputError(f"{path}: {error}") from None
            levels.append(_level(grid, level, found))
    return {
        "trials": _listed(path, below), "scores": kind, "num_targets": int(labels.sum()),
        "num_nontargets": int(len(labels) - labels.sum()), "num_speakers": len(np.unique(speakers)),
        "speakers_from": source, "measures": measure_names(settings["p_targets"]), "levels": levels,
    }  # fmt: skip


def _level(grid, level, found):
    labels = {row.name: row.label for row in grid.rows}
    systems = [{"system": name, "label": labels[name], "measures": found[name]} for name in labels if name in found]
    return {"level": level, "label": grid.levels[level], "systems": systems}


# --- held-out training speakers ---------------------------------------------------------------------------------------
def _dev_table(grid, root, trials_file, cells, settings):
    labels = read_trials(trials_file).labels
    counts = int(labels.sum()), int(len(labels) - labels.sum())
    levels = []
    for level in grid.levels:
        values = {}
        for row, own_level in cells:
            if own_level == level:
                files = [root / grid.folder(row, level, seed) / "metrics.jsonl" for seed in grid.seeds]
                values[row.name] = np.array([dev_measures(path, grid.validations) for path in files])
        if values:
            found = compare_values(values, grid.baseline, list(DEV_MEASURES.values()), 1 / min(counts), tuned=grid.tuned,
                                   **settings)  # fmt: skip
            levels.append(_level(grid, level, found))
    return {
        "trials": "dev", "scores": "held-out training speakers", "num_targets": counts[0],
        "num_nontargets": counts[1], "num_speakers": None, "speakers_from": None,
        "measures": list(DEV_MEASURES.values()), "levels": levels,
    }  # fmt: skip


def dev_measures(path, validations):
    """Mean over the last so many validations of dev_eer and dev_min_dcf in a ``metrics.jsonl``: list of two floats.

    Raises ``InputError`` naming the file if there are fewer, or its line if it is damaged.
    """
    records = {}
    for record in read_records(path):
        if "dev_eer" in record:
            records[record["step"]] = [record[name] for name in DEV_MEASURES]  # a resumed training writes a step again
    if len(records) < validations:
        raise InputError(f"{path}: has {len(records)} validations where the mean of {validations} is asked for: hold "
                         "speakers out (--dev-speakers), or average fewer")  # fmt: skip
    return np.mean([records[step] for step in sorted(records)[-validations:]], axis=0).tolist()
