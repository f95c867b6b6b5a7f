"""The speaker labels that training gets: those of the data folder, or what the section `labels` asks for.

`labels.file` names a table of other labels, such as pseudo-labels made of clusters. Copies made in stage 2 get the
label of their original (at a speed of 0.9, `sp0.9-LABEL`); utterances that it does not list are left out.

`labels.noise` asks for wrong ones, which lie beside the data, in ``DATA/label_noise/NAME/``, where they can be looked at:

    utt2spk       the label given to every utterance of DATA
    relabelled    `utterance true given`, for those whose label is wrong
"""

from pathlib import Path

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
    """Number the speakers of ``utterances`` with which configuration ``conf`` trains on ``data_dir``.

    Returns (speakers, labels int64 (N,)) as ``label_speakers`` does, and how many of the labels are wrong on purpose.
    Errors as in ``label_speakers`` and ``training_labels``.
    """
    from wespk.data.speakers import label_speakers  # which takes torch: the names of folders must come at once

    if conf["labels"]["file"]:
        path = conf["labels"]["file"]
        return *label_speakers(utterances, _labels_by(_listed(conf), conf, utterances), path), 0
    given, wrong, path = training_labels(conf, data_dir)
    return *label_speakers(utterances, given, path), sum(utterance in wrong for utterance in utterances)


def with_label(conf, data_dir, utterances):
    """Those of the ``utterances`` in ``data_dir`` that configuration ``conf`` has a label for: a list.

    All of them, but for those that labels.file does not list. Raises ``InputError`` if that is not there, or lists
    utterances that are not in the folder.
    """
    if not conf["labels"]["file"]:
        return list(utterances)
    listed, there = _listed(conf), set(utterances)
    odd = next((key for key in listed if key not in there), None)
    if odd is not None:
        raise InputError(f"labels.file={conf['labels']['file']} has a label for '{odd}', which is not in {data_dir}: "
                         "give labels that were made for this data (run.sh: --stage 8 makes pseudo-labels anew)")
    return list(_labels_by(listed, conf, utterances))


def _listed(conf):
    """The table labels.file: dict utterance -> label."""
    path = Path(conf["labels"]["file"])
    if not path.is_file():
        raise InputError(f"labels.file={path} does not exist: give a table with a line 'utterance label' for each")
    return read_table(path)


def _labels_by(listed, conf, utterances):
    """The labels of those of ``utterances`` that the table ``listed`` has, and of copies of such: dict, in their order."""
    from wespk.augment.speed import speed_name  # which takes torch

    labels, prefixes = {}, tuple(speed_name("", factor) for factor in conf["copies"]["speeds"])
    suffixes = tuple(f"-{kind}" for kind in conf["copies"]["kinds"])
    for name in utterances:
        prefix = next((p for p in prefixes if name not in listed and name.startswith(p)), "")
        original = name[len(prefix):]
        if name not in listed and not prefix:
            original = original.removesuffix(next((s for s in suffixes if name.endswith(s)), ""))
        if original in listed:
            labels[name] = prefix + listed[original]
    return labels


def unlabelled(utterances):
    """What stands for ``label_for_training`` where nobody asks who speaks: no speakers, labels of 0, none of them wrong."""
    import numpy as np

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
