"""Cosine scores of trials."""

import numpy as np

from wespk.scoring.vectors import MEANS, Sides, blocks, read_mean


def cosine_scores(enroll, test, enroll_rows, test_rows):
    """Cosines (n,) float32 in [-1, 1] of the pairs (enroll[enroll_rows[i]], test[test_rows[i]]).

    enroll (N, D), test (M, D): length-normalised; rows (n,) integers. Gathered in blocks: memory does not grow with n.
    """
    scores = np.empty(len(enroll_rows), dtype=np.float32)
    for part in blocks(len(scores)):
        np.einsum("nd,nd->n", enroll[enroll_rows[part]], test[test_rows[part]], out=scores[part])
    return np.clip(scores, -1, 1, out=scores)


def score_trials(enroll_ids, test_ids, embeddings, enroll_embeddings="", mean_embeddings="none", models="",
                 enroll_mean=MEANS[0]):  # fmt: skip
    """Cosine scores (n,) float32 of trials given by ids, from scp files of embeddings.

    The mean of all embeddings in ``mean_embeddings`` (an scp, or ``none``) is subtracted first. models: table of the
    enrolments that are averages over several utterances; enroll_mean: of which kind. See ``vectors.Sides``.
    """
    sides = Sides(enroll_ids, test_ids, embeddings, enroll_embeddings, read_mean(mean_embeddings), models, enroll_mean)
    return cosine_scores(sides.enroll, sides.test, sides.enroll_rows, sides.test_rows)
