"""Fusion: one log-likelihood ratio for each trial out of several systems' scores.

A system is a kind of score, such as ``cosine.asnorm``, of an experiment. Stage 6 with --calibrate has left its scores of
trials of known answer in ``EXP/calibration/KIND`` and says in ``EXP/calibration/KIND.json`` which list these are: by them,
the same for all systems, the fusion is learnt, and never by the lists that are to be scored.
"""

import json
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from wespk.io.tables import read_scores, write_scores
from wespk.scoring.calibration import calibrate_files, doubts, train_files
from wespk.utils.errors import InputError
from wespk.utils.registry import nearest

NAME = "fusion"


class System(NamedTuple):
    """A kind of score of the experiment in a folder, and what to call it."""

    name: str
    folder: Path
    kind: str

    def scores(self, trials):
        """The file of its scores of the list called ``trials``, to be written by stages 5 and 6."""
        return str(self.folder / "scores" / f"{trials}.{self.kind}")


def systems_of(experiments, kinds):
    """Every kind (list of str) of every experiment (list of folders) as a ``System``, named after what they differ in.

    Raises ``InputError`` for fewer than two, a folder given twice, and one that has not been calibrated.
    """
    folders = [Path(os.path.abspath(path)) for path in experiments]
    if len(set(folders)) < len(folders) or len(set(kinds)) < len(kinds):
        raise InputError("--exps, --kinds: an experiment or a kind of score is there twice; give each once")
    if len(folders) * len(kinds) < 2:
        raise InputError("one system cannot be fused: give several --exps, or several --kinds, separated by commas")
    above = Path(os.path.commonpath([folder.parent for folder in folders])) if folders else None
    found = []
    for folder in folders:
        for kind in kinds:
            _check_kind(folder, kind)
            parts = ([folder.relative_to(above).as_posix()] if len(folders) > 1 else []) + ([kind] if len(kinds) > 1 else [])
            found.append(System(" ".join(parts), folder, kind))
    return found


def _check_kind(folder, kind):
    if not (folder / "calibration" / f"{kind}.json").is_file():
        there = sorted(path.name[: -len(".json")] for path in (folder / "calibration").glob("[!.]*.json"))
        known = f"--kinds there: {', '.join(there)}{nearest(kind, there)}; for others " if there else ""
        raise InputError(f"{folder}/calibration/{kind}.json: no such file; {known}run stages 5 and 6 with --calibrate there"
                         + (" and --scoring plda" if kind == "plda" else ""))  # fmt: skip


def check(systems, lists, out, enroll_mean):
    """Raise ``InputError`` unless the experiments of ``systems`` are fit to be fused into the folder ``out``.

    Each must have scored and calibrated all ``lists`` (names), by the calibration that lies there now; where its report
    says how enrolments were averaged, it must be by ``enroll_mean``; and none of them may be ``out``.
    """
    for system in systems:
        if Path(os.path.abspath(out)) == system.folder:
            raise InputError(f"--out {out} is one of the experiments, whose results would be lost: give another folder")
        for name in lists:
            for path in (system.scores(name), f"{system.scores(name)}.llr"):
                if not os.path.isfile(path):
                    raise InputError(f"{path}: no such file; score {name} with all of the systems (stages 5 and 6 with "
                                     "--calibrate)")  # fmt: skip
            _check_calibrated(system, name)
        _check_averages(system, lists, enroll_mean)


def _check_calibrated(system, name):
    """What was learnt before the network or the scoring changed must not be fused with what was scored after."""
    path, made = system.folder / "calibration" / f"{system.kind}.json", f"{system.scores(name)}.llr"
    measures = _measures(system, f"{name}.quality", [Path(table).name for table in _about(system).get("quality", ())])
    *_, expected = calibrate_files(path, [system.scores(name)], measures)
    *_, found = read_scores(made)
    if len(found) != len(expected) or not np.allclose(found, expected, rtol=1e-4, atol=1e-4):
        raise InputError(f"{made}: not what {path} makes of {system.scores(name)}: one of them is of another time; run stages "
                         "5 and 6 with --calibrate there again")  # fmt: skip


def _check_averages(system, lists, enroll_mean):
    path = system.folder / "results" / "metrics.json"
    for found in json.loads(path.read_text(encoding="utf-8"))["lists"] if path.is_file() else ():
        mean = (found.get("averaged") or {}).get("mean", enroll_mean)
        if found["name"] in lists and mean != enroll_mean:
            raise InputError(f"--enroll-mean {enroll_mean}, but {path} says that enrolments of {found['name']} are averages of "
                             f"the kind {mean}: give --enroll-mean {mean}, or score again (stages 5 to 7)")  # fmt: skip


def fuse(systems, lists, out, p_target=0.05, l2=0.0, quality=()):
    """Learn the fusion of ``systems`` and score ``lists`` (names) with it: (``Calibration``, what is said of it, doubts).

    Writes OUT/fusion.json and OUT/scores/LIST.fusion.llr. p_target, l2: see ``logistic.fit``; quality: names of measures
    that stage 6 has left beside the scores of the first system's experiment (run.sh --quality); doubts: see
    ``calibration.doubts``. Raises ``InputError`` for systems whose trials differ; see also ``check``.
    """
    trials = _about(systems[0])["trials"]
    learnt_from = [str(system.folder / "calibration" / system.kind) for system in systems]
    measures = _measures(systems[0], "quality", quality)
    model, counts, before, after = train_files(learnt_from, measures, trials, p_target, l2)
    path = Path(out) / f"{NAME}.json"
    about = {"scores": learnt_from, "quality": measures, "trials": trials, "systems": [s.name for s in systems]}
    model.save(path, about)
    for name in lists:
        measures = _measures(systems[0], f"{name}.quality", quality)
        enroll, test, llr = calibrate_files(path, [system.scores(name) for system in systems], measures)
        write_scores(fused(out, name), enroll, test, llr)
    names = [system.name for system in systems] + model.names[len(systems) :]
    terms = "".join(f" {weight:+.4g} ({name})" for weight, name in zip(model.weights, names, strict=True))
    said = (f"{path}: llr = {model.offset:.4g}{terms}; {counts[0]} target and {counts[1]} nontarget trials, min-Cllr of "
            f"the first system {before:.4f}, Cllr of the fusion {after:.4f} bits")  # fmt: skip
    return model, said, doubts(model, counts, quality)


def fused(out, name):
    """The file of the fusion's scores of a list."""
    return str(Path(out) / "scores" / f"{name}.{NAME}.llr")


def _measures(system, folder, names):
    """The tables of measures in a folder of a system's calibration."""
    paths = [str(system.folder / "calibration" / folder / name) for name in names]
    lost = next((path for path in paths if not os.path.isfile(path)), None)
    if lost is not None:
        raise InputError(f"{lost}: no such file; run stage 6 with --calibrate and --quality {','.join(names)} there")
    return paths


def _about(system):
    """What is noted of a system's calibration: {"trials": the list of known answers that it was learnt from, ...}."""
    path = system.folder / "calibration" / f"{system.kind}.json"
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path}: cannot be read ({error}); run stage 6 with --calibrate again") from None
    if not isinstance(about, dict) or "trials" not in about:
        raise InputError(f"{path}: does not say which trials it was learnt from; run stage 6 with --calibrate again")
    return about
