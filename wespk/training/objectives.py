"""The objectives known to the trainer: each turns a batch into named scalars, of which "loss" is minimised."""

from wespk.utils.registry import Registry

OBJECTIVES = Registry("objective")


def build_objective(conf, num_classes):
    """The objective that ``conf["objective"]["name"]`` names, built from the whole configuration."""
    from wespk.training import supervised  # noqa: F401  (registers itself)

    return OBJECTIVES.build(conf["objective"], conf=conf, num_classes=num_classes)
