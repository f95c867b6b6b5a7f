"""Starting a run from the weights of another one: the network, and the loss head with its classes found by name."""

import hashlib

import torch

from wespk.models.layers import relu_slopes
from wespk.training import checkpoint
from wespk.training.objectives import build_objective, find_objective
from wespk.utils import config
from wespk.utils.errors import InputError


class InitialWeights:
    """What the options ``train.init_from``, ``init_head`` and ``extra_classes`` ask for, for one experiment.

    conf: resolved configuration; folder: the experiment's; speakers: the training speakers, in the order of their labels;
    resumed: the experiment's own newest checkpoint, or None. With a checkpoint of its own a run takes its weights from
    there, and the one that it once started from is not needed any more.

    ``classes``: the names of the head's classes: the training speakers, in their order, and with ``extra_classes: keep``
    behind them those of the checkpoint that have no training data now.

    Raises ``InputError`` if the checkpoint is not there, or not the one that the experiment was begun from.
    """

    def __init__(self, conf, folder, speakers, resumed=None):
        self.conf, self.path, self.speakers = conf, conf["train"]["init_from"], list(speakers)
        self.state = self.digest = None
        if self.path and resumed is None:
            self.state = checkpoint.load(self.path)
            self.digest = fingerprint(self.state)
        elif self.path:
            self.digest = self._same_as_at_the_start(folder)
        self.classes = self._classes(resumed)

    def _same_as_at_the_start(self, folder):
        """The fingerprint of the weights that the experiment was begun with, after a look whether they are still those."""
        if not (folder / "config.yaml").is_file():
            return None
        before = config.read_resolved(folder).get("derived", {}).get("init_from")
        try:
            now = fingerprint(checkpoint.load(self.path))
        except InputError:  # it has gone, which does no harm
            return before
        if before not in (None, now):
            raise InputError(f"{folder} was begun from other weights than {self.path} holds now: train it "
                             "anew from these (run.sh --force true), or train under another --exp")
        return now

    def _classes(self, resumed):
        if not self.path or self.conf["train"]["extra_classes"] == "drop":
            return self.speakers
        known = set(self.speakers)
        there = checkpoint.load(resumed) if resumed else self.state
        return self.speakers + [name for name in there["speakers"] if name not in known]

    def load(self, objective):
        """Put the weights into a new ``objective``, built for ``classes``. Returns lines for the log.

        The classification loss of a contrastive objective and that of a supervised one take each other's tensors. Where
        the checkpoint's network is this one with ReLU in place of PReLU, the slopes become 0: ``layers.relu_slopes``.

        Raises ``InputError`` if the network has no tensor in common with the checkpoint's or, for ``init_head: by_name``,
        the head's tensors have other shapes or no class is found.
        """
        if self.state is None:
            return []
        lines = self._load_network(objective.model)
        objective.after_load()
        if self.conf["train"]["init_head"] == "by_name":
            lines += self._load_head(objective)
        return [f"init_from {self.path}: {line}" for line in lines]

    def _load_network(self, model):
        own, theirs = model.state_dict(), self.state["model"]
        taken = {name: value for name, value in theirs.items() if name in own and own[name].shape == value.shape}
        if not taken:
            raise InputError(f"train.init_from: {self.path} shares no tensor with this network")
        slopes = relu_slopes(model, theirs)
        model.load_state_dict({**taken, **slopes}, strict=False)
        lines = [_report("network", own, theirs, taken), *self._other_features()]
        if slopes:
            lines.append(f"network: of these, the {len(slopes)} slopes of PReLUs are set to 0, as it was one of ReLUs there")
        return lines

    def _other_features(self):
        """A line for the log, if the network was trained on other features than those that it is given now."""
        then, now = self.state["config"]["features"], self.conf["features"]
        differ = [f"features.{name} {then.get(name)} there, {value} here" for name, value in now.items()
                  if name != "compress" and then.get(name) != value]
        return [f"network: WARNING: it was trained on other features: {', '.join(differ)}"] if differ else []

    def _load_head(self, objective):
        own, names = objective.loss.state_dict(), self.state["speakers"]
        theirs = _named_as(objective.head, find_objective(self.state["config"]).head, self.state["loss"])
        by_class = _tensors_by_class(objective, self.conf, len(self.classes))
        if self.conf["train"]["extra_classes"] == "keep" and not by_class:
            raise self._refusal("has no weights for classes", "train.extra_classes=drop")
        there = {name: i for i, name in enumerate(names)}
        pairs = [(i, there[name]) for i, name in enumerate(self.classes) if name in there]
        if by_class and not pairs:
            raise self._refusal(f"is for classes of which the checkpoint has none ({len(names)} speakers there)",
                                "train.init_head=none")
        new, old = torch.tensor(pairs, dtype=torch.int64).reshape(-1, 2).unbind(1)
        taken = {}
        for name, value in theirs.items():
            if name in by_class and (len(value) != len(names) or value.shape[1:] != own[name].shape[1:]):
                raise self._refusal(f"has '{name}' of shape {tuple(own[name].shape)}, which rows of the checkpoint's "
                                    f"{tuple(value.shape)} do not fit", "train.init_head=none")
            if name in by_class:
                taken[name] = own[name].clone().index_copy_(0, new, value[old])
            elif name in own and own[name].shape == value.shape:
                taken[name] = value
        if not taken:
            raise self._refusal("shares no tensor with the checkpoint's", "train.init_head=none")
        objective.loss.load_state_dict(taken, strict=False)
        return [_report("loss head", own, theirs, taken), *([self._count(there)] if by_class else [])]

    def _count(self, there):
        known, data = there.keys(), set(self.speakers)
        return (f"classes: {len(known & data)} found by name, {len(data - known)} new (initialised at random), "
                f"{len(self.classes) - len(data)} kept without data, {len(known - set(self.classes))} dropped")

    def _refusal(self, problem, remedy):
        return InputError(f"train.init_from: {self.path}: the head of loss.name={self.conf['loss']['name']} {problem}: set "
                          f"{remedy}")


def _named_as(here, there, tensors):
    """``tensors`` with the beginnings of an objective's names, ``there``, put as ``here``; None: one of them has no head."""
    if here is None or there is None:
        return tensors
    return {here + name[len(there) :] if name.startswith(there) else name: value for name, value in tensors.items()}


def _tensors_by_class(objective, conf, num_classes):
    """The names of the loss's tensors with one row a class: those that grow when there is one class more."""
    with torch.device("meta"):
        larger = build_objective(conf, num_classes + 1).loss.state_dict()
    return {name for name, value in objective.loss.state_dict().items() if larger[name].shape != value.shape}


def _report(part, own, theirs, taken):
    differ = {name for name in own.keys() & theirs.keys() - taken.keys()}
    shapes = [f"{name} {tuple(theirs[name].shape)} there, {tuple(own[name].shape)} here" for name in sorted(differ)]
    lists = {"kept as initialised": sorted(own.keys() - taken.keys()), "not used": sorted(theirs.keys() - taken.keys()),
             "of another shape": shapes}
    rest = "; ".join(f"{what}: {', '.join(names) or 'none'}" for what, names in lists.items())
    return f"{part}: {len(taken)} of {len(own)} tensors loaded; {rest}"


def fingerprint(state):
    """A sha256 hex digest of a checkpoint's weights (network and loss head) and speakers."""
    digest = hashlib.sha256("\n".join(state["speakers"]).encode())
    for part in ("model", "loss"):
        for name, value in sorted(state[part].items()):
            digest.update(f"{part}.{name} {tuple(value.shape)} {value.dtype}".encode())
            digest.update(value.cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()
