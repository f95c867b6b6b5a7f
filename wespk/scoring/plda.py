"""Two-covariance PLDA: its estimation, its likelihood ratios, and its adaptation to another domain, as in Kaldi.

The model: a speaker's mean is drawn from N(mean, between), an embedding from N(speaker's mean, within); Ioffe,
"Probabilistic linear discriminant analysis", ECCV 2006; Kaldi's ``ivector/plda.cc`` is what the numbers agree with.
A trained model is kept diagonal: ``transform`` makes within the identity and between diag(``psi``), psi descending.
"""

from dataclasses import dataclass

import numpy as np

from wespk.scoring.vectors import blocks
from wespk.utils.errors import InputError


class ClassStatistics:
    """Counts (S,), sums (S, D) and total scatter (D, D) about 0 of vectors of S classes, gathered block by block.

    Vectors should be roughly centred: the scatter within classes is found by a difference.
    """

    def __init__(self, num_classes, dim):
        self.counts = np.zeros(num_classes, dtype=np.int64)
        self.sums = np.zeros((num_classes, dim))
        self.scatter = np.zeros((dim, dim))

    def add(self, vectors, classes):
        """Add vectors (n, D) float64 of the classes (n,) given by number."""
        order = np.argsort(classes, kind="stable")
        classes, vectors = classes[order], vectors[order]
        first = np.flatnonzero(np.diff(classes, prepend=-1))
        self.sums[classes[first]] += np.add.reduceat(vectors, first, axis=0)
        self.counts += np.bincount(classes, minlength=len(self.counts))
        self.scatter += vectors.T @ vectors
        return self

    @property
    def means(self):
        """Class means (S, D)."""
        return self.sums / self.counts[:, None]

    def within_scatter(self):
        """Scatter (D, D) of the vectors about their class means."""
        return symmetric(self.scatter - self.means.T @ self.sums)

    def check(self):
        """Raise ``InputError`` when there is nothing to tell speakers from sessions by."""
        several = int((self.counts > 1).sum())
        if len(self.counts) < 2 or not several:
            raise InputError(
                f"{len(self.counts)} speakers, {several} of them with two or more utterances: PLDA and LDA take at "
                "least two speakers, some with several utterances; train on a larger set"
            )
        return self


@dataclass(frozen=True)
class Plda:
    """mean (D,), transform (D, D), psi (D,), float64; see the module."""

    mean: np.ndarray
    transform: np.ndarray
    psi: np.ndarray

    def project(self, vectors, counts=1, length_norm=True):
        """Vectors (N, D), each the mean over ``counts`` (N,) or 1 embeddings -> (N, D) in the diagonal space.

        length_norm: scaled so that the squared length, measured by the covariance psi + 1/count that the model expects
        of it, is D (Kaldi's --normalize-length). Raises ``InputError`` for a wrong D.
        """
        if vectors.shape[1] != self.mean.size:
            raise InputError(f"vectors of {vectors.shape[1]} values, but the PLDA model has {self.mean.size}: both "
                             "must come from one model and one preparation")  # fmt: skip
        projected = (vectors - self.mean) @ self.transform.T
        if length_norm:
            expected = self.psi + 1.0 / np.broadcast_to(counts, len(vectors))[:, None]
            projected *= np.sqrt(self.mean.size / np.sum(projected**2 / expected, axis=1))[:, None]
        return projected

    def log_ratios(self, enroll, counts, test, enroll_rows, test_rows):
        """Natural-log likelihood ratios (n,) float64 of "one speaker" to "two" of the pairs given by rows (n,).

        enroll (N, D), test (M, D): from ``project``; counts (N,): number of embeddings averaged in each of enroll.
        One dot product a trial: the squares are summed once for each enrolment, and test and distinct count.
        """
        values, which = np.unique(counts, return_inverse=True)
        shrunk = self.psi * values[:, None] / (1.0 + self.psi * values[:, None])
        precision = 1.0 / (1.0 + self.psi / (1.0 + self.psi * values[:, None]))  # of a test, given the enrolment
        expected = shrunk[which] * enroll
        weighted = expected * precision[which]
        constant = np.einsum("nd,nd->n", weighted, expected)
        constant -= np.sum(np.log(precision), axis=1)[which] + np.sum(np.log1p(self.psi))
        squares = test**2 @ (precision - 1.0 / (1.0 + self.psi)).T
        scores = np.empty(len(enroll_rows))
        for part in blocks(len(scores)):
            rows, others = enroll_rows[part], test_rows[part]
            cross = np.einsum("nd,nd->n", weighted[rows], test[others])
            scores[part] = cross - 0.5 * (constant[rows] + squares[others, which[rows]])
        return scores

    def smoothed(self, factor):
        """The model with factor x between added to within (Kaldi's SmoothWithinClassCovariance); factor >= 0."""
        if factor < 0:
            raise InputError(f"smoothing must not be negative, but is {factor}")
        within = 1.0 + factor * self.psi
        return Plda(self.mean, self.transform / np.sqrt(within)[:, None], self.psi / within)

    def adapted(self, mean, covariance, within_scale=0.3, between_scale=0.7, mean_diff_scale=1.0):
        """The model with its mean and variances moved to unlabelled vectors of another domain.

        mean (D,), covariance (D, D): theirs. Directions in which they vary more than the model expects get the excess
        added: ``within_scale`` of it to within, ``between_scale`` to between. mean_diff_scale: how much of the
        shift of the mean counts as variance. As Kaldi's ivector-adapt-plda, its defaults included.
        """
        for name, value in (("within", within_scale), ("between", between_scale), ("mean-diff", mean_diff_scale)):
            if value < 0:
                raise InputError(f"the adaptation's {name} scale must not be negative, but is {value}")
        shift = mean - self.mean
        variance = covariance + mean_diff_scale * np.outer(shift, shift)
        unit = self.transform / np.sqrt(1.0 + self.psi)[:, None]  # makes the model's total variance the identity
        excess, directions = np.linalg.eigh(symmetric(unit @ variance @ unit.T))
        excess = np.maximum(excess - 1.0, 0.0)
        within = directions.T @ np.diag(1.0 / (1.0 + self.psi)) @ directions + np.diag(within_scale * excess)
        between = directions.T @ np.diag(self.psi / (1.0 + self.psi)) @ directions + np.diag(between_scale * excess)
        back = np.linalg.inv(directions.T @ unit)
        return Plda(mean, *diagonalise(back @ within @ back.T, back @ between @ back.T))


