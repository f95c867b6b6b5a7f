"""The objectives known to the trainer: each turns a batch into named scalars, of which "loss" is minimised.

An objective is a module with ``model`` (the network that is kept) and ``loss`` (all else that is trained), ``has_margin`` and
``set_margin``, ``utterances`` (of each speaker in a batch; None: any) and ``views``: False, or True if it takes several views of
each utterance. Its static ``build_loss(conf, embed_dim, num_classes)`` makes ``loss`` without the network.
"""

from wespk.utils.registry import Registry

OBJECTIVES = Registry("objective")


def find_objective(conf):
    """The class that ``conf["objective"]["name"]`` names."""
    from wespk.training import contrastive, supervised  # noqa: F401  (they register themselves)

    return OBJECTIVES.find(conf["objective"]["name"])


def build_objective(conf, num_classes):
    """The objective that ``conf["objective"]["name"]`` names, built from the whole configuration."""
    find_objective(conf)
    return OBJECTIVES.build(conf["objective"], conf=conf, num_classes=num_classes)
