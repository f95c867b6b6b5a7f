"""Which epochs' checkpoints stage 4 takes: the last ones, or the best ones by a figure that validation has noted.

``effective_rank`` needs no labels. As a figure to choose models by: Garrido et al. 2023 (arXiv 2210.02885, RankMe).
"""

from wespk.training import checkpoint
from wespk.utils.errors import InputError

BY = {"effective_rank": ("heldout_effective_rank", 1), "dev_eer": ("dev_eer", -1)}  # train.select: figure, sign


def best_epochs(records, select, steps_per_epoch, num):
    """The ``num`` best epochs, or as many as there are, in ascending order: of equal ones the later.

    records: dicts of metrics.jsonl; select: a key of ``BY``.
    """
    figure, sign = BY[select]
    found = {record["step"] // steps_per_epoch: sign * record[figure] for record in records if figure in record}
    return sorted(sorted(found, key=lambda epoch: (found[epoch], epoch))[-num:])


def check_selection(conf):
    """Raise ``InputError`` if ``train.select`` needs figures and ``runtime.validate_every`` leaves none."""
    select, every, epochs = conf["train"]["select"], conf["runtime"]["validate_every"], conf["train"]["num_epochs"]
    if select != "last" and not 0 < every <= epochs:
        raise InputError(f"train.select={select} chooses among validated epochs, but runtime.validate_every={every} leaves none "
                         f"of {epochs}: set runtime.validate_every between 1 and that, or train.select=last")


def check_figures(conf, validate):
    """Raise ``InputError`` unless ``validate``, the run's validation or None, notes the figure that ``train.select`` names."""
    select = conf["train"]["select"]
    if select != "last" and BY[select][0] not in getattr(validate, "notes", ()):
        raise InputError(f"train.select={select} goes by {BY[select][0]}, which nothing gives in this run: give held-out speakers "
                         "(--dev-data with trials/dev; stage 1's --dev-speakers), or set train.select=last"
                         + (" or effective_rank" if select == "dev_eer" else ""))


def chosen_checkpoints(experiment, train, num=0):
    """The checkpoints to average, as ``train``, that section of the configuration, says: list of (epoch, path), oldest first.

    num: how many; 0: ``train.average``, or as many as there can be. Raises ``InputError`` if there are fewer, or one has been
    deleted.
    """
    found, select = checkpoint.epoch_checkpoints(experiment.checkpoints), train["select"]
    if select == "last":
        num = num or min(train["average"], train["num_epochs"])
    elif found:
        per_epoch = checkpoint.load(found[-1][1], mmap=True)["steps_per_epoch"]
        epochs = best_epochs(experiment.records(), select, per_epoch, num or train["average"])
        num, lost = num or max(len(epochs), 1), sorted(set(epochs) - {epoch for epoch, _ in found})
        if lost:
            raise InputError(f"{experiment.checkpoints} lacks epoch {lost[0]}, one of the best by train.select={select}: it was "
                             "deleted; train anew, or give --num 1 if the best is another")
        found = [(epoch, path) for epoch, path in found if epoch in epochs]
    if len(found) < max(num, 1):
        raise InputError(f"{experiment.checkpoints} has {len(found)} {'' if select == 'last' else 'validated '}epoch checkpoints, "
                         f"{max(num, 1)} are to be averaged; train on (stage 3) or give a smaller --num")
    return found[-num:]
