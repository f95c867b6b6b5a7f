"""Calibration from files to files: features of score files, joined to the labels of their trial list."""

import numpy as np

from wespk.io.tables import join_labels
from wespk.metrics import cllr, min_cllr
from wespk.scoring.logistic import fit, load
from wespk.scoring.quality import features_of
from wespk.utils.errors import InputError

FEW_TRIALS = 200  # of targets or nontargets, below which an offset and a weight are not to be trusted
FEW_FOR_QUALITY = 1000  # the same for the weights of quality measures


def train_files(scores, quality, trials, p_target, l2):
    """Fit a calibration: (``Calibration``, (number of targets, of nontargets), min-Cllr before, Cllr after, in bits).

    scores, quality: paths, see ``quality.features_of``; trials: path of the labelled list. Raises ``InputError`` for
    files that do not fit together and as ``logistic.fit``.
    """
    if not scores:
        raise InputError("--scores names no file: give at least one score file")
    *_, features, names = features_of(scores, quality)
    first, labels = join_labels(scores[0], trials)
    if not np.array_equal(first, features[:, 0]):
        raise InputError(f"{scores[0]}: not in the order of {trials}, as scoring writes it; score the list again")
    try:
        model = fit(features, labels, names, p_target, l2)
    except InputError as error:
        raise InputError(f"{trials}: {error}") from None
    counts = int((labels == 1).sum()), int((labels == 0).sum())
    return model, counts, min_cllr(first, labels), cllr(model.llr(features), labels)


def doubts(model, counts, quality):
    """Sentences on what of a ``Calibration`` is not to be trusted.

    counts: (targets, nontargets) that it was learnt from; quality: the tables of measures that it takes into account.
    """
    found = []
    if len(model.weights) == 1 and model.weights[0] < 0:
        found.append(f"the weight of {model.names[0]} is negative: higher scores count as less likely targets; are the "
                     "labels of the trials right, and are the scores no distances?")  # fmt: skip
    if quality and min(counts) < FEW_FOR_QUALITY:
        found.append(f"{counts[0]} target and {counts[1]} nontarget trials are too few to learn from measures of quality as "
                     f"well ({len(model.weights)} weights); with fewer than {FEW_FOR_QUALITY} of a kind they do more harm than "
                     "good, as a rule: leave --quality out, or make more trials")  # fmt: skip
    elif min(counts) < FEW_TRIALS:
        found.append(f"{counts[0]} target and {counts[1]} nontarget trials are few to learn log-likelihood ratios from: below "
                     f"{FEW_TRIALS} of a kind other trials would give noticeably different ones; hold out more speakers "
                     "(run.sh --dev-speakers), or make more trials")  # fmt: skip
    return found


def calibrate_files(model, scores, quality):
    """(enroll ids, test ids, natural-log likelihood ratios (n,)) of score files by the calibration in file ``model``.

    Raises ``InputError`` when the files are not as many, or of the same measures, as it was trained with.
    """
    calibration = load(model)
    if not scores:
        raise InputError("--scores names no file: give those of the systems that the calibration was trained with")
    enroll, test, features, names = features_of(scores, quality)
    if names != calibration.names:
        raise InputError(
            f"{model}: was trained with {', '.join(calibration.names)}, but given are {', '.join(names)}; give as many "
            "score files, and tables of the same measures in the same order"
        )
    return enroll, test, calibration.llr(features)
