"""Wrong speaker labels, put into a training set on purpose to study how well a loss bears them.

    uniform       exactly round(rate * N) of the N utterances get the label of another speaker, each of the others being
                  as likely
    class_wise    speakers are paired, and about a share ``rate`` of each one's utterances get the label of its partner

Which utterances, and whose label each gets, follows from the seed, the ids and the set of speakers, not from the order
of a table; and those of a lower rate are among those of a higher one, with the same wrong labels.

Class-wise the number is exactly round(rate * M) over the M utterances of paired speakers (halves to even, as uniformly),
and each speaker's share is within rounding of the rate: as in Sainte-Lague's apportionment, the j-th utterance of a
speaker with n (in the order of their draws) has its turn at (2j - 1) / 2n, and the first turns are taken. Of an odd
number of speakers one is left alone. At a rate of 0.5 half of each partner's utterances bear either label, so that
nothing tells the two apart; a rate r above it does what 1 - r does under exchanged names, and at 1 the names of a pair
are merely exchanged, which does no harm.

Relabelling is decided on the originals; a copy made in stage 2 goes with its original (at a speed of 0.9, to
``sp0.9-GIVEN``). Utterances that training leaves out as too short count like the others.
"""

import hashlib
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

from wespk.data.labels import RELABELLED, noise_folder, noise_name
from wespk.io.tables import read_table, spk2utt_of, write_table
from wespk.utils.errors import InputError


class Relabelling(NamedTuple):
    """utt2spk: dict utterance -> label given, of every utterance; alone: the speaker without a partner, or ""."""

    utt2spk: dict
    alone: str


def _draw(*key):
    """An integer in [0, 2**64) that is a function of strings and numbers without blanks."""
    return int.from_bytes(hashlib.blake2b(" ".join(map(str, key)).encode(), digest_size=8).digest(), "big")


def relabel(utt2spk, noise, rate, seed):
    """Give a share ``rate`` of the utterances a wrong speaker: ``Relabelling``. See the top of the file.

    utt2spk: dict utterance -> speaker; noise: uniform or class_wise; rate: 0..1; seed: integer. Raises ``InputError``
    when there are fewer than two speakers or the rate comes to no utterance at all.
    """
    speakers = sorted(set(utt2spk.values()))
    if len(speakers) < 2:
        raise InputError(f"labels.noise={noise} needs at least two speakers, found {len(speakers)}")
    alone = ""
    if noise == "uniform":
        turns = {utterance: _draw(seed, "turn", utterance) for utterance in utt2spk}
    else:
        partner, alone = _pairs(speakers, seed)
        turns = _class_wise_turns(utt2spk, partner, seed)
    number = round(rate * len(turns))
    if not number:
        raise InputError(f"labels.rate={rate:g} of {len(turns)} utterances is none; raise it, or set labels.noise=none "
                         "labels.rate=0")
    given = dict(utt2spk)
    for utterance in sorted(turns, key=lambda name: (turns[name], name))[:number]:
        speaker = utt2spk[utterance]
        given[utterance] = _other(utterance, speaker, speakers, seed) if noise == "uniform" else partner[speaker]
    return Relabelling(given, alone)


def _other(utterance, speaker, speakers, seed):
    """One of the sorted list ``speakers`` but for ``speaker``."""
    place = _draw(seed, "speaker", utterance) * (len(speakers) - 1) >> 64
    return speakers[place] if speakers[place] < speaker else speakers[place + 1]


def _pairs(speakers, seed):
    """({speaker: partner}, the one left over or "")."""
    order = sorted(speakers, key=lambda name: (_draw(seed, "pair", name), name))
    partner = {a: b for one, two in zip(order[::2], order[1::2]) for a, b in ((one, two), (two, one))}
    return partner, order[-1] if len(order) % 2 else ""


