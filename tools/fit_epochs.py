"""The words for --set that fit a configuration to another number of epochs, for run.sh --epochs and --pl-epochs."""

import sys

from wespk.utils.cli import main

SCALED = (("schedule", "warmup_epochs"), ("margin", "start_epoch"), ("margin", "end_epoch"))


def words(conf, epochs):
    """``section.key=value`` words that make ``conf`` train for ``epochs``, its schedules keeping their proportions.

    If it is validated every more epochs than that, it is after the last one.
    """
    share = epochs / conf["train"]["num_epochs"]
    scaled = [f"{section}.{key}={conf[section][key] * share:.6g}" for section, key in SCALED]
    validated = [f"runtime.validate_every={epochs}"] if conf["runtime"]["validate_every"] > epochs else []
    return [f"train.num_epochs={epochs}", *scaled, *validated]


def told(conf, epochs, given, option):
    """A line about what is not a schedule, for the user of ``option``; "" where ``given``, further words, decide that anyway."""
    from wespk.utils import config as configuration

    every = conf["runtime"]["validate_every"]
    if every <= epochs or "validate_every" in configuration.parse_sets(given).get("runtime", {}):
        return ""
    return f"{option} {epochs}: runtime.validate_every is {epochs} in place of {every}, or nothing would be validated\n"


def fit_epochs(epochs: int, config: str = "", overlay: str = "", set: str = ""):
    """Print the words. What counts epochs is scaled; stage 4 averages as many checkpoints as there are.

    Args:
        epochs: how many there are to be
        config: YAML laid over wespk/conf/train.yaml
        overlay: YAML laid over that; several: separated by commas
        set: further options, which will be given behind the words and so count more
    """
    from wespk.utils import config as configuration

    conf = configuration.load(config, overlay)
    sys.stderr.write(told(conf, epochs, set, "--epochs"))
    print(" ".join(words(conf, epochs)))


if __name__ == "__main__":
    main(fit_epochs)
