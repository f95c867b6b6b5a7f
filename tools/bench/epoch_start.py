"""What training waits for at an epoch's start: one stream of batches for all epochs, against a loader iterated anew.

    . tools/path.sh; OMP_NUM_THREADS=1 python tools/bench/epoch_start.py --utterances 1e4,3e4,1e5

Chunks of 200 frames out of compressed arks, all of one matrix, so that sizes are those of lists and orders alone. Three
sides make the same batches, each in a process of its own with --workers workers; a step of training is a sleep:

    anew          torch's DataLoader, iterated anew for each epoch
    persistent    the same with persistent_workers=True
    stream        wespk.data.loader.stream, as the trainer uses it

Milliseconds that batches are waited for: the first of all; the first of a later epoch (median and longest); any other
(median and longest). "x" is the first side's median at an epoch's start divided by this one's. Then MB of all processes
together, what they share counted once, in the first fifth of the epochs, without pages of arks, which the system takes
back when it likes; by how much more in the last fifth; and the exponent of the memory.

The second table is the order alone, in one process and without any reading, against torch's DataLoader(shuffle=True):
milliseconds before the first batch of all, and before that of the second epoch, the stream having made the last
--orders-steps steps of the first; and MB at the peak. "groups" has two utterances a speaker side by side.
"""

import statistics
import time
import zlib
from functools import partial
from pathlib import Path

import made_up_tables
import numpy as np
from made_up import folder
from measuring import apart, growth, sizes

from wespk.data.group_sampler import GroupPlan
from wespk.data.loader import _Fetch, stream
from wespk.data.sampler import EpochPlan
from wespk.utils import config
from wespk.utils.cli import main
from wespk.utils.errors import InputError


class _Epochs:
    """A sampler for a loader that is kept: each time it is iterated, the next epoch."""

    def __init__(self, plan):
        self.plan, self.epoch = plan, -1

    def __iter__(self):
        self.epoch += 1  # by the first batch that is asked for: the loader may make an iterator and drop it
        each = self.plan.steps_per_epoch
        yield from self.plan.micro_batches(self.epoch * each, (self.epoch + 1) * each)

    def __len__(self):
        return self.plan.steps_per_epoch


def _one(source, plan, epochs, workers):
    yield from stream(source, plan, 0, epochs * plan.steps_per_epoch, workers)


def _anew(source, plan, epochs, workers):
    for epoch in range(epochs):
        yield from stream(source, plan, epoch * plan.steps_per_epoch, (epoch + 1) * plan.steps_per_epoch, workers)


def _persistent(source, plan, epochs, workers):
    from torch.utils.data import DataLoader

    loader = DataLoader(_Fetch(source), sampler=_Epochs(plan), batch_size=None, num_workers=workers, prefetch_factor=4,
                        persistent_workers=True)  # fmt: skip
    for _ in range(epochs):
        for packed in loader:
            yield packed.batch()


SIDES = {"anew": _anew, "persistent": _persistent, "stream": _one}


def _memory():
    """Bytes of this process and its children, shared ones by share; without pages of files."""
    children = " ".join(path.read_text() for path in Path("/proc/self/task").glob("*/children")).split()
    total = 0
    for process in ("self", *children):
        lines = (line.split() for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()[1:])
        total += sum(1024 * int(words[1]) for words in lines if words[0] in ("Pss_Anon:", "Pss_Shmem:"))
    return total


def walk(data, side, epochs, batch, workers, step_ms):
    """(seconds that each batch was waited for (epochs, steps), bytes at each epoch's end, a checksum of the items)."""
    from wespk.data.chunks import FeatureChunks

    source = FeatureChunks(data, config.load())
    plan = EpochPlan(len(source.labels), batch)
    batches, waits, memory, sum_of = SIDES[side](source, plan, epochs, workers), [], [], 0
    for step in range(1, epochs * plan.steps_per_epoch + 1):
        began = time.perf_counter()
        items = next(batches).items.numpy()
        waits.append(time.perf_counter() - began)
        sum_of = zlib.crc32(items.tobytes(), sum_of)
        time.sleep(step_ms / 1000)
        if step % plan.steps_per_epoch == 0:
            memory.append(_memory())
    batches.close()
    return np.reshape(waits, (epochs, -1)), memory, sum_of


