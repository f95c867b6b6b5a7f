"""Embeddings made ready for scoring: checked, centred on the mean of a stated set, length-normalised."""

import os
from collections import defaultdict

import numpy as np

from wespk.io.ark import read_scp, read_vectors
from wespk.io.tables import read_spk2utt
from wespk.utils.errors import InputError
from wespk.utils.registry import nearest

BLOCK = 4096
MEANS = ("normalised", "plain")  # of the utterances of an enrolment; the first is what is done unless another is asked for
LEAST = 1e-6  # a centred vector shorter than this share of itself is float32 rounding


def blocks(size, block=None):
    """Slices that part ``range(size)`` into runs of at most ``block`` (default: BLOCK)."""
    block = block or BLOCK
    return (slice(start, min(start + block, size)) for start in range(0, size, block))


def check(vectors, keys, source):
    """Raise ``InputError`` naming the first of vectors (N, D) that is all zeros, or holds NaN or infinity."""
    energy = np.einsum("nd,nd->n", vectors, vectors, dtype=np.float64)
    bad = np.flatnonzero(~(energy > 0) | ~np.isfinite(energy))
    if bad.size:
        what = "all zeros" if energy[bad[0]] == 0 else "not finite (NaN or infinity)"
        raise InputError(f"{source}: the embedding of '{keys[bad[0]]}' is {what}; check its audio and extract it again")


def normalise(vectors, keys, mean=None, source="embeddings"):
    """Centre and length-normalise vectors (N, D) float32 in place, computing in float64; returns them.

    mean: (D,) to subtract, or None. Raises ``InputError`` naming a vector that is zero, not finite, or the mean itself.
    """
    if mean is not None and mean.shape != vectors.shape[1:]:
        raise InputError(
            f"{source}: embeddings of {vectors.shape[1]} values, but the mean to subtract has {mean.size}: both must "
            "come from one model"
        )
    for part in blocks(len(vectors)):
        check(vectors[part], keys[part], source)
        centred = vectors[part].astype(np.float64)
        before = np.linalg.norm(centred, axis=1)
        centred -= 0.0 if mean is None else mean
        lengths = np.linalg.norm(centred, axis=1)
        left = lengths / before
        if left.min() < LEAST:
            key = keys[part.start + int(np.argmin(left))]
            raise InputError(f"{source}: the embedding of '{key}' is the mean that is subtracted: take a larger set's")
        vectors[part] = centred / lengths[:, None]
    return vectors


def read_blocks(scp, table=None):
    """Yield (keys, vectors (n, D) float32) of an scp in bounded memory; ``table``: its contents, if at hand."""
    table = read_scp(scp) if table is None else table
    keys = list(table)
    if not keys:
        raise InputError(f"{scp}: has no embeddings; run the stage that extracts them")
    size = None
    for part in blocks(len(keys)):
        _, vectors = read_vectors({key: table[key] for key in keys[part]})
        size = size or vectors.shape[1]
        if vectors.shape[1] != size:
            raise InputError(
                f"{scp}: '{keys[part.start]}' has {vectors.shape[1]} values, those before it {size}: all must come "
                "from one model"
            )
        yield keys[part], vectors


def read_mean(scp):
    """Mean (D,) float64 over all embeddings of an scp; None for the word ``none``: subtract nothing."""
    if str(scp) == "none":
        return None
    if not os.path.isfile(scp):
        raise InputError(f"{scp}: no such file; --mean-embeddings takes an scp, whose mean is subtracted, or 'none'")
    total, count = 0.0, 0
    for keys, vectors in read_blocks(scp):
        check(vectors, keys, scp)
        total = total + vectors.sum(axis=0, dtype=np.float64)
        count += len(keys)
    return total / count


class Sides:
    """The embeddings of both sides of a trial list, each read once, centred and length-normalised.

    enroll_ids, test_ids: lists of ids (n,); embeddings: scp of both sides, or of the test side when
    ``enroll_embeddings`` names the enrolment's own; mean: see ``normalise``. ``enroll`` (N, D) and ``test`` (M, D)
    float32 hold the vectors (one array when there is one scp), ``enroll_rows`` and ``test_rows`` (n,) int32 each
    trial's rows in them, ``enroll_keys`` and ``test_keys`` the rows' ids. models: path of a table that makes each
    enrolment the average of several utterances, enroll_mean: of which kind; see ``average_models``. Raises ``InputError``
    for an id without an embedding.
    """

    def __init__(self, enroll_ids, test_ids, embeddings, enroll_embeddings="", mean=None, models="",
                 enroll_mean=MEANS[0]):  # fmt: skip
        check_enroll_mean(enroll_mean, models)
        if models:
            scp = enroll_embeddings or embeddings
            self.enroll_keys, self.enroll, self.enroll_rows = average_models(enroll_ids, models, scp, mean, enroll_mean)
            self.test_keys, self.test, (self.test_rows,) = _read([test_ids], embeddings, mean)
        elif enroll_embeddings and str(enroll_embeddings) != str(embeddings):
            self.enroll_keys, self.enroll, (self.enroll_rows,) = _read([enroll_ids], enroll_embeddings, mean)
            self.test_keys, self.test, (self.test_rows,) = _read([test_ids], embeddings, mean)
        else:
            keys, vectors, rows = _read([enroll_ids, test_ids], embeddings, mean)
            self.enroll_keys, self.enroll, self.enroll_rows = keys, vectors, rows[0]
            self.test_keys, self.test, self.test_rows = keys, vectors, rows[1]
        if self.enroll.shape[1] != self.test.shape[1]:
            raise InputError(
                f"{enroll_embeddings} has embeddings of {self.enroll.shape[1]} values, {embeddings} of "
                f"{self.test.shape[1]}: both sides must come from one model"
            )


