"""Quality measures of the two sides of trials, and the features that calibration makes of them.

Each measure is a table ``id value``: of an utterance, or of an enrolment made of several:

    duration    natural log of its seconds, all utterances together
    magnitude   natural log of the embedding's length before anything is subtracted, averaged over the utterances
    cohort      mean of its ``top_n`` highest cosines with the cohort: how much it is like others
    snr         decibels between its loud and its quiet frames (5th and 95th percentile), averaged over the utterances
"""

from pathlib import Path

import numpy as np

from wespk.data.stored import read_stamp
from wespk.io.ark import read_array, read_scp
from wespk.io.tables import read_numbers, read_scores, write_table
from wespk.scoring.norm import cohort_statistics
from wespk.scoring.vectors import check, read_blocks, read_models, rows_of
from wespk.utils.errors import InputError

DECIBELS = 10 / np.log(10)  # of a natural-log power


def durations(groups, utt2dur):
    """Log seconds (N,) of groups of utterances (lists of ids). Raises ``InputError`` for one that the table lacks."""
    seconds = read_numbers(utt2dur, float)
    return np.array([np.log(sum(_value(seconds, key, utt2dur) for key in group)) for group in groups])


def _value(table, key, path):
    if key not in table or not table[key] > 0:
        raise InputError(f"{path}: no positive value for '{key}', which the trials name; give the evaluation set's")
    return table[key]


def magnitudes(groups, scp):
    """Mean log length (N,) of the groups' embeddings in an scp."""
    table, (rows,) = rows_of([[key for group in groups for key in group]], scp)
    found = []
    for keys, block in read_blocks(scp, table):
        check(block, keys, scp)
        found.append(np.log(np.linalg.norm(block.astype(np.float64), axis=1)))
    return _averages(np.concatenate(found)[rows], groups)


def _averages(values, groups):
    counts = np.array([len(group) for group in groups])
    return np.add.reduceat(values, np.cumsum(counts) - counts) / counts


def levels(groups, feats_scp):
    """Mean (N,) over each group's utterances of the level, in dB, between loud and quiet frames of log-mel features."""
    made_with = read_stamp(Path(feats_scp).parent)
    if made_with.get("type", "fbank") != "fbank":
        raise InputError(f"{feats_scp}: features of type {made_with['type']}, but snr is measured on log-mel ones (fbank): "
                         "leave it out, or give feats.scp of such")  # fmt: skip
    table, known = read_scp(feats_scp), {}
    for key in sorted({key for group in groups for key in group}, key=lambda key: table.get(key, "")):
        if key not in table:
            raise InputError(f"{feats_scp}: no features of '{key}', which the trials name; give the evaluation set's")
        energy = np.logaddexp.reduce(read_array(table[key], key), axis=1)
        low, high = np.percentile(energy, (5, 95))
        known[key] = DECIBELS * (high - low)
    return _averages(np.array([known[key] for group in groups for key in group]), groups)


def measure(sides, models, scp, cohort, top_n, utt2dur="", feats_scp=""):
    """Measures of all ids of both sides: {measure: {id: value}}; duration and snr only with their files.

    sides: ``vectors.Sides`` of the trials; models: its table of averages, or ""; scp: of the embeddings; cohort: (C, D)
    length-normalised. Raises ``InputError`` for an id that is an enrolment of several utterances and an utterance too.
    """
    found, both = {}, [(sides.enroll_keys, sides.enroll, models), (sides.test_keys, sides.test, "")]
    for keys, vectors, made_of in both[sides.enroll is sides.test :]:  # one array of both sides is measured once
        groups = read_models(keys, made_of)
        values = {"magnitude": magnitudes(groups, scp), "cohort": cohort_statistics(vectors, cohort, keys, top_n)[0]}
        if utt2dur:
            values["duration"] = durations(groups, utt2dur)
        if feats_scp:
            values["snr"] = levels(groups, feats_scp)
        for name, column in values.items():
            table = found.setdefault(name, {})
            double = next((k for k, v in zip(keys, column) if abs(table.get(k, v) - v) > 1e-6 * abs(v)), None)
            if double is not None:
                raise InputError(f"{models}: '{double}' is an enrolment and an utterance: rename the enrolment")
            table.update(zip(keys, column.tolist()))
    return found


def write_measures(folder, found):
    """Write a table for each measure into a folder."""
    for name, table in found.items():
        write_table(Path(folder) / name, {key: f"{value:.9g}" for key, value in table.items()})


def features_of(score_files, measure_files=()):
    """Features of the trials of score files, systems to be fused, which must list the same trials in the same order.

    measure_files: tables of measures; of each the smaller of the two sides' values counts, and the difference. Returns
    (enroll ids, test ids, features (n, K), their names). Raises ``InputError`` for lists that differ and ids without a
    value.
    """
    columns, names, pairs = [], [], None
    for i, path in enumerate(score_files):
        enroll, test, scores = read_scores(path)
        if pairs is None:
            pairs = enroll, test
        elif pairs != (enroll, test):
            both = enumerate(zip(zip(*pairs), zip(enroll, test)))
            at = next((n for n, (a, b) in both if a != b), min(len(pairs[0]), len(test)))
            raise InputError(f"{path}:{at + 1}: not the trial that {score_files[0]} has there; score one list by all")
        columns.append(scores)
        names.append(f"score{i + 1}" if len(score_files) > 1 else "score")
    for path in measure_files:
        table = read_numbers(path, float)
        lost = next((key for side in pairs for key in side if key not in table), None)
        if lost is not None:
            raise InputError(f"{path}: no value for '{lost}' of {score_files[0]}; measure the same trial list")
        one, other = (np.fromiter(map(table.__getitem__, side), np.float64, len(side)) for side in pairs)
        columns += [np.minimum(one, other), np.abs(one - other)]
        names += [f"{Path(path).name}.min", f"{Path(path).name}.difference"]
    return *pairs, np.column_stack(columns), names
