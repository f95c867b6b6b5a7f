"""The speaker labels that training gets: those of the data folder, or what the section `labels` asks for.

`labels.file` names a table of other labels, such as pseudo-labels made of clusters. Copies made in stage 2 get the
label of their original (at a speed of 0.9, `sp0.9-LABEL`); utterances that it does not list are left out.

`labels.noise` asks for wrong ones, which lie beside the data, in ``DATA/label_noise/NAME/``, where they can be looked at:

    utt2spk       the label given to every utterance of DATA
    relabelled    `utterance true given`, for those whose label is wrong
"""

from pathlib import Path

import numpy as np

from wespk.io.column_kinds import Named, Names
from wespk.io.columns import column_of, read_column
from wespk.io.tables import read_table
from wespk.utils.errors import InputError

FOLDER, RELABELLED = "label_noise", "relabelled"


def noise_name(section):
    """The name of the labels that a section `labels` with noise describes: ``uniform-20-seed1`` for a rate of 0.2."""
    return f"{section['noise']}-{round(100 * section['rate'], 10):.12g}-seed{section['seed']}"


def noise_folder(section, data_dir):
    """Where the wrong labels of a data folder lie."""
    return Path(data_dir) / FOLDER / noise_name(section)


def label_for_training(conf, data_dir, utterances):
    """Number the speakers of ``utterances`` (``PackedStrings``) with which configuration ``conf`` trains on ``data_dir``.

    Returns (speakers, labels int64 (N,)) as ``label_speakers`` does, and how many of the labels are wrong on purpose.
    Errors as in ``label_speakers`` and ``training_labels``.
    """
    from wespk.data.speakers import label_speakers, no_speaker, number_speakers  # which take torch: names come at once

    if conf["labels"]["file"]:
        path = conf["labels"]["file"]
        return *number_speakers(_labels_by(_listed(conf), conf, utterances, no_speaker(path)), path), 0
    if conf["labels"]["noise"] == "none":
        path = Path(data_dir) / "utt2spk"
        return *number_speakers(column_of(path, Names(), utterances, no_speaker(path)), path), 0
    given, wrong, path = training_labels(conf, data_dir)
    utterances = list(utterances)
    return *label_speakers(utterances, given, path), sum(utterance in wrong for utterance in utterances)


def with_label(conf, data_dir, utterances):
    """Which ``utterances`` (``PackedStrings``) of ``data_dir`` configuration ``conf`` has a label for: bool (N,).

    All of them, but for those that labels.file does not list. Raises ``InputError`` if that is not there, or lists
    utterances that are not in the folder.
    """
    if not conf["labels"]["file"]:
        return np.ones(len(utterances), bool)
    listed, _ = labels = _listed(conf)
    odd = utterances.find(listed) < 0
    if odd.any():
        first = listed[int(np.argmax(odd))]
        raise InputError(f"labels.file={conf['labels']['file']} has a label for '{first}', which is not in {data_dir}: "
                         "give labels that were made for this data (run.sh: --stage 8 makes pseudo-labels anew)")
    return _lines_for(labels, conf, utterances)[0] >= 0


def _listed(conf):
    """The table labels.file: (utterances ``PackedStrings``, labels ``Named``)."""
    path = Path(conf["labels"]["file"])
    if not path.is_file():
        raise InputError(f"labels.file={path} does not exist: give a table with a line 'utterance label' for each")
    return read_column(path, Names())


def _prefixes(conf):
    from wespk.augment.speed import speed_name  # which takes torch

    return [speed_name("", factor) for factor in conf["copies"]["speeds"] if factor != 1]


def _lines_for(listed, conf, utterances):
    """The line of the table ``listed`` that an utterance, or what it is a copy of, has (-1: none), and the number of its
    speed (0: its own): two int64 (N,)."""
    lines = listed[0].find(utterances)
    speeds, open_ = np.zeros(len(lines), np.int64), lines < 0
    ways = [(number, {"prefix": prefix}) for number, prefix in enumerate(_prefixes(conf), start=1)]
    for number, way in ways + [(0, {"suffix": f"-{kind}"}) for kind in conf["copies"]["kinds"]]:
        at, originals = utterances.stripped(**way)
        mine = np.flatnonzero(open_[at])
        at = at[mine]
        lines[at], speeds[at], open_[at] = listed[0].find(originals.take(mine)), number, False
    return lines, speeds


def _labels_by(listed, conf, utterances, lacks):
    """The labels ``Named`` of ``utterances`` by the table ``listed``; ``lacks`` makes the error for one without."""
    lines, speeds = _lines_for(listed, conf, utterances)
    if (lines < 0).any():
        raise lacks(utterances[int(np.argmax(lines < 0))])
    names, numbers = listed[1]
    every = [prefix + name for prefix in ("", *_prefixes(conf)) for name in names]
    return Named(every, speeds * len(names) + numbers[lines])


def unlabelled(utterances):
    """What stands for ``label_for_training`` where nobody asks who speaks: no speakers, labels of 0, none of them wrong."""
    return [], np.zeros(len(utterances), np.int64), 0


def training_labels(conf, data_dir):
    """The labels that configuration ``conf`` gives to the utterances of ``data_dir``.

    Returns (dict utterance -> label, the utterances whose label is wrong, the table's path). Raises ``InputError`` if the
    section `labels` asks for wrong ones and they are not there, or were made from another utt2spk than the folder has
    now.
    """
    path = Path(data_dir) / "utt2spk"
    true = read_table(path)
    if conf["labels"]["noise"] == "none":
        return true, (), path
    folder = noise_folder(conf["labels"], data_dir)
    for name in (RELABELLED, "utt2spk"):
        if not (folder / name).is_file():
            raise InputError(f"{folder / name} does not exist: {_make(data_dir)}")
    given, changes = read_table(folder / "utt2spk"), read_table(folder / RELABELLED)
    odd = next((key for key, speaker in true.items()
                if changes.get(key, f"{speaker} {speaker}") != f"{speaker} {given.get(key)}"), None)
    odd = odd or next((key for table in (given, changes) for key in table if key not in true), None)
    if odd is not None:
        raise InputError(f"{folder} does not fit {path}, which has changed since, at '{odd}': {_make(data_dir)}")
    return given, changes.keys(), folder / "utt2spk"


def _make(data_dir):
    return (f"make it with `python -m wespk.bin.relabel --train-data {data_dir} --originals FOLDER` and the words that "
            "describe the configuration (--config, --overlay, --set), FOLDER being the data without copies; stage 3 does so")
