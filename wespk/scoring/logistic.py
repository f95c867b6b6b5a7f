"""Calibration and fusion: scores, and measures of quality beside them, turned into natural-log likelihood ratios.

Prior-weighted logistic regression: of llr(x) = w x + b the w and b are taken that minimise

    p mean over targets of log(1 + exp(-llr - logit p)) + (1 - p) mean over nontargets of log(1 + exp(llr + logit p))

(Bruemmer and du Preez, "Application-independent evaluation of speaker detection", Computer Speech and Language, 2006;
for quality measures see Mandasari et al., "Quality measure functions for calibration of speaker recognition systems in
various duration conditions", IEEE TASLP, 2013). p is the prior that the ratios should serve best, not that of the list.
"""

import json
from dataclasses import asdict, dataclass

import numpy as np

from wespk.io.atomic import write_text
from wespk.metrics.det import bayes_threshold, check_prior
from wespk.utils.errors import InputError

FORMAT = 1
MOST_STEPS = 200
CONVERGED = 1e-12  # squared Newton decrement


@dataclass(frozen=True)
class Calibration:
    """llr = features (n, K) @ weights + offset; names: of the K features, in order; p_target: trained for."""

    names: list
    weights: list
    offset: float
    p_target: float

    def llr(self, features):
        """Features (n, K) -> natural-log likelihood ratios (n,) float64."""
        return np.asarray(features, dtype=np.float64) @ np.array(self.weights) + self.offset

    def save(self, path, about):
        """Write as JSON; about: dict of plain values to be noted."""
        write_text(path, json.dumps({"format": FORMAT, **asdict(self), **about}, indent=1) + "\n")


def load(path):
    """Read a ``Calibration``. Raises ``InputError`` naming a file that is none."""
    try:
        with open(path, encoding="utf-8") as file:
            kept = json.load(file)
        if kept["format"] == FORMAT:
            return Calibration(kept["names"], kept["weights"], kept["offset"], kept["p_target"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: cannot be read as a calibration ({error}); run train_calibration") from None
    raise InputError(f"{path}: not written by this train_calibration (no format {FORMAT}); run it again")


def fit(features, labels, names, p_target=0.05, l2=0.0):
    """Find the ``Calibration`` of features (n, K) and labels (n,), 1 = target.

    names: of the K features; l2: weight of half the squared length of w, for features scaled to deviation 1. Newton's
    method with step halving; the loss is convex. Raises ``InputError`` for a list of one class, values that are not
    finite or do not vary, and, without l2, trials that the features part without error: no ratio is large enough then.
    """
    check_prior(p_target)
    if l2 < 0:
        raise InputError(f"--l2 must not be negative, but is {l2}")
    features, is_target = np.asarray(features, dtype=np.float64), np.asarray(labels) == 1
    counts = int(is_target.sum()), int((~is_target).sum())
    if not all(counts):
        raise InputError(f"{counts[0]} target and {counts[1]} nontarget trials: calibration takes both kinds")
    mean, deviation = _spread(features, names)
    x = np.column_stack([(features - mean) / deviation, np.ones(len(features))])
    sign = np.where(is_target, 1.0, -1.0)
    weight = np.where(is_target, p_target / counts[0], (1 - p_target) / counts[1])
    penalty = np.r_[np.full(x.shape[1] - 1, l2), 0.0]
    theta = _newton(x * sign[:, None], sign * -bayes_threshold(p_target), weight, penalty)
    if theta is None or (not l2 and (sign * (x @ theta) > 0).all()):
        raise InputError(
            f"the {len(features)} trials do not determine a calibration: {', '.join(names)} part targets from "
            "nontargets without error, or say the same as one another; take more or harder trials, fewer measures, "
            "or give a penalty such as --l2 1e-3"
        )
    weights = theta[:-1] / deviation
    return Calibration(list(names), weights.tolist(), float(theta[-1] - weights @ mean), p_target)


def _spread(features, names):
    """Mean and standard deviation (K,) of the features; ``InputError`` naming one that is constant or not finite."""
    mean, deviation = features.mean(axis=0), features.std(axis=0)
    for name, m, d in zip(names, mean, deviation, strict=True):
        if not d > 1e-9 * abs(m):
            raise InputError(f"'{name}' is {m:g} for every trial, or not finite: leave it out, or measure it again")
    return mean, deviation


def _newton(x, shift, weight, penalty):
    """Minimise sum of weight * log(1 + exp(-(x theta + shift))) + penalty theta^2 / 2; None if there is no minimum.

    x (n, P), shift, weight (n,), penalty (P,).
    """

    def loss_of(theta):
        return weight @ np.logaddexp(0.0, -(x @ theta + shift)) + 0.5 * penalty @ theta**2

    theta = np.zeros(x.shape[1])
    loss = loss_of(theta)
    for _ in range(MOST_STEPS):
        wrong = np.exp(-np.logaddexp(0.0, x @ theta + shift))  # the probability given to the other class
        gradient = penalty * theta - x.T @ (weight * wrong)
        hessian = (x * (weight * wrong * (1 - wrong))[:, None]).T @ x + np.diag(penalty)
        if np.linalg.cond(hessian) > 1e14:
            return None
        step = np.linalg.solve(hessian, gradient)
        decrement, size = gradient @ step, 1.0
        if decrement < CONVERGED * max(loss, CONVERGED):
            return theta - step
        while loss_of(theta - size * step) > loss - 1e-4 * size * decrement and size > 1e-10:
            size /= 2
        theta = theta - size * step
        loss = loss_of(theta)
    return None
