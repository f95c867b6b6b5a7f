"""A PLDA backend: trained from a set of embeddings, kept in a folder of Kaldi's files, used to score trials.

The folder holds ``mean.vec``, ``transform.mat`` (with LDA or whitening) and ``plda``, which Kaldi's own programs read
(ivector-subtract-global-mean, transform-vec, ivector-normalize-length, ivector-plda-scoring), and ``backend.json``,
which says how they follow each other and where they come from.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from wespk.io.ark import read_scp
from wespk.io.atomic import write_text
from wespk.io.parameters import read_array64, read_plda, write_array64, write_plda
from wespk.io.tables import read_table
from wespk.scoring.front import Front, coral, lda, whitening
from wespk.scoring.plda import ClassStatistics, Plda, estimate, symmetric
from wespk.scoring.vectors import (
    MEANS,
    check_enroll_mean,
    group_means,
    read_blocks,
    read_mean,
    read_models,
    read_raw,
    rows_of,
)
from wespk.utils.errors import InputError
from wespk.utils.registry import nearest

FORMAT = 1
ADAPTATIONS = ("kaldi", "coral")
_OF_ADAPTATION = {"adaptation": "", "within_scale": "kaldi", "between_scale": "kaldi", "mean_diff_scale": "kaldi",
                  "coral_ridge": "coral"}  # options, and the adaptation that they are for

_LEAST = {"lda_dim": 0, "iterations": 1, "smoothing": 0, "within_scale": 0, "between_scale": 0, "mean_diff_scale": 0,
          "coral_ridge": 0}  # fmt: skip


@dataclass
class Options:
    """How a backend is trained; see ``wespk.bin.train_plda`` for the meanings."""

    lda_dim: int = 0
    whiten: bool = False
    length_norm: bool = True
    iterations: int = 10
    smoothing: float = 0.0
    adaptation: str = "kaldi"
    within_scale: float = 0.3
    between_scale: float = 0.7
    mean_diff_scale: float = 1.0
    coral_ridge: float = 0.01


@dataclass(frozen=True)
class Backend:
    """front: applied to each embedding; plda: of what comes out of it."""

    front: Front
    plda: Plda

    def read(self, table, source):
        """All embeddings of ``table`` (an scp's contents or part of them), prepared: (N, R) float64."""
        return np.concatenate([self.front.apply(block, keys, source) for keys, block in read_blocks(source, table)])

    def save(self, folder, about, text=False):
        """Write the folder; about: plain values to be noted; text: Kaldi's files in its text form."""
        folder = Path(folder)
        (folder / "backend.json").unlink(missing_ok=True)  # written last: a folder without it is not whole
        write_array64(folder / "mean.vec", self.front.mean, text)
        if self.front.matrix is None:
            (folder / "transform.mat").unlink(missing_ok=True)
        else:
            write_array64(folder / "transform.mat", self.front.matrix, text)
        write_plda(folder / "plda", self.plda.mean, self.plda.transform, self.plda.psi, text)
        kept = {"transform": self.front.matrix is not None, "length_norm": self.front.length_norm}
        write_text(folder / "backend.json", json.dumps({"format": FORMAT, **kept, **about}, indent=1) + "\n")


def load(folder):
    """Read a ``Backend`` from its folder. Raises ``InputError`` naming what is missing or does not fit together."""
    folder = Path(folder)
    try:
        about = json.loads((folder / "backend.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{folder}/backend.json: cannot be read ({error}); run train_plda") from None
    if about.get("format") != FORMAT:
        raise InputError(f"{folder}/backend.json: not written by this train_plda (no format {FORMAT}); run it again")
    matrix = read_array64(folder / "transform.mat") if about["transform"] else None
    front = Front(read_array64(folder / "mean.vec"), matrix, about["length_norm"])
    plda = Plda(*read_plda(folder / "plda"))
    shape = (plda.mean.size, front.mean.size)
    if (shape[0] != shape[1]) if matrix is None else (matrix.shape != shape):
        raise InputError(f"{folder}: mean.vec, transform.mat and plda are not of one training; run train_plda again")
    return Backend(front, plda)


def train(scp, utt2spk, options, adapt_scp=""):
    """Train a backend on the embeddings of an scp, whose speakers the table ``utt2spk`` names.

    adapt_scp: unlabelled embeddings of the domain to be scored; their mean is then what is subtracted in scoring, and
    ``options.adaptation`` says what else changes: "kaldi" the trained model (``Plda.adapted``), "coral" the training
    embeddings before anything is learnt from them. Reads the scp in blocks, two to four times. Returns (Backend, about:
    dict of plain values). Raises ``InputError`` for options or files that do not fit.
    """
    check_options(options, adapt_scp)
    data, recolour, matrix = _Labelled(scp, utt2spk), None, None
    mean = target = read_mean(scp)
    if adapt_scp:
        target = read_mean(adapt_scp)
    if adapt_scp and options.adaptation == "coral":
        recolour = coral(*(_moments(path, Front(m, None, False))[1] for path, m in ((scp, mean), (adapt_scp, target))),
                         options.coral_ridge)  # fmt: skip
    if options.lda_dim or options.whiten:
        matrix = _linear(data.statistics(Front(mean, recolour, False)), options)
    plda = estimate(data.statistics(Front(mean, _chain(matrix, recolour), options.length_norm)), options.iterations)
    front = Front(target, matrix, options.length_norm)
    if adapt_scp and options.adaptation == "kaldi":
        scales = options.within_scale, options.between_scale, options.mean_diff_scale
        plda = plda.adapted(*_moments(adapt_scp, front), *scales)
    about = {"embeddings": str(scp), "utterances": len(data.table), "speakers": len(data.number), **asdict(options)}
    return Backend(front, plda.smoothed(options.smoothing)), {**about, "adapt_embeddings": str(adapt_scp)}


def doubts(dim, speakers):
    """Sentences on what of PLDA of ``dim`` dimensions, learnt from so many speakers, is not to be trusted."""
    if speakers > dim:
        return []
    some = max(1, speakers // 2)
    text = (f"PLDA of {dim} dimensions is learnt from {speakers} speakers, whose means differ in at most {speakers - 1}: how "
            f"speakers vary in the others is not seen; reduce them by LDA, --lda-dim {some} for instance and at most "
            f"{speakers - 1} (run.sh --plda lda-dim={some}), or train on more speakers")  # fmt: skip
    return [text]


def check_options(options, adapt_scp=""):
    """Raise ``InputError`` naming an option out of its range, or one of an adaptation that is not made. Reads no file."""
    if options.adaptation not in ADAPTATIONS:
        hint = nearest(options.adaptation, ADAPTATIONS)
        raise InputError(f"--adaptation '{options.adaptation}' is unknown{hint}; known: {', '.join(ADAPTATIONS)}")
    for name, least in _LEAST.items():
        value = getattr(options, name)
        if not least <= value < float("inf"):
            raise InputError(f"--{name.replace('_', '-')} must be {least} or more, but is {value:g}")
    for name, of in _OF_ADAPTATION.items():
        if getattr(options, name) == getattr(Options, name):
            continue
        word = name.replace("_", "-")
        if not adapt_scp:
            raise InputError(f"--{word} is about adaptation: give --adapt-embeddings as well, or leave it out")
        if of not in ("", options.adaptation):
            raise InputError(f"--{word} is for --adaptation {of}, not {options.adaptation}; leave it out")


class _Labelled:
    """Embeddings of an scp, and each one's speaker as a number."""

    def __init__(self, scp, utt2spk):
        self.scp, self.table, self.speaker_of = scp, read_scp(scp), read_table(utt2spk)
        lost = next((key for key in self.table if key not in self.speaker_of), None)
        if lost is not None:
            raise InputError(f"{utt2spk}: no speaker for '{lost}' of {scp}; give the utt2spk of the same set")
        self.number = {s: i for i, s in enumerate(dict.fromkeys(self.speaker_of[key] for key in self.table))}

    def statistics(self, front):
        """``ClassStatistics`` of what ``front`` makes of them."""
        found = None
        for keys, block in read_blocks(self.scp, self.table):
            block = front.apply(block, keys, self.scp)
            found = found or ClassStatistics(len(self.number), block.shape[1])
            found.add(block, np.array([self.number[self.speaker_of[key]] for key in keys]))
        return found


def _moments(scp, front):
    """Mean (R,) and covariance (R, R) of what ``front`` makes of the embeddings of an scp."""
    number, total, scatter = 0, 0.0, 0.0
    for keys, block in read_blocks(scp):
        block = front.apply(block, keys, scp)
        number, total, scatter = number + len(keys), total + block.sum(axis=0), scatter + block.T @ block
    return total / number, symmetric(scatter / number) - np.outer(total, total) / number**2


def _linear(statistics, options):
    """LDA, and whitening of what is left, as one matrix (R, D)."""
    total, matrix = statistics.scatter / statistics.counts.sum(), None
    if options.lda_dim:
        matrix = lda(statistics, options.lda_dim)
        total = matrix @ total @ matrix.T
    return _chain(whitening(total), matrix) if options.whiten else matrix


def _chain(second, first):
    """The product of two matrices, each of which may be None, the identity."""
    if first is None or second is None:
        return second if first is None else first
    return second @ first


def score_trials(backend, enroll_ids, test_ids, embeddings, enroll_embeddings="", models="", length_norm=True,
                 enroll_mean=MEANS[0]):  # fmt: skip
    """Natural-log likelihood ratios (n,) float64 of trials given by ids, by a ``Backend``.

    embeddings: scp of both sides, or of the test side when ``enroll_embeddings`` names the enrolment's own; models:
    table of lines ``enrolment utterance utterance ...``: such an enrolment is the mean of its utterances' prepared
    embeddings, or with enroll_mean "plain" the prepared mean, and counts as so many; length_norm: see ``Plda.project``.
    Raises ``InputError`` for an id without a line or an embedding.
    """
    check_enroll_mean(enroll_mean, models)
    keys = list(dict.fromkeys(enroll_ids))
    made_of = read_models(keys, models)
    counts = np.array([len(utterances) for utterances in made_of])
    scp = enroll_embeddings or embeddings
    table, (rows,) = rows_of([[utterance for group in made_of for utterance in group]], scp)
    plain = enroll_mean == "plain"
    vectors = read_raw(scp, table) if plain else backend.read(table, scp)
    means = group_means(vectors[rows], counts)
    means = backend.front.apply(means, keys, f"averages over the utterances of {models}") if plain else means
    enroll = backend.plda.project(means, counts, length_norm)
    table, (test_rows,) = rows_of([test_ids], embeddings)
    test = backend.plda.project(backend.read(table, embeddings), 1, length_norm)
    row_of = {key: row for row, key in enumerate(keys)}
    enroll_rows = np.fromiter(map(row_of.__getitem__, enroll_ids), np.int32, len(enroll_ids))
    return backend.plda.log_ratios(enroll, counts, test, enroll_rows, test_rows)
