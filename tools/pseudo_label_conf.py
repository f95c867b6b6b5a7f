"""The configuration of pseudo-labels (stage 8): what is done in each round, and does it fit the experiment?"""

import sys
from pathlib import Path

from wespk.utils.cli import main

DEFAULTS = Path(__file__).resolve().parent.parent / "wespk" / "conf" / "pseudo_labels.yaml"


def others_than(pl_conf):
    """Words that name the files for --pl-conf beside ``pl_conf``; "" if there is none."""
    names = sorted(str(path) for path in Path(pl_conf).parent.glob("*pseudo_labels.yaml") if path.name != Path(pl_conf).name)
    return f"; or give another --pl-conf than {pl_conf}: there is {', '.join(names)}" if names else ""


def check_training(conf, base, path, others=""):
    """Refuse a training that reads what the data of the experiment ``base`` do not hold. path: named in messages."""
    from wespk.utils import config as configuration
    from wespk.utils.errors import InputError

    there, asked = ({**c["features"], "cmn": ""} for c in (base, conf))
    changed = configuration.difference(there, asked)
    if changed:
        words = " ".join(f"features.{name}={value}" for name, value, _ in changed)
        raise InputError(f"{path} asks for other features than the experiment has, on whose data it is to train: "
                         f"add '{words}' to it or to --pl-train-set{others}")
    copies = conf["copies"]
    if (copies["speeds"] or copies["kinds"]) and copies != base["copies"]:
        raise InputError(f"{path} trains on copies (copies.speeds={copies['speeds']}, copies.kinds={copies['kinds']}), "
                         "which stage 2 of this experiment has not made: set copies.speeds=[] copies.kinds=[], or "
                         "data.input=waves and the section 'augment' in place of copies")


def fitted(training, pl_train_set, epochs, tell):
    """The further options of the trainings, which last ``epochs`` (0: as configured), schedules in proportion."""
    from tools.fit_epochs import told, words
    from wespk.utils import config as configuration
    from wespk.utils.errors import InputError

    if not epochs:
        return " ".join(text for text in (training["set"], pl_train_set) if text)
    if "num_epochs" in configuration.parse_sets(pl_train_set).get("train", {}):
        raise InputError("--pl-epochs and --pl-train-set train.num_epochs say one thing twice: leave one out")
    conf = configuration.load(training["config"], "", training["set"])
    if tell:
        sys.stderr.write(told(conf, epochs, pl_train_set, "--pl-epochs"))
    return " ".join([training["set"], *words(conf, epochs), pl_train_set]).strip()


def read(pl_conf, pl_set, pl_train_set, pl_epochs=0, tell=False):
    """The options of stage 8, ``training.config`` being an absolute path, and the configuration of its trainings."""
    from wespk.utils import config as configuration
    from wespk.utils.errors import InputError

    options = configuration.load_other(DEFAULTS, pl_conf, pl_set)
    training = options["training"]
    if not training["config"]:
        raise InputError(f"{pl_conf}: training.config is missing: name the configuration to train with")
    training["config"] = str((Path(pl_conf).parent / training["config"]).resolve())
    training["set"] = fitted(training, pl_train_set, pl_epochs, tell)
    if not options["clusters"]["keep"]:
        raise InputError(f"{pl_conf}: clusters.keep=0 keeps nothing: give a share above 0, 1 for all")
    if "labels" in configuration.parse_sets(training["set"]):
        raise InputError(f"{pl_conf}: the labels of stage 8 are its clusters: leave 'labels' out of training.set and "
                         "--pl-train-set")
    return options, configuration.load(training["config"], "", training["set"])


def pseudo_label_conf(pl_conf: str, pl_set: str = "", pl_train_set: str = "", config: str = "", overlay: str = "",
                      set: str = "", utterances: int = 0, pl_epochs: int = 0, tell: bool = False):
    """Print the options of stage 8, one section.key=value line each.

    Raises InputError if the trainings do not fit the experiment's data, or there are more clusters than utterances.

    Args:
        pl_conf: YAML laid over wespk/conf/pseudo_labels.yaml
        pl_set: further options of that, "section.key=value section.key=value"
        pl_train_set: further options of the trainings
        config: YAML of the experiment
        overlay: YAML laid over that; several: separated by commas
        set: further options of the experiment
        utterances: number of training utterances; 0: not known yet
        pl_epochs: epochs of the trainings, warm-up and margin schedule in proportion; 0: as configured
        tell: say on stderr what else that changes
    """
    from tools.conf_lines import lines
    from wespk.utils import config as configuration
    from wespk.utils.errors import InputError

    options, conf = read(pl_conf, pl_set, pl_train_set, pl_epochs, tell)
    others = others_than(pl_conf)
    check_training(conf, configuration.load(config, overlay, set), options["training"]["config"], others)
    number = options["clusters"]["number"]
    if 0 < utterances < number:
        raise InputError(f"clusters.number={number} of {utterances} training utterances: ask for fewer clusters, such "
                         f"as --pl-set clusters.number={max(2, utterances // 5)}, or give a --pl-conf for this corpus{others}")
    print("\n".join(lines(options)))


if __name__ == "__main__":
    main(pseudo_label_conf)
