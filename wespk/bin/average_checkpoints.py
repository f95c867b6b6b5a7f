"""Stage 4, first half: the mean of the last checkpoints."""

from wespk.utils.cli import main


def average_checkpoints(exp: str, num: int = 0):
    """Average the last epochs' weights into EXP/checkpoints/average.pt.

    Args:
        exp: experiment folder
        num: how many of the last epoch checkpoints; 0: train.average of the experiment's own configuration
    """
    from pathlib import Path

    from wespk.io.atomic import open_atomic
    from wespk.training import checkpoint
    from wespk.utils import config as configuration
    from wespk.utils.errors import InputError

    conf = configuration.read_resolved(exp)["train"]
    if num < 0:
        raise InputError(f"--num is how many checkpoints to average, not {num}")
    num = num or min(conf["average"], conf["num_epochs"])
    folder = Path(exp) / "checkpoints"
    found = checkpoint.epoch_checkpoints(folder)
    if len(found) < num:
        raise InputError(f"{folder} has {len(found)} epoch checkpoints, {num} are to be averaged; "
                         "train on (stage 3) or give a smaller --num")

    import torch

    state = checkpoint.average([path for _, path in found[-num:]])
    with open_atomic(folder / checkpoint.NAMES["average"], "wb") as file:
        torch.save(state, file)
    print(f"averaged epochs {found[-num][0]} to {found[-1][0]} into {folder / checkpoint.NAMES['average']}")


if __name__ == "__main__":
    main(average_checkpoints)
