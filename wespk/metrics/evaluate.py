"""Everything that is reported about systems scored on one trial list, as plain numbers ready for JSON."""

import numpy as np

from wespk.metrics.bootstrap import SpeakerDraw, TrialDraw, interval, paired_test, resample
from wespk.metrics.det import check_prior, det_curve, equal_error_score, split
from wespk.metrics.measures import Measure

DET_POINTS = 500
HISTOGRAM_BINS = 60


def evaluate(systems, labels, speakers, p_targets=(0.01, 0.05), num_resamples=1000, seed=42):
    """Measure systems on one trial list and compare each with the first.

    systems: list of (name, scores (n,), llr), all in the order of labels (n,), 1 = target; llr: the scores are
    natural-log likelihood ratios. speakers: (enroll (n,), test (n,)) integers, for intervals that know which trials
    share speakers. num_resamples 0: no intervals, no comparisons (and speakers may be None).

    Returns {"num_targets", "num_nontargets", "num_speakers", "systems": [{"name", "llr", "eer_threshold", "metrics":
    {metric: {"value", "interval", "trial_interval"}}, "det", "histogram"}], "comparisons": [{"first", "second",
    "metrics": {metric: {"difference", "interval", "p"}}}]}. Rates are fractions; an interval is [low, high] or None.
    """
    for p_target in p_targets:
        check_prior(p_target)
    is_target = np.asarray(labels).astype(bool)
    counts = int(is_target.sum()), int((~is_target).sum())
    measures = [Measure(scores, labels, p_targets, llr) for _, scores, llr in systems]
    values = [m.of_list() for m in measures]
    result = {"num_targets": counts[0], "num_nontargets": counts[1], "num_speakers": None}
    by_speaker = by_trial = [None] * len(systems)
    if num_resamples:
        draw = SpeakerDraw(*speakers, labels)
        result["num_speakers"] = draw.num_speakers
        by_speaker = resample(measures, draw, num_resamples, seed)
        by_trial = resample(measures, TrialDraw(), num_resamples, seed)
    result["systems"] = []
    for (name, scores, llr), *measured in zip(systems, measures, values, by_speaker, by_trial):
        metrics = _with_intervals(*measured, resolution=1 / min(counts))
        result["systems"].append({"name": name, "llr": bool(llr), "metrics": metrics, **_of_scores(scores, labels)})
    result["comparisons"] = _compare(result["systems"], by_speaker) if num_resamples else []
    return result


def _with_intervals(measure, values, by_speaker, by_trial, resolution):
    metrics = {}
    for i, (name, value) in enumerate(zip(measure.names, values.tolist())):
        metrics[name] = {"value": value}
        bounded = name in ("eer", "overlap") or name.startswith("min_")
        for key, resampled in (("interval", by_speaker), ("trial_interval", by_trial)):
            ends = None if resampled is None else interval(value, resampled[:, i], resolution, bounded)
            metrics[name][key] = ends and list(ends)
    return metrics


def _compare(systems, by_speaker):
    """``systems``: evaluated entries; each after the first against the first, on the same resamples of speakers."""
    first, found = systems[0], []
    for system, resampled in zip(systems[1:], by_speaker[1:]):
        metrics = {}
        for i, (name, measured) in enumerate(first["metrics"].items()):
            if name in system["metrics"]:
                low, high, p = paired_test(by_speaker[0][:, i], resampled[:, list(system["metrics"]).index(name)])
                difference = system["metrics"][name]["value"] - measured["value"]
                metrics[name] = {"difference": difference, "interval": [low, high], "p": p}
        found.append({"first": first["name"], "second": system["name"], "metrics": metrics})
    return found


def _of_scores(scores, labels):
    parts = split(scores, labels)
    false_alarms, misses = det_curve(scores, labels, DET_POINTS)
    return {
        "eer_threshold": float(equal_error_score(parts)),
        "det": {"false_alarm": _short(false_alarms), "miss": _short(misses)},
        "histogram": histogram(parts),
    }


def histogram(parts, bins=HISTOGRAM_BINS):
    """Densities of the scores of a ``Split``: {"edges" (bins + 1,), "target" (bins,), "nontarget" (bins,)}.

    Infinite scores are counted in the end bins.
    """
    finite = np.concatenate([part[np.isfinite(part)] for part in parts])
    low, high = (finite.min(), finite.max()) if finite.size else (0.0, 0.0)
    low, high = (low, high) if low < high else (low - 0.5, high + 0.5)
    edges = np.linspace(low, high, bins + 1)
    counted = [np.histogram(np.clip(part, low, high), edges)[0] / part.size / (edges[1] - edges[0]) for part in parts]
    return {"edges": _short(edges), "target": _short(counted[0]), "nontarget": _short(counted[1])}


def _short(values):
    return [float(f"{value:.6g}") for value in values]
