"""Contrastive training: several views of each utterance, a contrastive loss over all of a batch, a classification loss.

The two losses look at the same embeddings and are combined by a ``Balance`` (section ``balance``). Either may be left
out (``loss.name=none``, ``contrast.name=none``), which leaves nothing to balance: that is how each is measured alone, on the same
views and with the same work in the network.

Sources: Li, Mak & Meng 2023 (arXiv 2210.16622) for the margin, the attention and the balance; Khosla et al. 2020 (arXiv
2004.11362) for contrast between views and between utterances of a class. What is known of the former and what is our
choice stands in ``wespk.losses.supcon`` and ``wespk.losses.caa_margin_con``.
"""

import torch
from torch import nn

from wespk.losses import build_loss, load_all
from wespk.models import build_model
from wespk.training.balance import build_balance
from wespk.training.gather import all_rows, gather, own_rows
from wespk.training.objectives import OBJECTIVES, Objective
from wespk.training.supervised import build_head
from wespk.utils.errors import InputError

NAMES = ("classification", "contrast")


def _is_none(conf, section):
    """Whether ``section`` asks for no loss. Raises ``InputError`` if it has options all the same."""
    if conf[section]["name"] == "none" and len(conf[section]) > 1:
        options = ", ".join(f"{section}.{key}" for key in conf[section] if key != "name")
        raise InputError(f"{section}.name=none leaves {options} without effect; leave out what is not meant")
    return conf[section]["name"] == "none"


def _build_contrast(conf, embed_dim, num_classes):
    """The loss of the section ``contrast``, or None."""
    if _is_none(conf, "contrast"):
        return None
    name = conf["contrast"]["name"]
    if not load_all().find(name).views:
        able = ", ".join(n for n in load_all().names() if load_all().find(n).views)
        raise InputError(f"contrast.name={name} does not compare views of an utterance; {able} or none do")
    return build_loss(conf["contrast"], embed_dim, num_classes)


class ViewLosses(nn.Module):
    """The losses of the contrastive objective with what combines them: all of it that a checkpoint has to keep.

    forward(embeddings (B, V, D) float32, labels (B,) int64) -> 0-dim loss. The contrast set are the embeddings of all
    processes; the value is this process's share of the whole (see ``ContrastiveLoss.rows``), and the mean over processes,
    each weighed by its B, is the loss of the whole batch. ``classified``: how many views, the first ones, the classification
    loss sees; ``utterances``: of each speaker in a batch, 1 if they come as they come.

    ``stats``: those of the losses and of the balance, detached; ``skipped`` is the share of the embeddings without a positive.
    """

    def __init__(self, conf, embed_dim, num_classes, classified, utterances=1):
        super().__init__()
        self.classified, self.stats = classified, {}
        self.classification = None
        if not _is_none(conf, "loss"):
            self.classification = self._build_classification(conf, embed_dim, num_classes, utterances)
        self.contrast = _build_contrast(conf, embed_dim, num_classes)
        if getattr(self.contrast, "class_vectors", None) == "head":
            self.contrast.share_classes(self.classification)
        self.balance = None
        if self.classification and self.contrast:
            self.balance = build_balance(conf, NAMES)
        elif not (self.classification or self.contrast):
            raise InputError("loss.name=none and contrast.name=none leave nothing to train by; set one of them")
        if self.contrast and utterances == 1 and conf["views"]["number"] == 1:
            raise InputError("views.number=1 and objective.utterances=1 give the contrastive loss no positives but chance "
                             "ones; set one of them to 2 or more, or contrast.name=none")

    def _build_classification(self, conf, embed_dim, num_classes, utterances):
        name = conf["loss"]["name"]
        if load_all().find(name).views:
            raise InputError(f"loss.name={name} compares views and is for contrast.name; set loss.name to a classification "
                             "loss, or to none")
        loss = build_head(conf, embed_dim, num_classes)
        wanted, given = getattr(loss, "utterances", None), utterances * self.classified
        if wanted and not (utterances > 1 and given == wanted):
            raise InputError(f"loss.name={name} compares loss.utterances={wanted} embeddings of each speaker of a batch, but "
                             f"objective.utterances={utterances} times {self.classified} classified views are {given}: give "
                             "objective.utterances of 2 or more and loss.utterances that fits, or another loss")
        return loss

    @property
    def has_margin(self):
        """Whether there is a classification loss whose margin follows the schedule."""
        return getattr(self.classification, "has_margin", False)

    def set_margin(self, margin):
        """Set the classification loss's margin."""
        self.classification.set_margin(margin)

    def forward(self, embeddings, labels):
        losses = {}
        if self.classification:
            seen = embeddings[:, : self.classified]
            losses["classification"] = self.classification(seen.flatten(0, 1), labels.repeat_interleave(seen.shape[1]))
        if self.contrast:
            losses["contrast"] = self._over_all_processes(embeddings, labels)
        value = self.balance(losses, embeddings) if self.balance else sum(losses.values())
        self.stats = {name: figure for part in (self.classification, self.contrast, self.balance) if part
                      for name, figure in part.stats.items()}
        if "skipped" in self.stats:  # a share has a mean over processes and micro-batches
            self.stats["skipped"] = self.stats["skipped"] / embeddings[..., 0].numel()
        return value

    def _over_all_processes(self, embeddings, labels):
        rows, labels = embeddings.flatten(0, 1), labels.repeat_interleave(embeddings.shape[1])
        everyone, sizes = all_rows(rows)
        return self.contrast.rows(everyone, gather(labels, sizes), own_rows(sizes).start, len(rows))


