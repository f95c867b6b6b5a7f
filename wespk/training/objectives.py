"""The objectives known to the trainer: each turns a batch into named scalars, of which "loss" is minimised.

An objective is a module with ``model`` (the network that is kept) and ``loss`` (all else that a checkpoint has to hold). One with a
classification loss has a static ``build_loss(conf, embed_dim, num_classes)``, which makes ``loss`` without the network.
"""

from torch import nn

from wespk.utils.registry import Registry

OBJECTIVES = Registry("objective")


class Objective(nn.Module):
    """What the trainer asks of an objective, and the answers of one that has nothing to say.

    forward(inputs, labels (B,)) -> {"loss": 0-dim tensor, and figures}: ``inputs`` as the source finishes a batch.

    sections: those of the configuration's method sections (``METHOD_SECTIONS``) that it reads; ``views`` and ``crops`` decide the
    source. utterances: of each speaker in a batch; None: any. has_margin, set_margin: of the schedule ``margin``.

    head: how the names of the classification loss's tensors begin among those of ``loss``; None: there is no such loss.

    joint: its loss compares the utterances of a batch, so that micro-batches are to give what the whole batch would. Then
    forward(inputs, labels, outputs=True) -> tuple of tensors (B, ...), and ``losses(*outputs)``, with those of several
    micro-batches one below another, gives what forward gives without ``outputs``.
    """

    sections = ()
    head = None
    utterances = None
    has_margin = False
    joint = False

    def set_margin(self, margin):
        """Use this margin from now on."""

    def before_step(self, step, total_steps):
        """Called before optimiser step ``step`` (0-based): what follows a schedule is to be a function of the two."""

    def after_step(self, step, total_steps):
        """Called when the weights have been changed by optimiser step ``step``."""

    def after_load(self):
        """Called when ``model`` has got the weights of another run: whatever starts as its copy is to follow."""

    def remarks(self, utterances):
        """What is worth a warning about a training set of so many utterances: list of sentences."""
        return []

    def figures(self, epochs):
        """Further figures (floats) for the log, after ``epochs`` (a fraction), from the last step; may write warnings."""
        return {}


METHOD_SECTIONS = ("loss", "views", "contrast", "crops")


def find_objective(conf):
    """The class that ``conf["objective"]["name"]`` names."""
    from wespk.training import contrastive, dino, moco, sdpn, simclr, supervised  # noqa: F401  (they register themselves)

    return OBJECTIVES.find(conf["objective"]["name"])


def build_objective(conf, num_classes):
    """The objective that ``conf["objective"]["name"]`` names, built from the whole configuration."""
    find_objective(conf)
    return OBJECTIVES.build(conf["objective"], conf=conf, num_classes=num_classes)