def _class_wise_turns(utt2spk, partner, seed):
    """{utterance of a paired speaker: its turn, sortable}."""
    turns = {}
    for speaker, utterances in spk2utt_of(utt2spk).items():
        if speaker in partner:
            drawn = sorted((_draw(seed, "turn", name), name) for name in utterances)
            turns |= {name: ((2 * j + 1) / (2 * len(drawn)), draw) for j, (draw, name) in enumerate(drawn)}
    return turns


def _original(name, originals):
    """(prefix, id) of the original that ``name`` is a copy of: ("sp0.9-", U) for sp0.9-U, ("", U) for U and U-noise."""
    if name in originals:
        return "", name
    prefix, _, rest = name.partition("-")
    if prefix.startswith("sp") and rest in originals:
        return f"{prefix}-", rest
    rest = name.rpartition("-")[0]
    return ("", rest) if rest in originals else (None, None)


def follow(utt2spk, originals, given, where="utt2spk"):
    """The labels of a folder of originals and copies: dict utterance -> label.

    utt2spk: true speakers of the folder; originals: of the originals; given: their labels. Raises ``InputError``
    (``where`` names the folder's table) for what is no copy of an original, or of another speaker, and for an original
    that is missing.
    """
    labels = {}
    for name, speaker in utt2spk.items():
        prefix, original = _original(name, originals)
        if original is None:
            raise InputError(f"{where}: '{name}' is neither an original utterance nor a copy of one; run stage 2 again")
        if speaker != prefix + originals[original]:
            raise InputError(f"{where}: '{name}' is of '{speaker}', but its original '{original}' of "
                             f"'{originals[original]}'; run stage 2 again")
        labels[name] = prefix + given[original]
    missing = next((name for name in originals if name not in labels), None)
    if missing is not None:
        raise InputError(f"{where} lacks the original utterance '{missing}'; run stage 2 again")
    return labels


def write_labels(section, data_dir, originals_dir):
    """Write DATA/label_noise/NAME/{relabelled,utt2spk} as the section `labels` says; returns one line on what was done.

    originals_dir: the folder from which the copies in ``data_dir`` were made, or the same folder. Files that say the
    same already are left as they are.
    """
    if section["noise"] == "none":
        raise InputError("labels.noise is none: there is nothing to relabel; set labels.noise and labels.rate")
    data_dir, originals_dir = Path(data_dir), Path(originals_dir)
    originals, own = read_table(originals_dir / "utt2spk"), read_table(data_dir / "utt2spk")
    relabelling = relabel(originals, section["noise"], section["rate"], section["seed"])
    labels = follow(own, originals, relabelling.utt2spk, data_dir / "utt2spk")
    changes = {name: f"{speaker} {labels[name]}" for name, speaker in own.items() if labels[name] != speaker}
    folder = noise_folder(section, data_dir)
    _write(folder / RELABELLED, changes)
    _write(folder / "utt2spk", labels)
    return f"{folder}: {_report(section, originals, relabelling, own, labels, changes)}"


def _write(path, table):
    """Write a table unless it is there already."""
    if path.is_file():
        lines = (f"{key} {table[key]}\n".encode() for key in sorted(table))
        with open(path, "rb") as file:
            if all(old == new for old, new in zip_longest(file, lines)):
                return
    write_table(path, table)


def _report(section, originals, relabelling, own, labels, changes):
    wrong = sum(relabelling.utt2spk[name] != speaker for name, speaker in originals.items())
    text = (f"{noise_name(section)} gives {wrong} of {len(originals)} utterances ({100 * wrong / len(originals):.2f} %) "
            "another speaker's label")
    if len(own) > len(originals):
        text += f", {len(changes)} of {len(own)} with their copies"
    speakers = set(own.values())
    text += f"; {len(speakers - set(labels.values()))} of {len(speakers)} speakers have no utterance left"
    if relabelling.alone:
        text += f"; {relabelling.alone} has no partner and keeps its own"
    return text
