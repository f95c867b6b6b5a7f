"""The experiment folder: what it holds, and the guard that a run goes on with the options it was begun with."""

import contextlib
import json
from pathlib import Path

import yaml

from wespk.io.atomic import final_name, open_atomic, write_text
from wespk.training import checkpoint
from wespk.utils import config, dist
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

    def begin(self, conf, derived, fingerprint=None):
        """Write config.yaml, or check that the one there says the same.

        Raises ``InputError``, before anything is written, listing every option in which the experiment begun here differs
        from ``conf``, or if its newest checkpoint was trained on data of another ``fingerprint`` (unless None). Returns
        what is worth a warning: other package versions, another revision or another number of processes than before.
        """
        path, provenance, notes = self.folder / "config.yaml", config.provenance(), []
        if path.is_file():
            old = config.read_resolved(self.folder)
            changed = config.difference(*({k: v for k, v in c.items() if k not in _FREE} for c in (old, conf)))
            if changed and any(self.checkpoints.glob("*.pt")):  # without a checkpoint there is nothing to spoil
                listed = "; ".join(f"{name}: {a!r} there, {b!r} now" for name, a, b in changed)
                raise InputError(f"{path} was begun with other options ({listed}). Go on with those, or train under "
                                 "another --exp; nothing was touched")
            for section, now in (("derived", derived), ("provenance", provenance)):
                notes += [f"{name} was {a!r}, now {b!r}" for name, a, b in config.difference(old.get(section, {}), now)]
        newest = checkpoint.newest(self.checkpoints)
        if newest is not None and fingerprint is not None:
            checkpoint.check_same_data(newest, fingerprint)
        self.checkpoints.mkdir(parents=True, exist_ok=True)
        for file in self.checkpoints.iterdir():
            if final_name(file.name) != file.name:  # half a checkpoint, which a kill left behind
                file.unlink()
        whole = {**conf, "derived": derived, "provenance": provenance}
        write_text(path, yaml.safe_dump(whole, sort_keys=False, default_flow_style=None, width=120))
        return notes

    def mark_requeue(self, step):
        """Leave a note that the run wants to be started again: torchrun does not hand on its workers' exit status."""
        if dist.is_main():
            write_text(self.requeue, f"stopped by a signal after step {step}\n")

    def is_validated(self, step):
        """Whether metrics.jsonl has figures of a validation at ``step``. The same answer on every process."""
        return dist.from_main(any(r["step"] == step and ("dev_eer" in r or "heldout_spread" in r) for r in self.records()))

    def records(self):
        """The lines of metrics.jsonl, each a dict with "step"."""
        if self.metrics.is_file():
            for line in self.metrics.read_text(encoding="utf-8").splitlines():
                with contextlib.suppress(ValueError):  # the line that a kill cut short
                    yield json.loads(line)

    def truncate_metrics(self, step):
        """Drop the lines of metrics.jsonl that lie beyond ``step``: they will be written again after a resume."""
        kept = [json.dumps(r) + "\n" for r in self.records() if r["step"] <= step]
        if self.metrics.is_file():
            with open_atomic(self.metrics) as file:
                file.writelines(kept)

    def append_metrics(self, record):
        """Append one JSON line to metrics.jsonl."""
        with open(self.metrics, "a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
