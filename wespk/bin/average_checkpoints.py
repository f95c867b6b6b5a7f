"""Stage 4, first half: the mean of the last checkpoints, or of the best."""

from wespk.utils.cli import main


def average_checkpoints(exp: str, num: int = 0):
    """Average the weights of the last epochs, or of those that train.select finds best, into EXP/checkpoints/average.pt.

    Args:
        exp: experiment folder
        num: how many epoch checkpoints; 0: train.average of the experiment's own configuration
    """
    from pathlib import Path

    from wespk.training import checkpoint
    from wespk.training.experiment import Experiment
    from wespk.training.selection import chosen_checkpoints
    from wespk.utils import config as configuration
    from wespk.utils.errors import InputError

    conf = configuration.read_resolved(exp)["train"]
    if num < 0:
        raise InputError(f"--num is how many checkpoints to average, not {num}")
    folder, found = Path(exp) / "checkpoints", chosen_checkpoints(Experiment(exp), conf, num)

    checkpoint.write(folder / checkpoint.NAMES["average"], checkpoint.average([path for _, path in found]))
    epochs = ", ".join(str(epoch) for epoch, _ in found)
    of = f"epochs {found[0][0]} to {found[-1][0]}" if conf["select"] == "last" else f"epochs {epochs}, best by {conf['select']},"
    print(f"averaged {of} into {folder / checkpoint.NAMES['average']}")


if __name__ == "__main__":
    main(average_checkpoints)
