"""What stands before PLDA: centring, LDA, whitening, length normalisation, and CORAL for another domain."""

from dataclasses import dataclass

import numpy as np

from wespk.scoring.plda import symmetric
from wespk.scoring.vectors import LEAST, check
from wespk.utils.errors import InputError

FLOOR = 1e-6  # of the largest eigenvalue, below which a variance is taken for none (Kaldi's covariance floor)


@dataclass(frozen=True)
class Front:
    """mean (D,) to subtract, matrix (R, D) to multiply with or None, then length sqrt(R) if length_norm."""

    mean: np.ndarray
    matrix: "np.ndarray | None" = None
    length_norm: bool = True

    def apply(self, vectors, keys, source):
        """Embeddings (n, D) float32 -> (n, R) float64.

        Raises ``InputError`` naming an embedding that is zero, not finite, the mean itself, or of another size.
        """
        check(vectors, keys, source)
        if vectors.shape[1] != self.mean.size:
            raise InputError(
                f"{source}: embeddings of {vectors.shape[1]} values, but those that PLDA was trained on have "
                f"{self.mean.size}: both must come from one model"
            )
        centred = vectors - self.mean
        lengths = np.linalg.norm(centred, axis=1)
        at = int(np.argmin(lengths / np.linalg.norm(vectors.astype(np.float64), axis=1)))
        if lengths[at] < LEAST * np.linalg.norm(vectors[at]):
            raise InputError(
                f"{source}: the embedding of '{keys[at]}' is the mean that is subtracted: take a larger set's"
            )
        prepared = centred if self.matrix is None else centred @ self.matrix.T
        if self.length_norm:
            prepared *= np.sqrt(prepared.shape[1]) / np.linalg.norm(prepared, axis=1)[:, None]
        return prepared


def lda(statistics, dim):
    """LDA as Kaldi's ivector-compute-lda: (dim, D) whose rows make the covariance within classes the identity.

    statistics: ``plda.ClassStatistics`` about the mean of all vectors; dim: the directions kept, of the most variance
    between classes first, at most D and the number of classes - 1. Raises ``InputError`` for any other dim.
    """
    statistics.check()
    most = min(statistics.scatter.shape[0], len(statistics.counts) - 1)
    if not 1 <= dim <= most:
        raise InputError(f"LDA to {dim} dimensions: with {len(statistics.counts)} speakers and embeddings of "
                         f"{statistics.scatter.shape[0]} values it must be 1 to {most}")  # fmt: skip
    number = statistics.counts.sum()
    within = statistics.within_scatter() / number
    between = symmetric(statistics.means.T @ statistics.sums) / number
    unit = whitening(within)
    _, directions = np.linalg.eigh(symmetric(unit @ between @ unit.T))
    return directions[:, : -dim - 1 : -1].T @ unit


def whitening(covariance):
    """(D, D) that makes a covariance (D, D) the identity; variances below ``FLOOR`` of the largest count as that."""
    values, directions = np.linalg.eigh(symmetric(covariance))
    return (directions / np.sqrt(np.maximum(values, FLOOR * values[-1]))).T


def coral(source, target, ridge=0.01):
    """CORAL: the matrix (D, D) that gives vectors of one covariance that of another domain, by symmetric roots.

    source, target (D, D): covariances; ridge: share of each one's mean variance added to its diagonal, against the
    noise of small sets. Sun, Feng and Saenko, "Return of frustratingly easy domain adaptation", AAAI 2016.
    Raises ``InputError`` for a negative ridge.
    """
    if ridge < 0:
        raise InputError(f"CORAL's ridge must not be negative, but is {ridge}")
    return _power(target, ridge, 0.5) @ _power(source, ridge, -0.5)


def _power(covariance, ridge, exponent):
    values, directions = np.linalg.eigh(symmetric(covariance))
    values = np.maximum(values + ridge * values.mean(), FLOOR * values[-1])
    return (directions * values**exponent) @ directions.T
