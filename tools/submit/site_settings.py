"""The site's settings: site.yaml beside this file, or the file that WESPK_SITE names."""

import math
import os
import shlex
from pathlib import Path

from wespk.utils.config import read_yaml
from wespk.utils.errors import InputError
from wespk.utils.registry import nearest

PATH = Path(__file__).resolve().parent / "site.yaml"
COMMON = {
    "options": ([], list), "retries": (1, int), "requeues": (100, int), "max_array_size": (None, int),
    "poll_seconds": (1, float), "queue_seconds": (10, float), "settle_seconds": (5, float),
}  # fmt: skip
KEYS = {  # scheduler -> key -> (default, type)
    "slurm": {
        "partition": ("", str), "account": ("", str), "qos": ("", str), "gpu": ("--gres=gpu:{n}", str),
        "mem": ("--mem={mb}M", str), **COMMON,
    },
    "sge": {
        "queue": ("", str), "project": ("", str), "parallel_environment": ("smp", str), "gpu": ("-l gpu={n}", str),
        "mem": ("-l mem_free={mb}M", str), **COMMON,
    },
}  # fmt: skip
ABOVE_ZERO = {"max_array_size", "poll_seconds"}  # or nothing would be submitted, or no rest be had
KINDS = {str: "text", int: "a whole number, 0 or more", float: "a number, 0 or more", list: "a list of words"}


def _fits(value, kind):
    if kind is list:
        return isinstance(value, list) and all(isinstance(word, (str, int)) for word in value)
    if kind is str:
        return isinstance(value, str)
    number = isinstance(value, (int, float) if kind is float else int) and not isinstance(value, bool)
    return number and 0 <= value < math.inf


def site_settings(scheduler):
    """The settings of one scheduler, all keys of ``KEYS[scheduler]``. Raises InputError naming the file and the key."""
    path = Path(os.environ.get("WESPK_SITE") or PATH)
    sections = read_yaml(path)
    for name in sections:
        if name not in KEYS:
            raise InputError(f"{path}: unknown section '{name}'{nearest(name, KEYS)}; there is: {' '.join(KEYS)}")
    given = sections.get(scheduler) or {}
    if not isinstance(given, dict):
        raise InputError(f"{path}: '{scheduler}' must hold 'key: value' lines")
    known = KEYS[scheduler]
    settings = {key: default for key, (default, _) in known.items()}
    for key, value in given.items():
        if key not in known:
            raise InputError(f"{path}: {scheduler}: unknown key '{key}'{nearest(key, known)}; there is: {' '.join(known)}")
        if value is None:
            continue
        above = ", and not 0" if key in ABOVE_ZERO else ""
        if not _fits(value, known[key][1]) or (above and value == 0):
            raise InputError(f"{path}: {scheduler}: {key} must be {KINDS[known[key][1]]}{above}, not {value!r}")
        settings[key] = value
    settings["options"] = [str(word) for word in settings["options"]]
    return settings


def gpus_and_memory(settings, job):
    """The words that ask for the GPUs and the memory of a job, if it wants some, in the site's form."""
    words = filled(settings, "gpu", n=job.gpus) if job.gpus else []
    if job.mem_bytes:
        mb = math.ceil(job.mem_bytes / 2**20)
        words += filled(settings, "mem", mb=mb, mb_per_thread=math.ceil(mb / job.num_threads))
    return words


def filled(settings, key, **values):
    """The words of a setting with {placeholders} filled in. Raises InputError for a placeholder that is not known."""
    try:
        return [word.format(**values) for word in shlex.split(settings[key])]
    except (AttributeError, KeyError, IndexError, ValueError) as error:
        known = " ".join(f"{{{name}}}" for name in values)
        raise InputError(f"site settings: {key}: '{settings[key]}' is wrong at {error}; it may hold {known}") from None
