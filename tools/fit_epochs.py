"""The words for --set that fit a configuration to another number of epochs, for run.sh --epochs."""

from wespk.utils.cli import main

SCALED = (("schedule", "warmup_epochs"), ("margin", "start_epoch"), ("margin", "end_epoch"))


def words(conf, epochs):
    """``section.key=value`` words that make ``conf`` train for ``epochs``, its schedules keeping their proportions."""
    share = epochs / conf["train"]["num_epochs"]
    scaled = [f"{section}.{key}={conf[section][key] * share:.6g}" for section, key in SCALED]
    return [f"train.num_epochs={epochs}", *scaled]


def fit_epochs(epochs: int, config: str = "", overlay: str = ""):
    """Print the words. What counts epochs is scaled; stage 4 averages as many checkpoints as there are.

    Args:
        epochs: how many there are to be
        config: YAML laid over wespk/conf/train.yaml
        overlay: YAML laid over that; several: separated by commas
    """
    from wespk.utils import config as configuration

    print(" ".join(words(configuration.load(config, overlay), epochs)))


if __name__ == "__main__":
    main(fit_epochs)
