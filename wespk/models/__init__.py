"""Networks: log-mel features (B, T, F) in, speaker embeddings (B, D) out; found by name, one architecture a file."""

import importlib
import pkgutil

from wespk.utils.registry import Registry

MODELS = Registry("model")


def load_all():
    """Import every file of this package, so that each has entered its names in ``MODELS``; returns ``MODELS``."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
    return MODELS


def build_model(conf):
    """Build the network that ``conf`` describes: ``{"name": "resnet34", "embed_dim": 256, ...}``.

    The other keys are the constructor's arguments. Raises ``InputError`` for an unknown name or option and for a
    value that the network cannot take.
    """
    return load_all().build(conf)