def rows_of(id_lists, scp):
    """(the scp's entries that the lists of ids name, in its order: dict; each list's rows in them, int32).

    Raises ``InputError`` for an id without an embedding.
    """
    numbers = defaultdict()  # of ids in the order in which they occur first: one look-up for each occurrence
    numbers.default_factory = numbers.__len__
    found = [np.fromiter(map(numbers.__getitem__, ids), np.int32, len(ids)) for ids in id_lists]
    table = read_scp(scp)
    missing = numbers.keys() - table.keys()
    if missing:
        raise InputError(
            f"{scp}: no embedding of '{min(missing)}', which the trials name ({len(missing)} such ids); extract the "
            "set that holds it"
        )
    table = {key: spec for key, spec in table.items() if key in numbers}
    row_of = np.empty(len(table), np.int32)
    row_of[[numbers[key] for key in table]] = np.arange(len(table), dtype=np.int32)
    return table, [row_of[numbered] for numbered in found]


def _read(id_lists, scp, mean):
    """(keys, vectors (N, D), rows in them of each list) of the ids named, in the scp's order."""
    table, rows = rows_of(id_lists, scp)
    return list(table), read_normalised(scp, table, mean), rows


def read_models(keys, models):
    """The utterances of each of the enrolments ``keys``: a list of lists.

    models: table of lines ``enrolment utterance utterance ...``; without one each key is its own utterance. Raises
    ``InputError`` for a key that the table lacks.
    """
    if not models:
        return [[key] for key in keys]
    made_of = read_spk2utt(models)
    lost = next((key for key in keys if key not in made_of), None)
    if lost is not None:
        raise InputError(f"{models}: no line for the enrolment '{lost}'; give the table that belongs to the trial list")
    return [made_of[key] for key in keys]


def check_enroll_mean(enroll_mean, models):
    """Raise ``InputError`` for a kind of mean that there is not, and for another than the default without averages."""
    if enroll_mean not in MEANS:
        raise InputError(f"--enroll-mean '{enroll_mean}' is unknown{nearest(enroll_mean, MEANS)}; known: {', '.join(MEANS)}")
    if enroll_mean != MEANS[0] and not models:
        raise InputError(f"--enroll-mean {enroll_mean} is about enrolments that are averages: give --models, or leave it out")


def group_means(vectors, counts):
    """Means (K, D) float64 of ``vectors`` (N, D), the first ``counts[0]``, the next ``counts[1]`` and so on; counts (K,) int."""
    return np.add.reduceat(vectors, np.cumsum(counts) - counts, axis=0, dtype=np.float64) / counts[:, None]


def average_models(enroll_ids, models, scp, mean, enroll_mean=MEANS[0]):
    """(keys, vectors (N, D) float32, each trial's row (n,) int32) of enrolments made of several utterances.

    enroll_ids: ids (n,); models: table of lines ``enrolment utterance utterance ...``. A vector is the mean of its
    utterances' embeddings, each centred on ``mean`` and length-normalised (enroll_mean "plain": of the embeddings as they
    are, and then centred), and is length-normalised again. Raises ``InputError`` for an enrolment that the table lacks,
    an utterance without an embedding, and utterances that cancel out.
    """
    keys = list(dict.fromkeys(enroll_ids))
    made_of = read_models(keys, models)
    utterances = [utterance for group in made_of for utterance in group]
    table, (rows,) = rows_of([utterances], scp)
    plain = enroll_mean == "plain"
    vectors = read_raw(scp, table) if plain else read_normalised(scp, table, mean)
    counts = np.array([len(group) for group in made_of])
    means = group_means(vectors[rows], counts)
    row_of = {key: row for row, key in enumerate(keys)}
    source = f"averages over the utterances of {models}"
    averages = normalise(means.astype(np.float32), keys, mean if plain else None, source)
    return keys, averages, np.fromiter(map(row_of.__getitem__, enroll_ids), np.int32, len(enroll_ids))


def read_raw(scp, table):
    """The embeddings of ``table``, an scp's contents or part of them, as they are, checked: (N, D) float32."""
    found = []
    for keys, block in read_blocks(scp, table):
        check(block, keys, scp)
        found.append(block)
    return np.concatenate(found)


def read_normalised(scp, table, mean):
    """The embeddings of ``table``, an scp's contents or part of them: (N, D) float32, see ``normalise``.

    Read in blocks, so that of an ark in order only a part is in memory twice.
    """
    vectors, done = None, 0
    for keys, block in read_blocks(scp, table):
        vectors = np.empty((len(table), block.shape[1]), np.float32) if vectors is None else vectors
        vectors[done : done + len(keys)] = normalise(block, keys, mean, scp)
        done += len(keys)
    return vectors
