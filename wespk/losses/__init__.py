"""Training losses: embeddings (B, D), or (B, V, D) of several views, and labels (B,) in, a scalar out; found by name."""

import importlib
import pkgutil

from wespk.utils.registry import Registry

LOSSES = Registry("loss")
WITHOUT_LABELS = Registry("loss")  # of head outputs or embeddings alone: parts of objectives, not for loss.name


def load_all():
    """Import every file of this package, so that each has entered its names in ``LOSSES``; returns ``LOSSES``."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
    return LOSSES


def build_loss(conf, embed_dim, num_classes):
    """Build the loss that ``conf`` describes: ``{"name": "aam_softmax", "scale": 32, "margin": 0.2}``.

    The other keys are the constructor's arguments. Raises ``InputError`` for an unknown name or option and for a
    value out of range.

    The names ``sdpn`` and ``koleo`` stand for losses that training without labels is made of: ``SDPNLoss`` of outputs of size
    ``embed_dim``, with its own arguments, and ``KoLeo``. ``num_classes``, of speakers, says nothing to them.
    """
    losses = load_all()
    if conf.get("name") in WITHOUT_LABELS.names():
        losses = WITHOUT_LABELS
    return losses.build(conf, embed_dim=embed_dim, num_classes=num_classes)