def _sides(number, epochs, batch, workers, step_ms, held):
    """Print the rows of one number of utterances; ``held`` gets each side's (utterances, bytes)."""
    with folder("epochs") as made:
        made_up_tables.make_tables(Path(made), number)
        ready = partial(apart, walk, Path(made), imports=("wespk.data.chunks",))
        found = {side: ready(side, epochs, batch, workers, step_ms).found for side in SIDES}
    if len({one[2] for one in found.values()}) > 1:
        raise InputError(f"the sides' batches of {number} utterances differ")
    fifth, plain = max(1, epochs // 5), statistics.median(found["anew"][0][1:, 0])
    for side, (waits, memory, _) in found.items():
        starts, others = waits[1:, 0], waits[:, 1:]
        early, late = statistics.median(memory[:fifth]), statistics.median(memory[-fifth:])
        held.setdefault(side, []).append((number, early))
        cells = (waits[0, 0], np.median(starts), starts.max(), np.median(others), others.max())
        print(f"{number:>10} {side:>10} " + " ".join(f"{1000 * cell:>9.2f}" for cell in cells)
              + f" {plain / np.median(starts):>7.1f} {early / 1e6:>8.0f} {(late - early) / 1e6:>+8.1f} "
              f"{growth(*zip(*held[side])):>8.2f}", flush=True)  # fmt: skip
    first, *starts = found["stream"][0][:, 0]
    return f"{number} utterances: first batch {first:.2f} s when workers start, {max(starts):.3f} s at most when warm"


class _Nothing:
    """A source that costs nothing."""

    def fetch(self, epoch, items):
        return {}, items


def _shuffled(kind, number, batch, _):
    """The first batches of two epochs of torch's DataLoader."""
    from torch.utils.data import DataLoader

    loader = DataLoader(range(number), batch_size=batch, shuffle=True)
    yield next(iter(loader))
    yield next(iter(loader))


def _planned(kind, number, batch, steps):
    """Batches of a stream: ``steps`` of the first epoch, its last ones, and the first of the second."""
    speakers = np.arange(number) // made_up_tables.UTTERANCES_OF_A_SPEAKER
    plan = EpochPlan(number, batch) if kind == "plain" else GroupPlan(speakers, 2, batch)
    each = plan.steps_per_epoch
    return stream(_Nothing(), plan, max(0, each - steps), each + 1)


ORDERS = ("torch", _shuffled, "plain"), ("stream", _planned, "plain"), ("groups", _planned, "groups")


def first_batches(make, kind, number, batch, steps, step_ms):
    """Seconds before the first batch, and before the last that ``make`` gives: the first of the second epoch."""
    batches, waits = make(kind, number, batch, steps), []
    while True:
        began = time.perf_counter()
        if next(batches, None) is None:
            return waits[0], waits[-1]
        waits.append(time.perf_counter() - began)
        time.sleep(step_ms / 1000)


def bench(utterances: str = "1e4,3e4,1e5", epochs: int = 50, batch: int = 256, workers: int = 2, step_ms: float = 5,
          orders: str = "1e5,1e6,1e7", orders_steps: int = 500):
    """Print both tables.

    Args:
        utterances: sizes of the first table; empty: none
        epochs: how many are gone through
        batch: utterances a step
        workers: processes of the loader
        step_ms: milliseconds of a step of the training
        orders: sizes of the second table; empty: none
        orders_steps: steps of the first epoch there
    """
    if epochs < 2 or workers < 1:
        raise InputError("two epochs are needed at least, and a worker")
    held, said = {}, []
    if utterances:
        heads = "first ms", "start ms", "longest", "other ms", "longest"
        print(f"{'utterances':>10} {'side':>10} " + " ".join(f"{head:>9}" for head in heads)
              + f" {'x':>7} {'MB':>8} {'more':>8} {'exponent':>8}", flush=True)  # fmt: skip
        said = [_sides(number, epochs, batch, workers, step_ms, held) for number in sizes(utterances, 1000)]
    if orders:
        print(f"\n{'items':>10} {'side':>10} {'first ms':>9} {'start ms':>9} {'MB peak':>9}", flush=True)
    for number in sizes(orders, 1000) if orders else ():
        for side, make, kind in ORDERS:
            one = apart(first_batches, make, kind, number, batch, orders_steps, step_ms,
                        imports=("torch.utils.data", "wespk.data.chunks"))  # fmt: skip
            waits = " ".join(f"{1000 * wait:>9.1f}" for wait in one.found)
            print(f"{number:>10} {side:>10} {waits} {one.peak / 1e6:>9.0f}", flush=True)
    print("\n".join(said))


if __name__ == "__main__":
    main(bench)
