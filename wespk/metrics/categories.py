"""Equal error rates by the categories of a trial's two sides, such as the genres of enrolment and test.

Each cell is a trial list of its own, with its own threshold: it says how well the two kinds of speech can be told apart in
themselves, not what one threshold for all would do.
"""

import numpy as np

from wespk.metrics.det import eer

LEAST = 20  # targets, and nontargets, that a cell must have: with fewer, one trial changes the EER by more than 5 %
SEVERAL, ALL = "(several)", "(all)"  # names of no category
JOINS = "+"  # between the categories of an utterance that is made of several, as in `singing+speech`


def category(value):
    """The row or column of a table's value: itself, or ``SEVERAL`` for one that joins different categories."""
    return SEVERAL if len(set(value.split(JOINS))) > 1 else value.split(JOINS)[0]


def by_category(systems, labels, enroll, test):
    """EER of systems in each cell (category of the enrolment, category of the test) of one trial list.

    systems: list of scores (n,) in the order of labels (n,), 1 = target; enroll, test: categories (n,), strings.
    Returns ({"enroll": R names of rows, "test": C of columns, "least", "targets", "nontargets": (R, C) counts}, for each
    system its (R, C) EERs, fractions, None where a cell has fewer than ``LEAST`` trials of either kind), all as lists. Last
    are a row and a column ``ALL``, of all trials, and before these ``SEVERAL`` if it occurs.
    """
    (rows, enroll), (columns, test) = map(_numbered, (enroll, test))
    is_target, shape = np.asarray(labels).astype(bool), (len(rows), len(columns))
    cells = enroll * len(columns) + test
    counts = [_with_sums(np.bincount(cells[kind], minlength=shape[0] * shape[1]).reshape(shape))
              for kind in (is_target, ~is_target)]  # fmt: skip
    chosen = list(_trials_of_cells(enroll, test, cells, shape, np.minimum(*counts) >= LEAST))
    found = []
    for scores in systems:
        rates = np.full((shape[0] + 1, shape[1] + 1), None)
        for cell, trials in chosen:
            rates[cell] = float(eer(np.asarray(scores)[trials], is_target[trials]))
        found.append(rates.tolist())
    about = {"enroll": [*rows, ALL], "test": [*columns, ALL], "least": LEAST, "targets": counts[0].tolist(),
             "nontargets": counts[1].tolist()}  # fmt: skip
    return about, found


def _numbered(categories):
    """(names, each trial's number among them (n,)); the names sorted, ``SEVERAL`` last."""
    names = sorted(set(categories), key=lambda name: (name == SEVERAL, name.encode()))
    number = {name: i for i, name in enumerate(names)}
    return names, np.fromiter((number[name] for name in categories), np.int64, len(categories))


def _with_sums(counts):
    """Counts (R, C) with a row and a column of sums: (R + 1, C + 1)."""
    counts = np.vstack([counts, counts.sum(0)])
    return np.hstack([counts, counts.sum(1, keepdims=True)])


def _trials_of_cells(enroll, test, cells, shape, wanted):
    """((row, column), positions of its trials) of the cells ``wanted`` (R + 1, C + 1)."""
    order = np.argsort(cells, kind="stable")
    starts = np.searchsorted(cells[order], np.arange(shape[0] * shape[1] + 1))
    for row, column in np.argwhere(wanted):
        if row < shape[0] and column < shape[1]:
            trials = order[starts[row * shape[1] + column] : starts[row * shape[1] + column + 1]]
        elif row < shape[0]:
            trials = np.flatnonzero(enroll == row)
        else:
            trials = np.flatnonzero(test == column) if column < shape[1] else np.arange(len(cells))
        yield (row, column), trials
