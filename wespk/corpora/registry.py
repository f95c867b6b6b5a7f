"""What a corpus is, once found on disk, and the table of the corpora that can be prepared.

A new corpus is one new module in this package: a function, entered under its name with ``@CORPORA.register(name)``,
that takes the corpus's own options as keywords and returns a ``Corpus``.
"""

import importlib
import pkgutil
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from wespk.utils.registry import Registry

CORPORA = Registry("corpus")


class Utterance(NamedTuple):
    """One audio file: who speaks, in which session, its absolute path, and the kind of speech where a corpus says so.

    Of utterances joined to one (``wespk.corpora.joining``), the path is the command that joins their files.
    """

    speaker: str
    session: str
    path: str
    genre: str = ""


@dataclass
class TrialList:
    """A trial list under the name it is kept by.

    enroll, test: utterance ids, one a trial; labels: int8 (n,), 1 = target; source: the file it was read from. Trial
    ``i`` stands in line ``i + 1`` of ``source``. models: where the enrolments are averages over several utterances, the
    utterances of each: enrolment id -> ids.
    """

    name: str
    source: str
    enroll: list
    test: list
    labels: np.ndarray
    models: dict = field(default_factory=dict)


@dataclass
class Corpus:
    """What was found: the training utterances, those of the kept trial lists, and the lists.

    train, eval: utterance id -> Utterance, no speaker in both; notes: lines for the user about what was left out or
    looks incomplete.
    """

    train: dict
    eval: dict
    trials: list
    notes: list = field(default_factory=list)


def find_corpus(name, **options):
    """Find the corpus registered under ``name`` with the options given to it; returns a ``Corpus``.

    Raises ``InputError`` for an unknown corpus, an option it does not take, and whatever it finds wrong on disk.
    """
    import wespk.corpora

    for module in pkgutil.iter_modules(wespk.corpora.__path__):
        importlib.import_module(f"wespk.corpora.{module.name}")
    return CORPORA.build({"name": name, **options})
