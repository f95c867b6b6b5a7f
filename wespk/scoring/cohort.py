"""The cohort of score normalisation: embeddings of speakers that take no part in the evaluation."""

import numpy as np

from wespk.io.ark import read_scp
from wespk.io.tables import read_table
from wespk.scoring.vectors import normalise, read_blocks, read_normalised
from wespk.utils.errors import InputError


class Cohort:
    """Length-normalised cohort vectors, read from an scp.

    With ``utt2spk`` (a path; it may list more than the scp) a vector for each speaker: the mean of its utterances'
    centred, length-normalised embeddings, length-normalised again. Without, one for each utterance. mean: see
    ``vectors.normalise``. ``vectors`` (C, D) float32; ``utterances``, ``speakers`` (empty without utt2spk): their ids.
    Raises ``InputError`` for an utterance without a speaker and for bad embeddings, naming them.
    """

    def __init__(self, scp, mean=None, utt2spk=""):
        table = read_scp(scp)
        self.utterances, self.speakers = list(table), []
        if utt2spk:
            speaker_of = read_table(utt2spk)
            lost = next((key for key in table if key not in speaker_of), None)
            if lost is not None:
                raise InputError(f"{utt2spk}: no speaker for '{lost}' of {scp}; give the utt2spk of the same set")
            self.speakers = list(dict.fromkeys(speaker_of[key] for key in table))
            self.vectors = _speaker_means(scp, table, mean, speaker_of, self.speakers)
        else:
            self.vectors = read_normalised(scp, table, mean)

    def check_apart(self, ids, utt2spk=None):
        """Raise ``InputError`` if a speaker or utterance of the cohort is among those of the trials' ``ids``.

        utt2spk: dict id -> speaker of the evaluation, as far as known. Where a speaker is not known, an id that starts
        with another side's speaker and a hyphen, as Kaldi's utterance ids do, is taken for that speaker's.
        """
        known = utt2spk or {}
        ours = {*self.utterances, *self.speakers}
        theirs = {}
        for key in dict.fromkeys(ids):
            for name in (key, known[key]) if key in known else _prefixes(key):
                if name in ours:
                    _refuse(key, name)
            theirs[known.get(key, key)] = key
        if not self.speakers:
            for key in self.utterances:
                for name in _prefixes(key):
                    if name in theirs:
                        _refuse(theirs[name], key)


def _refuse(evaluated, cohort):
    raise InputError(
        f"'{evaluated}' of the trials and '{cohort}' of the cohort are one speaker: take a cohort, such as the "
        "training set, without evaluation speakers; or if these are two corpora whose names say nothing of each other, "
        "--other-corpus true (run.sh: the name of the tested data's corpus in the file 'corpus' of --eval-data)"
    )


def _prefixes(key):
    """The id itself and what stands before each of its hyphens."""
    pieces = key.split("-")
    return ["-".join(pieces[: i + 1]) for i in range(len(pieces))]


def _speaker_means(scp, table, mean, speaker_of, speakers):
    row_of, sums = {speaker: row for row, speaker in enumerate(speakers)}, None
    for keys, block in read_blocks(scp, table):
        sums = np.zeros((len(speakers), block.shape[1])) if sums is None else sums
        rows = np.array([row_of[speaker_of[key]] for key in keys])
        order = np.argsort(rows, kind="stable")
        first = np.flatnonzero(np.diff(rows[order], prepend=-1))
        block = normalise(block, keys, mean, scp)[order]
        sums[rows[order[first]]] += np.add.reduceat(block, first, axis=0, dtype=np.float64)
    return normalise(sums.astype(np.float32), speakers, None, f"speaker means of {scp}")
