"""What the features in a data folder were made with, kept beside them so that no later stage mistakes them."""

import json
from pathlib import Path

from wespk.io.atomic import write_text
from wespk.utils.errors import InputError

NAME = "features.json"
_FREE = ("compress", "cmn", "vad")  # how they are stored, and what is done after reading them


def write_stamp(folder, features):
    """Write ``folder/features.json``: the `features` section (a dict) that its feats.scp was made with."""
    write_text(Path(folder) / NAME, json.dumps(features, indent=1, sort_keys=True) + "\n")


def read_stamp(folder):
    """What ``write_stamp`` left in a folder; {} where it left nothing (features made by other tools)."""
    path = Path(folder) / NAME
    return json.loads(path.read_text()) if path.is_file() else {}


def check_stamp(folder, features):
    """Raise ``InputError`` naming the options in which a folder's features differ from the section ``features``.

    A folder without a stamp (features made by other tools) passes.
    """
    path, made = Path(folder) / NAME, read_stamp(folder)
    if not made:
        return
    differ = [f"{key} {made.get(key)} (now {value})" for key, value in features.items()
              if key not in _FREE and made.get(key) != value]
    if differ:
        raise InputError(f"{path}: the features in this folder were made with other options: {', '.join(differ)}; run "
                         "stage 2 with this configuration, or use the one that they were made with")
