"""Scores that a loss offers as log-likelihood ratios (SphereFace2, by its bias), and what to report of them.

Beside a score file NAME.llr stands its *reading* NAME.json: the numbers by which a cosine became a ratio, so that a
threshold on the ratio can be told as a cosine. See ``wespk.losses.log_odds`` for what they mean.
"""

import json
import os
from dataclasses import asdict, fields
from pathlib import Path

from wespk.io.atomic import write_text
from wespk.io.tables import write_scores
from wespk.losses.log_odds import LogOdds
from wespk.metrics.det import act_dcf, bayes_threshold, equal_error_score, error_rates, min_dcf, split
from wespk.utils.errors import InputError

FORMAT = 1
NUMBERS = tuple(field.name for field in fields(LogOdds))


def write_llr(out, enroll, test, cosines, log_odds, about):
    """Write the ratios of cosines (n,) of the trials (enroll, test: lists of ids), and their reading beside them.

    out: path ending in .llr, by which ``compute_metrics`` knows such files; about: dict of plain values to be noted in
    the reading, such as the checkpoint. Returns the reading's path. Raises ``InputError`` for another ending.
    """
    out = Path(out)
    if out.suffix != ".llr":
        raise InputError(f"--out {out}: files of log-likelihood ratios must end in .llr, by which they are known later")
    write_scores(out, enroll, test, log_odds.log_likelihood_ratio(cosines))
    reading = out.with_suffix(".json")
    write_text(reading, json.dumps({"format": FORMAT, "scores": out.name, **asdict(log_odds), **about}, indent=1) + "\n")
    return reading


def read_readings(paths):
    """{normalised path of the score file: contents} of readings. Raises ``InputError`` naming one that cannot be read."""
    readings = {}
    for path in map(Path, paths):
        try:
            contents = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(f"{path}: cannot be read ({error}); run score_bias") from None
        if not isinstance(contents, dict) or contents.get("format") != FORMAT:
            raise InputError(f"{path}: not written by this score_bias (no format {FORMAT}); run it again")
        readings[os.path.normpath(path.parent / contents["scores"])] = contents
    return readings


def evaluate_reading(reading, llr, labels, p_targets):
    """What the reading's thresholds do to a trial list, as plain numbers ready for JSON.

    llr (n,): the scores that the reading belongs to; labels (n,): 1 = target. Returns the reading's own contents and
    "training_prior", "equal_error_cosine" (where both error rates are equal, found with the labels), and "points":
    for the training prior and each of p_targets, {"p_target", "cosine" (the threshold; None: nothing is accepted),
    "miss", "false_alarm" (fractions), "act_dcf", "min_dcf"}.
    """
    log_odds = LogOdds(**{name: reading[name] for name in NUMBERS})
    parts, points = split(llr, labels), []
    for p_target in (log_odds.prior, *p_targets):
        miss, false_alarm = error_rates(parts, bayes_threshold(p_target))
        costs = {"act_dcf": act_dcf(llr, labels, p_target), "min_dcf": min_dcf(llr, labels, p_target)}
        points.append({"p_target": p_target, "cosine": log_odds.threshold(p_target), "miss": float(miss),
                       "false_alarm": float(false_alarm), **costs})  # fmt: skip
    about = {name: value for name, value in reading.items() if name not in ("format", "scores")}
    equal = log_odds.cosine(float(equal_error_score(parts)))
    return {**about, "training_prior": log_odds.prior, "equal_error_cosine": equal, "points": points}
