"""Supervised training: one network, one classification loss."""

import torch

from wespk.losses import WITHOUT_LABELS, build_loss, load_all
from wespk.models import build_model
from wespk.training.objectives import OBJECTIVES, Objective
from wespk.utils.errors import InputError

LEAST_SHARE = 0.5  # of a loss's margins: margin.final below it is another loss's, such as the default


def build_head(conf, embed_dim, num_classes):
    """The loss of the section ``loss``. One whose margin follows the section ``margin`` starts with its ``initial``.

    Raises ``InputError`` for ``loss.margin`` where the schedule says it, for an ``initial`` or ``final`` margin that the
    loss cannot take, and for a ``final`` one that is meant in radians where the loss takes a share.
    """
    options = dict(conf["loss"])
    if not load_all().find(options["name"]).has_margin:
        return build_loss(options, embed_dim, num_classes)
    if "margin" in options:
        raise InputError("loss.margin: the margin follows the section 'margin'; set margin.initial, margin.final and the "
                         "epochs between which it grows (a constant one: start_epoch = end_epoch = 0)")
    margin = conf["margin"]
    if load_all().find(options["name"]).margin_is_share and 0 < margin["final"] < LEAST_SHARE:
        raise InputError(f"margin.final={margin['final']:g} would train loss.name={options['name']} with that share of its "
                         "margins: set margin.final=1 (the share of m1, m2, m3 in force), or 0 for none; for margins below "
                         f"{LEAST_SHARE:g} of those given, give smaller m1, m2, m3")
    try:
        loss = build_loss({**options, "margin": margin["initial"]}, embed_dim, num_classes)
    except InputError as error:
        raise InputError(f"{error}{' (margin.initial)' if 'option margin must' in str(error) else ''}") from None
    try:
        loss.set_margin(margin["final"])
    except InputError as error:
        raise InputError(f"{error} (margin.final)") from None
    loss.set_margin(margin["initial"])
    return loss


@OBJECTIVES.register("supervised")
class Supervised(Objective):
    """Network and loss head in one module, so that DDP's forward covers both.

    forward(feats (B, T, F) float32, labels (B,) int64) -> {"loss": scalar, "accuracy": scalar}. With ``bf16`` the
    network runs under bfloat16 autocast; embeddings and loss are float32 always.
    """

    sections = ("loss",)
    head = ""

    def __init__(self, conf, num_classes):
        super().__init__()
        name, losses = conf["loss"]["name"], load_all()
        if name == "none":
            raise InputError("loss.name=none is for objectives with several losses; supervised training has this one alone")
        if name in WITHOUT_LABELS.names():
            raise InputError(f"loss.name={name} reads no labels, it is a part of objective.name=sdpn: set that and loss.name=none")
        if losses.find(name).views:
            raise InputError(f"loss.name={name} compares several views of an utterance, of which supervised "
                             "training makes one; use it in the contrastive objective (objective.name=contrastive)")
        self.model = build_model(conf["model"])
        self.loss = self.build_loss(conf, self.model.embed_dim, num_classes)
        self.bf16, self.name = conf["train"]["bf16"], name

    build_loss = staticmethod(build_head)

    @property
    def utterances(self):
        """How many utterances of each speaker the loss wants in a batch; None: any."""
        return getattr(self.loss, "utterances", None)

    @property
    def has_margin(self):
        """Whether the loss takes the section ``margin`` into account."""
        return getattr(self.loss, "has_margin", True)

    def set_margin(self, margin):
        """Set the loss head's margin, if it has one."""
        if self.has_margin:
            self.loss.set_margin(margin)

    def summary(self):
        """A few words for the log."""
        return self.name

    def forward(self, feats, labels):
        with torch.autocast(feats.device.type, dtype=torch.bfloat16, enabled=self.bf16):
            embeddings = self.model(feats)
        loss = self.loss(embeddings.float(), labels)
        return {"loss": loss, **self.loss.stats}
