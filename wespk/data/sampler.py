"""Which utterances make up which batch, as a function of (seed, epoch, step): nothing to carry from step to step."""

from concurrent.futures import ThreadPoolExecutor

from wespk.utils.errors import InputError
from wespk.utils.seed import generator


def _cut(total, pieces, piece):
    """Bounds of piece ``piece`` when ``total`` items are cut into ``pieces`` whose sizes differ by one at most."""
    return total * piece // pieces, total * (piece + 1) // pieces


class EpochPlan:
    """Each epoch visits every item once, in a new order, in batches of nearly equal size.

    ``num_items`` are cut into ``ceil(num_items / batch_size)`` steps; a step's items are the same for any number of
    processes, which share them out, each in ``accumulate`` micro-batches. All ranks take equally many steps.
    Raises ``InputError`` when a micro-batch would hold fewer than two items (batch norm needs two).
    """

    def __init__(self, num_items, batch_size, accumulate=1, seed=0, rank=0, world_size=1):
        self.num_items, self.seed, self.rank, self.accumulate = num_items, seed, rank, accumulate
        self.pieces = world_size * accumulate
        self.steps_per_epoch = max(1, -(-num_items // batch_size))
        smallest = num_items // self.steps_per_epoch // self.pieces
        if smallest < 2:
            raise InputError(f"{num_items} utterances in batches of {batch_size}, shared by {world_size} process(es) in "
                             f"{accumulate} micro-batch(es), leave {smallest} in the smallest micro-batch; at least 2 are "
                             "needed: raise train.batch_size, lower train.accumulate, or use fewer processes")
        self._drawn = None, None

    def _draw(self, epoch):
        """What ``step`` needs of an epoch; its order first."""
        return (generator(self.seed, "order", epoch).permutation(self.num_items),)

    def _of(self, epoch):
        """``_draw(epoch)``, kept until another epoch is asked for."""
        if self._drawn[0] != epoch:
            self._drawn = epoch, self._draw(epoch)
        return self._drawn[1]

    def order(self, epoch):
        """The items of an epoch in the order of their visit, int64 (num_items,)."""
        return self._of(epoch)[0]

    def step(self, epoch, step):
        """This rank's micro-batches of a step: list of int64 arrays; and the size of the whole batch over all ranks."""
        first, last = _cut(self.num_items, self.steps_per_epoch, step)
        items = self.order(epoch)[first:last]
        micro = []
        for i in range(self.accumulate):
            a, b = _cut(len(items), self.pieces, self.rank * self.accumulate + i)
            micro.append(items[a:b])
        return micro, last - first

    def micro_batches(self, first_step, last_step):
        """Yield (epoch, items, size of the whole batch) for every micro-batch of the global steps in the range.

        In an epoch another thread draws the order of the next, which takes half a second for 10 million items: no step waits
        for it.
        """
        each, ahead = self.steps_per_epoch, None
        with ThreadPoolExecutor(1) as thread:
            for epoch in range(first_step // each, -(-last_step // each)):
                self._drawn = epoch, ahead.result() if ahead else self._draw(epoch)
                if (epoch + 1) * each < last_step:
                    ahead = thread.submit(self._draw, epoch + 1)
                for global_step in range(max(first_step, epoch * each), min(last_step, (epoch + 1) * each)):
                    micro, size = self.step(epoch, global_step - epoch * each)
                    for items in micro:
                        yield epoch, items, size
