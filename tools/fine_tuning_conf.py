"""The configuration of a fine-tuning (stage 8): an overlay laid over an experiment's own, and whether that makes sense."""

from pathlib import Path

from wespk.utils.cli import main


def completed(base, overlay, sets):
    """``overlay`` with a *_waves.yaml from its folder behind it, if that fits ``base``; else None."""
    from wespk.utils import config as configuration
    from wespk.utils.errors import InputError

    for path in sorted(Path(overlay.split(",")[0]).parent.glob("*_waves.yaml")):
        try:
            configuration.lay_over(base, f"{overlay},{path}", sets)
        except InputError:
            continue
        return f"{overlay},{path}"
    return None


def fine_tuning_conf(config: str = "", overlay: str = "", set: str = "", lm_overlay: str = "", lm_set: str = ""):
    """Print the configuration of a fine-tuning, merged.

    Raises InputError if the overlay does not fit, naming the one that does where it is known, and if the trained head
    would be thrown away without a word about it in --lm-set.

    Args:
        config: the experiment's YAML
        overlay: YAML laid over that; several: separated by commas
        set: further options, "section.key=value section.key=value"
        lm_overlay: YAML of the fine-tuning laid over all that; several: separated by commas
        lm_set: further options of the fine-tuning
    """
    import yaml

    from wespk.utils import config as configuration
    from wespk.utils.errors import InputError

    base = configuration.load(config, overlay, set)
    try:
        conf = configuration.lay_over(base, lm_overlay, lm_set)
    except InputError:
        better = completed(base, lm_overlay, lm_set) if base["data"]["input"] == "waves" else None
        if better is None:
            raise
        raise InputError(f"the experiment is trained from waveforms (data.input=waves), which {lm_overlay} does not fit: "
                         f"give --lm-overlay {better}") from None
    asked = configuration.parse_sets(lm_set).get("train", {})
    if conf["train"]["init_head"] == "none" and "init_head" not in asked:
        raise InputError(f"{lm_overlay} leaves train.init_head at none: fine-tuning would begin with a random head, at a "
                         f"learning rate of {conf['optimizer']['lr']:g}. Name it behind an overlay that says by_name "
                         f"(--lm-overlay conf/lmft.yaml,{lm_overlay}), or give --lm-set train.init_head=none if it is meant")
    print(yaml.safe_dump(conf, sort_keys=False, default_flow_style=None, width=120), end="")


if __name__ == "__main__":
    main(fine_tuning_conf)
