"""Score normalisation by a cohort: z-, t-, s- and adaptive s-norm.

With mean m and standard deviation d of the scores of one side of a trial against the cohort:
    z-norm: (score - m) / d of the enrolment      t-norm: the same of the test side      s-norm: the average of both
    as-norm: s-norm with m and d of each side's ``top_n`` highest cohort scores only (Matejka et al., "Analysis of score
    normalization in multilingual speaker recognition", Interspeech 2017, adaptive s-norm 1)
Standard deviations divide by N, not N - 1. A ``top_n`` above the cohort's size means all of it.
"""

import numpy as np

from wespk.scoring.vectors import blocks
from wespk.utils.errors import InputError

METHODS = {"znorm": ("enroll",), "tnorm": ("test",), "snorm": ("enroll", "test"), "asnorm": ("enroll", "test")}
ROWS, COLUMNS = 512, 8192


def z_norm(scores, enrol_cohort):
    """scores (n,), cohort scores (n, C) of each trial's enrolment side -> (n,) float64. Errors as in ``as_norm``."""
    return normalise(scores, [_statistics(enrol_cohort, "enrol_cohort")])


def t_norm(scores, test_cohort):
    """scores (n,), cohort scores (n, C) of each trial's test side -> (n,) float64. Errors as in ``as_norm``."""
    return normalise(scores, [_statistics(test_cohort, "test_cohort")])


def s_norm(scores, enrol_cohort, test_cohort):
    """scores (n,), cohort scores (n, C1), (n, C2) of both sides -> (n,) float64. Errors as in ``as_norm``."""
    return as_norm(scores, enrol_cohort, test_cohort, top_n=None)


def as_norm(scores, enrol_cohort, test_cohort, top_n=300):
    """Adaptive s-norm: scores (n,), cohort scores (n, C1), (n, C2) of each trial's two sides -> (n,) float64.

    top_n: how many of the highest cohort scores count on each side; more than there are, or None: all.
    Raises ``InputError`` for top_n < 1, NaN, or cohort scores without spread, which cannot normalise anything.
    """
    sides = (enrol_cohort, "enrol_cohort"), (test_cohort, "test_cohort")
    return normalise(scores, [_statistics(cohort, name, top_n) for cohort, name in sides])


def normalise(scores, statistics):
    """Average over sides of (scores - m) / d; statistics: list of (m, d), each (n,). Returns (n,) float64.

    Raises ``InputError`` for scores that are not finite, or not as many as the statistics.
    """
    scores = np.asarray(scores, dtype=np.float64)
    sizes = {scores.shape, *(mean.shape for mean, _ in statistics)}
    if len(sizes) > 1 or scores.ndim != 1:
        raise InputError(f"scores and cohort scores must be of the same trials, but there are {sorted(sizes)} of them")
    if not np.isfinite(scores).all():
        raise InputError(f"score {np.argmin(np.isfinite(scores)) + 1} is not finite; score the trials again")
    return sum((scores - mean) / deviation for mean, deviation in statistics) / len(statistics)


def _statistics(cohort_scores, name, top_n=None):
    values = np.asarray(cohort_scores)
    values = values.astype(np.float32 if values.dtype == np.float32 else np.float64)  # a copy: it is reordered
    if values.ndim != 2 or not values.shape[1]:
        raise InputError(f"{name} must be trials by cohort, (n, C) with C > 0, not {values.shape}")
    check_top_n(top_n)
    if top_n is not None and top_n < values.shape[1]:
        values.partition(values.shape[1] - top_n, axis=1)
        values = values[:, values.shape[1] - top_n :]
    mean, deviation = _moments(values)
    names = [f"row {i} of {name}" for i in range(len(mean))]
    check_spread(mean, deviation, np.abs(values).max(axis=1), values.dtype, names)
    return mean, deviation


def check_top_n(top_n):
    """Raise ``InputError`` unless ``top_n`` is None or at least 1."""
    if top_n is not None and top_n < 1:
        raise InputError(f"top_n must be at least 1, not {top_n}")


