"""The options that decide a run's results, one ``section.key=value`` line each, for stages.sh to compare."""

from wespk.utils.cli import main

FREE = ("runtime", "derived", "provenance")  # these describe the machine or the moment


def lines(conf, prefix=""):
    """The leaves of a nested dict as ``section.key=value`` lines, sorted."""
    for key in sorted(conf):
        if isinstance(conf[key], dict):
            yield from lines(conf[key], f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}={conf[key]}"


def conf_lines(config: str = "", overlay: str = "", set: str = "", exp: str = ""):
    """Print the merged configuration, or that of an experiment, as lines; of both, check first that they say the same.

    Before the lines of an experiment stands a line derived.train_data=FOLDER, if that is known.

    Args:
        config: YAML laid over wespk/conf/train.yaml
        overlay: YAML laid over that; several: separated by commas
        set: further options, "section.key=value section.key=value"
        exp: experiment folder, whose config.yaml is read
    """
    from wespk.utils import config as configuration
    from wespk.utils.errors import InputError

    given = config or overlay or set
    own = configuration.read_resolved(exp) if exp else configuration.load(config, overlay, set)
    folder = own.get("derived", {}).get("train_data")
    own = {section: values for section, values in own.items() if section not in FREE}
    if exp and given:
        asked = configuration.load(config, overlay, set)
        asked = {section: values for section, values in asked.items() if section not in FREE}
        if "feat_dim" not in asked["model"]:  # then it followed from the features
            own["model"].pop("feat_dim", None)
        changed = configuration.difference(own, asked)
        if changed:
            listed = "; ".join(f"{name}: {a!r} there, {b!r} asked for" for name, a, b in changed)
            raise InputError(f"{exp} was trained with other options ({listed}). Leave out --config, --overlay, "
                             "--set, --epochs and --seed to go on with those, or train under another --exp from stage 3; stage 8 "
                             "wants the --lm-overlay and --lm-set that it was begun with (or --pl-conf, --pl-set, --pl-train-set "
                             "and --pl-epochs, which is of the rounds what --epochs is of the experiment itself)")
    if not own["labels"]["file"]:
        del own["labels"]["file"]  # as before there was this option: what was done then stays done
    if own["labels"]["noise"] != "none":
        from wespk.data.labels import noise_name

        own["labels"]["folder"] = noise_name(own["labels"])  # follows from the others
    if exp and folder:
        print(f"derived.train_data={folder}")
    print("\n".join(lines(own)))


if __name__ == "__main__":
    main(conf_lines)
