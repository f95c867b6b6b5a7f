"""Fusion: one log-likelihood ratio for each trial out of several systems' scores.

A system is a kind of score, such as ``cosine.asnorm``, of an experiment. Stage 6 with --calibrate has left its scores of
trials of known answer in ``EXP/calibration/KIND`` and says in ``EXP/calibration/KIND.json`` which list these are: by them,
the same for all systems, the fusion is learnt, and never by the lists that are to be scored.
"""

import json
import os
from pathlib import Path
from typing import NamedTuple

from wespk.io.tables import write_scores
from wespk.scoring.calibration import calibrate_files, train_files
from wespk.utils.errors import InputError

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
            if not (folder / "calibration" / f"{kind}.json").is_file():
                raise InputError(f"{folder}/calibration/{kind}.json: no such file; run stages 5 and 6 with --calibrate there"
                                 + (" and --scoring plda" if kind == "plda" else ""))
            parts = ([folder.relative_to(above).as_posix()] if len(folders) > 1 else []) + ([kind] if len(kinds) > 1 else [])
            found.append(System(" ".join(parts), folder, kind))
    return found


def fuse(systems, lists, out, p_target=0.05, l2=0.0, quality=()):
    """Learn the fusion of ``systems`` and score ``lists`` (names) with it: returns (``Calibration``, what was said of it).

    Writes OUT/fusion.json and OUT/scores/LIST.fusion.llr. p_target, l2: see ``logistic.fit``; quality: names of measures that
    stage 6 has left beside the scores of the first system's experiment (run.sh --quality). Raises ``InputError`` for
    systems whose trials differ, and lists that one of them has not scored.
    """
    for system in systems:
        lost = next((name for name in lists if not os.path.isfile(system.scores(name))), None)
        if lost is not None:
            raise InputError(f"{system.scores(lost)}: no such file; score {lost} with all of the systems (stages 5 and 6)")
    trials = _key(systems[0])
    learnt_from = [str(system.folder / "calibration" / system.kind) for system in systems]
    measures = _measures(systems[0], "quality", quality)
    model, counts, before, after = train_files(learnt_from, measures, trials, p_target, l2)
    path = Path(out) / f"{NAME}.json"
    model.save(path, {"scores": learnt_from, "quality": measures, "trials": trials, "systems": [s.name for s in systems]})
    for name in lists:
        measures = _measures(systems[0], f"{name}.quality", quality)
        enroll, test, llr = calibrate_files(path, [system.scores(name) for system in systems], measures)
        write_scores(fused(out, name), enroll, test, llr)
    names = [system.name for system in systems] + model.names[len(systems) :]
    terms = "".join(f" {weight:+.4g} ({name})" for weight, name in zip(model.weights, names, strict=True))
    return model, (f"{path}: llr = {model.offset:.4g}{terms}; {counts[0]} target and {counts[1]} nontarget trials, "
                   f"min-Cllr of the first system {before:.4f}, Cllr of the fusion {after:.4f} bits")  # fmt: skip


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


def _key(system):
    """The list of known answers that a system was calibrated by."""
    path = system.folder / "calibration" / f"{system.kind}.json"
    try:
        return json.loads(path.read_text(encoding="utf-8"))["trials"]
    except (ValueError, KeyError) as error:
        raise InputError(f"{path}: cannot be read ({error}); run stage 6 with --calibrate again") from None