def estimate(statistics, iterations=10):
    """Estimate a ``Plda`` from ``ClassStatistics`` by EM from identity matrices, as Kaldi's ivector-compute-plda does.

    The mean is that of the class means, every class counting once. Raises ``InputError`` as ``ClassStatistics.check``,
    and for iterations < 1.
    """
    statistics.check()
    if iterations < 1:
        raise InputError(f"PLDA takes at least one iteration, not {iterations}")
    means, scatter = statistics.means, statistics.within_scatter()
    mean = means.mean(axis=0)
    groups = [(n, means[statistics.counts == n] - mean) for n in np.unique(statistics.counts)]
    within = between = np.eye(mean.size)
    for _ in range(iterations):
        within, between = _iterate(groups, scatter, within, between)
    return Plda(mean, *diagonalise(within, between))


def _iterate(groups, scatter, within, between):
    """One EM step. groups: list of (n, centred means (S_n, D) of the classes of n vectors)."""
    inverse_within, inverse_between = np.linalg.inv(within), np.linalg.inv(between)
    new_within, new_between, vectors, classes = scatter.copy(), np.zeros_like(between), 0, 0
    for n, means in groups:
        posterior = np.linalg.inv(inverse_between + n * inverse_within)  # of a class's mean, given its vectors
        expected = n * means @ inverse_within @ posterior
        rest = means - expected
        new_between += len(means) * posterior + expected.T @ expected
        new_within += n * (len(means) * posterior + rest.T @ rest)
        vectors, classes = vectors + n * len(means), classes + len(means)
    return symmetric(new_within / vectors), symmetric(new_between / classes)


def diagonalise(within, between):
    """(transform A (D, D), psi (D,) descending): A within A' = I, A between A' = diag(psi).

    Raises ``InputError`` when within is not positive definite.
    """
    try:
        whiten = np.linalg.inv(np.linalg.cholesky(symmetric(within)))
    except np.linalg.LinAlgError:
        raise InputError(
            "the covariance within speakers is singular: train on more utterances, or reduce the dimension (LDA)"
        ) from None
    psi, directions = np.linalg.eigh(symmetric(whiten @ between @ whiten.T))
    return directions[:, ::-1].T @ whiten, np.maximum(psi[::-1], 0.0)


def symmetric(matrix):
    """A square matrix without the asymmetry that rounding left in it."""
    return (matrix + matrix.T) / 2