@OBJECTIVES.register("contrastive")
class Contrastive(Objective):
    """Network and ``ViewLosses`` in one module, so that DDP's forward covers both.

    forward(feats (B, V, T, F) float32, labels (B,) int64) -> {"loss": scalar, and the losses' and the balance's figures}.
    All views go through the network as one batch. With ``bf16`` it runs under bfloat16 autocast; embeddings and losses
    are float32 always. With micro-batches each is a contrast set of its own.

    utterances: of each speaker in a batch (M of P x M), so that positives also come from other utterances; 1: batches
        are drawn without regard to the speaker.
    classify: the views that the classification loss sees: ``all``, or those that are ``clean`` (``views.clean``).
    """

    sections = ("loss", "views", "contrast")
    head = "classification."

    def __init__(self, conf, num_classes, utterances=1, classify="all"):
        super().__init__()
        if type(utterances) is not int or utterances < 1:
            raise InputError(f"objective.utterances must be an integer >= 1, not {utterances!r}")
        if classify not in ("all", "clean"):
            raise InputError(f"objective.classify is all or clean, not {classify!r}")
        if classify == "clean" and not conf["views"]["clean"]:
            raise InputError("objective.classify=clean, but views.clean is 0: no view is clean; set one of them otherwise")
        if classify == "clean" and conf["loss"]["name"] == "none":
            raise InputError("objective.classify=clean is for the classification loss, but loss.name is none; leave it out")
        self.utterances = None if utterances == 1 else utterances
        self.model = build_model(conf["model"])
        self.loss = self.build_loss(conf, self.model.embed_dim, num_classes)
        self.bf16, self.conf = conf["train"]["bf16"], conf

    @staticmethod
    def build_loss(conf, embed_dim, num_classes):
        """The losses as configured, without a network."""
        views = conf["views"]
        classified = views["clean"] if conf["objective"].get("classify") == "clean" else views["number"]
        return ViewLosses(conf, embed_dim, num_classes, classified, conf["objective"].get("utterances", 1))

    @property
    def has_margin(self):
        """Whether the classification loss takes the section ``margin`` into account."""
        return self.loss.has_margin

    def set_margin(self, margin):
        """Set the classification loss's margin, if it has one."""
        if self.has_margin:
            self.loss.set_margin(margin)

    def summary(self):
        """A few words for the log."""
        conf, weighed = self.conf, self.loss.balance
        names = [name for name in (conf["loss"]["name"], conf["contrast"]["name"]) if name != "none"]
        size = conf["train"]["batch_size"] // conf["train"]["accumulate"] * conf["views"]["number"]
        words = " and ".join(names) + (f" balanced by {weighed.method}" if weighed else "")
        return words + (f", contrast sets of about {size} embeddings" if self.loss.contrast else "")

    def forward(self, feats, labels):
        with torch.autocast(feats.device.type, dtype=torch.bfloat16, enabled=self.bf16):
            embeddings = self.model(feats.flatten(0, 1))
        loss = self.loss(embeddings.float().unflatten(0, feats.shape[:2]), labels)
        return {"loss": loss, **self.loss.stats}
