"""Before stage 1: is the configuration one that every later stage will accept?"""

from wespk.utils.cli import main


def check_config(config: str = "", overlay: str = "", set: str = "", show: bool = False):
    """Merge and check a configuration, and build its network once, without data.

    Args:
        config: YAML laid over wespk/conf/train.yaml
        overlay: YAML laid over that; several: separated by commas
        set: further options, "section.key=value section.key=value"
        show: print the merged configuration
    """
    import yaml

    from wespk.utils import config as configuration

    conf = configuration.load(config, overlay, set)

    from wespk.training.run import check_model

    check_model(conf)
    if show:
        print(yaml.safe_dump(conf, sort_keys=False, default_flow_style=None, width=120), end="")


if __name__ == "__main__":
    main(check_config)
