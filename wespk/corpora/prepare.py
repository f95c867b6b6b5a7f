"""From a corpus found on disk to Kaldi data directories and trial lists."""

import os
from typing import NamedTuple

import numpy as np

from wespk.corpora import dev_split
from wespk.corpora.audio_files import header, read_headers, wav_scp_value
from wespk.corpora.joining import join_short, summary
from wespk.io.tables import Trials, spk2utt_of, write_table, write_trials
from wespk.utils.log import get_logger

MODELS = "enroll_maps"  # folder of tables: what the enrolments of the list of that name are averages over
_TABLES = ("wav.scp", "utt2spk", "spk2utt", "utt2dur", "utt2sess", "utt2genre", "utt2utts")


class Size(NamedTuple):
    """What a data directory holds."""

    speakers: int
    utterances: int
    hours: float

    def __str__(self):
        return f"{self.speakers} speakers, {self.utterances} utterances, {self.hours:.2f} hours"


def prepare(corpus, out, dev_speakers, seed, jobs=8, min_seconds=0.0):
    """Write ``corpus`` (a ``Corpus``) under ``out``: train, dev (held-out training speakers) and eval.

    min_seconds: training utterances shorter than this are joined with others of their speaker and genre; 0: none is.

    Trial lists and tables of sets left by an earlier run and not written by this one are removed, so that no later
    stage takes them for current. The same input gives the same bytes. Warns when more utterances are held out than are
    left to train on. Returns report lines, one an item written. Raises
    ``InputError``, with nothing written, naming the files whose headers cannot be read and those that cannot be joined.
    """
    train, dev = dev_split.split(corpus.train, dev_speakers, seed)
    if len(dev) > len(train):
        get_logger().warning("--dev-speakers %d holds out %d utterances and leaves %d to train on: give fewer, a tenth of the "
                             "speakers for instance (of %d)", dev_speakers, len(dev), len(train),
                             len(dev_split.group(corpus.train)))
    dev_lists = {"dev": dev_split.make_trials(dev, seed)} if dev else {}
    eval_lists = {item.name: (item.enroll, item.test, item.labels) for item in corpus.trials}
    headers = read_headers({i: u.path for part in (train, dev, corpus.eval) for i, u in part.items()}, header, jobs)
    seconds = {i: found[0] for i, found in headers.items()}
    formats = {i: headers[i][1:] for i in train} if min_seconds else {}
    models = {item.name: item.models for item in corpus.trials if item.models}
    return [*_write_train(os.path.join(out, "train"), train, seconds, min_seconds, formats),
            *_write_set(os.path.join(out, "dev"), dev, dev_lists, seconds),
            *_write_set(os.path.join(out, "eval"), corpus.eval, eval_lists, seconds, models)]


def _write_train(folder, utterances, seconds, min_seconds, formats):
    if not min_seconds:
        return _write_set(folder, utterances, {}, seconds)
    joined, joined_seconds, made_of = join_short(utterances, seconds, min_seconds, formats)
    said = summary(utterances, seconds, min_seconds, made_of, joined_seconds)
    return [f"{folder}: {said}", *_write_set(folder, joined, {}, joined_seconds, made_of=made_of)]


def _write_set(folder, utterances, lists, seconds, models=(), made_of=()):
    _remove_old(os.path.join(folder, "trials"), keep=lists)
    _remove_old(os.path.join(folder, MODELS), keep=models)
    if not utterances:
        _remove_old(folder, keep=set(os.listdir(folder)) - set(_TABLES) if os.path.isdir(folder) else ())
        return [f"{folder}: none"]
    report = [f"{folder}: {write_data_dir(folder, utterances, seconds, made_of)}"]
    for name, parts in dict(models).items():
        write_table(os.path.join(folder, MODELS, name), {model: " ".join(ids) for model, ids in parts.items()})
    for name in sorted(lists):
        enroll, test, labels = lists[name]
        write_trials(os.path.join(folder, "trials", name), Trials(enroll, test, labels))
        repeated = len(labels) - _different(enroll, test)
        text = f"{folder}/trials/{name}: {len(labels)} trials, {int((labels == 1).sum())} targets"
        report.append(text + (f", {repeated} repeated" if repeated else ""))
    return report


def write_data_dir(folder, utterances, seconds, made_of=()):
    """Write the tables of {id: Utterance}, lasting ``seconds`` {id: s}; returns its ``Size``.

    These are wav.scp, utt2spk, spk2utt, utt2dur, utt2sess, where there are genres utt2genre, and where ``made_of`` says
    {id: ids} which utterances were joined, utt2utts.
    """
    seconds = {i: seconds[i] for i in utterances}
    utt2spk = {i: u.speaker for i, u in utterances.items()}
    spk2utt = spk2utt_of(utt2spk)
    write_table(os.path.join(folder, "wav.scp"), {i: wav_scp_value(u.path) for i, u in utterances.items()})
    write_table(os.path.join(folder, "utt2spk"), utt2spk)
    write_table(os.path.join(folder, "spk2utt"), {speaker: " ".join(ids) for speaker, ids in spk2utt.items()})
    write_table(os.path.join(folder, "utt2dur"), {i: f"{value:.10g}" for i, value in seconds.items()})
    write_table(os.path.join(folder, "utt2sess"), {i: u.session for i, u in utterances.items()})
    genres = {i: u.genre for i, u in utterances.items() if u.genre}
    parts = {i: " ".join(ids) for i, ids in dict(made_of).items()}
    for name, table in (("utt2genre", genres), ("utt2utts", parts)):
        if table:
            write_table(os.path.join(folder, name), table)
        elif os.path.exists(os.path.join(folder, name)):
            os.unlink(os.path.join(folder, name))
    return Size(len(spk2utt), len(utterances), sum(seconds.values()) / 3600)


def _different(enroll, test):
    """The number of different pairs of two lists of ids (n,); 16 bytes a pair in memory."""
    numbers = {}
    codes = [np.fromiter((numbers.setdefault(key, len(numbers)) for key in side), np.int64, len(side))
             for side in (enroll, test)]  # fmt: skip
    return len(np.unique(codes[0] * len(numbers) + codes[1]))


def _remove_old(folder, keep):
    """Remove the plain files of ``folder`` that are not named in ``keep``."""
    if os.path.isdir(folder):
        for name in os.listdir(folder):
            path = os.path.join(folder, name)
            if name not in keep and os.path.isfile(path):
                os.unlink(path)
