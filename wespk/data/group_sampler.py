"""Batches of P speakers x M utterances, for losses that compare the utterances of a batch."""

import time

import numpy as np

from wespk.data.sampler import EpochPlan, _cut
from wespk.utils.errors import InputError
from wespk.utils.seed import generator


class GroupPlan(EpochPlan):
    """Like ``EpochPlan``, but a step holds ``utterances`` (M) items of each of its speakers, side by side.

    labels: (N,) speaker of each item; batch_size: about P x M. Each epoch cuts every speaker's items, in a new order,
    into groups of M, and deals the groups over the steps so that no speaker is in a step twice. Left out of an epoch,
    others each time, are a speaker's last items where M does not divide their number, and groups beyond the
    number of steps where one speaker has more than a P-th of the data. Steps differ by a group at most. A step's items
    are the same for any number of processes and micro-batches, which share out whole groups.

    Raises ``InputError`` when there are not enough speakers with M items for a step, or fewer than two for each
    micro-batch.
    """

    def __init__(self, labels, utterances, batch_size, accumulate=1, seed=0, rank=0, world_size=1):
        self.seed, self.rank, self.accumulate = seed, rank, accumulate
        self.pieces = world_size * accumulate
        self.utterances = utterances
        labels = np.asarray(labels)
        by_speaker = np.argsort(labels, kind="stable")
        self._items = np.split(by_speaker, np.flatnonzero(np.diff(labels[by_speaker])) + 1)
        counts = np.array([len(items) // utterances for items in self._items])
        wanted = batch_size // utterances
        if (counts > 0).sum() < wanted:
            raise InputError(f"{(counts > 0).sum()} speakers have {utterances} utterances or more, and a batch of "
                             f"{batch_size} takes {wanted}: lower train.batch_size, or the {utterances} "
                             "(loss.utterances; of the contrastive objective, objective.utterances)")
        self.steps_per_epoch = self._steps(counts, max(1, wanted))
        self._counts = np.minimum(counts, self.steps_per_epoch)
        if self._counts.sum() // self.steps_per_epoch // self.pieces < 2:
            raise InputError(f"train.batch_size {batch_size} is {wanted} speakers x {utterances} utterances, too few "
                             f"for two speakers in each of {self.pieces} micro-batch(es): raise it, lower "
                             "train.accumulate, or use fewer processes")
        self.num_items = int(self._counts.sum()) * utterances
        self._drawn = None, None

    @staticmethod
    def _steps(counts, wanted):
        """The most steps that can be filled with ``wanted`` groups each, and one for a rest that is less.

        With S steps a speaker gives at most S groups, one a step: sum(min(counts, S)) in all. That is concave in S, so
        that S steps can be filled up to some S and not beyond, and bisection finds it. At least 1.
        """
        filled, beyond = 0, int(counts.sum()) // wanted + 1
        while beyond - filled > 1:
            steps = (filled + beyond) // 2
            if np.minimum(counts, steps).sum() >= steps * wanted:
                filled = steps
            else:
                beyond = steps
        return max(1, filled + bool(np.minimum(counts, filled).sum() > filled * wanted))

    def _draw(self, epoch):
        """The items, step by step, groups of M side by side: int64 (num_items,); and the first group of each step."""
        random, groups = generator(self.seed, "groups", epoch), []
        for number, speaker in enumerate(random.permutation(len(self._items))):
            if number % 16 == 0:
                time.sleep(0)  # lets the training's thread go on, which would get a turn every 5 ms only
            items = random.permutation(self._items[speaker])[: self._counts[speaker] * self.utterances]
            groups.append(items.reshape(-1, self.utterances))
        groups = np.concatenate(groups)
        # dealt like cards: a speaker's groups, at most as many as there are steps, go to different ones
        dealt = [groups[first :: self.steps_per_epoch] for first in random.permutation(self.steps_per_epoch)]
        return np.concatenate(dealt).ravel(), np.cumsum([0, *map(len, dealt)])

    def step(self, epoch, step):
        """This rank's micro-batches of a step: list of int64 arrays; and the size of the whole batch over all ranks."""
        items, bounds = self._of(epoch)
        first, last = bounds[step : step + 2]
        micro = []
        for i in range(self.accumulate):
            a, b = _cut(last - first, self.pieces, self.rank * self.accumulate + i)
            micro.append(items[(first + a) * self.utterances : (first + b) * self.utterances])
        return micro, int(last - first) * self.utterances


def plan_batches(labels, utterances, batch_size, accumulate=1, seed=0, rank=0, world_size=1):
    """The plan of a run: ``GroupPlan`` where the loss compares ``utterances`` of each speaker, ``EpochPlan`` if None."""
    if utterances is None:
        return EpochPlan(len(labels), batch_size, accumulate, seed, rank, world_size)
    return GroupPlan(labels, utterances, batch_size, accumulate, seed, rank, world_size)
