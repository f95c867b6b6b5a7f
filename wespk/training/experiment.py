"""The experiment folder: what it holds, and the guard that a run goes on with the options it was begun with."""

import json
from pathlib import Path

import yaml

from wespk.io.atomic import open_atomic, write_text
from wespk.utils import config
from wespk.utils.errors import InputError

# these sections describe the machine or the moment, not the result
_FREE = ("runtime", "derived", "provenance")


class Experiment:
    """Paths of ``exp/NAME``: config.yaml, checkpoints/, train.log, metrics.jsonl, tensorboard/, requeue."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.checkpoints = self.folder / "checkpoints"
        self.log = self.folder / "train.log"
        self.metrics = self.folder / "metrics.jsonl"
        self.tensorboard = self.folder / "tensorboard"
        self.requeue = self.folder / "requeue"  # there while the run waits to be started again after a signal

    def begin(self, conf, derived):
        """Write config.yaml, or check that the one there says the same.

        Raises ``InputError`` listing every option in which the experiment begun here differs from ``conf``.
        """
        path = self.folder / "config.yaml"
        if path.is_file():
            old = config.read_resolved(self.folder)
            changed = config.difference(*({k: v for k, v in c.items() if k not in _FREE} for c in (old, conf)))
            if changed:
                listed = "; ".join(f"{name}: {a!r} there, {b!r} now" for name, a, b in changed)
                raise InputError(f"{path} was begun with other options ({listed}). Go on with those, or train under "
                                 "another --exp; nothing was touched")
        self.checkpoints.mkdir(parents=True, exist_ok=True)
        whole = {**conf, "derived": derived, "provenance": config.provenance()}
        write_text(path, yaml.safe_dump(whole, sort_keys=False, default_flow_style=None, width=120))

    def truncate_metrics(self, step):
        """Drop the lines of metrics.jsonl that lie beyond ``step``: they will be written again after a resume."""
        if not self.metrics.is_file():
            return
        lines = []
        for line in self.metrics.read_text(encoding="utf-8").splitlines():
            try:
                if json.loads(line)["step"] <= step:
                    lines.append(line + "\n")
            except (ValueError, KeyError):
                pass  # the line that a kill cut short
        with open_atomic(self.metrics) as file:
            file.writelines(lines)

    def append_metrics(self, record):
        """Append one JSON line to metrics.jsonl."""
        with open(self.metrics, "a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