def _moments(values):
    """Mean and standard deviation (dividing by N) of each row of (n, k), float64."""
    mean = values.mean(axis=1, dtype=np.float64)
    centred = values - mean[:, None].astype(values.dtype)
    square = np.einsum("nk,nk->n", centred, centred, dtype=np.float64) / values.shape[1]
    rest = mean - mean.astype(values.dtype)  # what rounding the mean left in each centred value
    return mean, np.sqrt(np.maximum(square - rest**2, 0.0))


def check_spread(mean, deviation, largest, dtype, names):
    """Raise ``InputError`` where a deviation (n,) is no more than the rounding of scores of size ``largest`` (n,)."""
    bad = np.flatnonzero(~(deviation > 4 * np.finfo(dtype).eps * largest) | ~np.isfinite(mean))
    if bad.size:
        at = bad[0]
        raise InputError(
            f"the cohort scores of {names[at]} are all equal or not finite (mean {mean[at]:g}, deviation "
            f"{deviation[at]:g}): normalisation needs a cohort of several different speakers, and top_n of 2 or more"
        )


def cohort_statistics(vectors, cohort, names, top_n=None, rows=None):
    """Mean and standard deviation, each (N,) float64, of the cosines of vectors (N, D) with the cohort (C, D).

    Both length-normalised float32; names: the vectors' ids, for messages; top_n: of the highest only, None or more than
    C: of all; rows: compute these rows alone and leave NaN elsewhere. Works on tiles of ROWS x (COLUMNS + top_n) scores
    with a running top_n, so the memory it needs grows with neither N nor C.
    """
    check_top_n(top_n)
    rows = np.arange(len(vectors)) if rows is None else rows
    moments = _all_moments if top_n is None or top_n >= len(cohort) else _top_moments
    mean, deviation = np.full((2, len(vectors)), np.nan)
    for part in blocks(len(rows), ROWS):
        some = rows[part]
        mean[some], deviation[some] = moments(vectors[some], cohort, top_n)
        check_spread(mean[some], deviation[some], 1.0, np.float32, [names[i] for i in some])
    return mean, deviation


def _top_moments(vectors, cohort, top_n):
    tile = np.empty((len(vectors), top_n + min(COLUMNS, len(cohort))), dtype=np.float32)
    kept = 0  # the highest so far stand in the first columns
    for part in blocks(len(cohort), COLUMNS):
        scores = tile[:, : kept + part.stop - part.start]
        np.matmul(vectors, cohort[part].T, out=scores[:, kept:])
        kept = min(scores.shape[1], top_n)
        scores.partition(scores.shape[1] - kept, axis=1)
        tile[:, :kept] = scores[:, scores.shape[1] - kept :]
    return _moments(tile[:, :kept])


def _all_moments(vectors, cohort, _):
    mean = vectors.astype(np.float64) @ cohort.mean(axis=0, dtype=np.float64)
    square = np.zeros(len(vectors))
    for part in blocks(len(cohort), COLUMNS):
        scores = vectors @ cohort[part].T
        scores -= mean[:, None].astype(np.float32)
        square += np.einsum("nk,nk->n", scores, scores, dtype=np.float64)
    return mean, np.sqrt(square / len(cohort))


def norm_trials(method, scores, sides, cohort, top_n=300):
    """Normalise the scores (n,) of trials by a cohort (C, D) of length-normalised vectors: (n,) float64.

    method: one of ``METHODS``; sides: a ``vectors.Sides`` of the trials; top_n: for asnorm. Each id is compared with
    the cohort once, however many trials name it.
    """
    top_n = top_n if method == "asnorm" else None
    rows = {side: getattr(sides, f"{side}_rows") for side in METHODS[method]}
    if len(rows) == 2 and sides.enroll is sides.test:
        found = dict.fromkeys(rows, cohort_statistics(sides.enroll, cohort, sides.enroll_keys, top_n))
    else:
        found = {}
        for side, used in rows.items():
            vectors, keys = getattr(sides, side), getattr(sides, f"{side}_keys")
            found[side] = cohort_statistics(vectors, cohort, keys, top_n, np.unique(used))
    return normalise(scores, [tuple(values[rows[side]] for values in found[side]) for side in rows])
