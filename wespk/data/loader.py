"""One continuous stream of batches for a whole training run: workers never stop at an epoch's end."""

import math
import signal
from dataclasses import dataclass

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, get_worker_info

from wespk.utils.errors import InputError


@dataclass
class Batch:
    """A micro-batch as the workers leave it.

    inputs: dict of tensors, meaningful to the source that made it; items: int64 (B,) indices of the utterances;
    labels: int64 (B,); epoch; whole: utterances in the step's whole batch, over all ranks and micro-batches.
    """

    inputs: dict
    items: torch.Tensor
    labels: torch.Tensor
    epoch: int
    whole: int

    def pin_memory(self):
        """Called by the DataLoader's pinning thread."""
        pinned = {k: v.pin_memory() for k, v in self.inputs.items()}
        return Batch(pinned, self.items, self.labels.pin_memory(), self.epoch, self.whole)


_ALIGNED = 64  # bytes: where each tensor begins


@dataclass
class _Packed:
    """A ``Batch`` on its way from a worker, its tensors behind one another in one piece of shared memory.

    Each piece of shared memory costs its sender and its receiver about a millisecond of CPU, whatever its size.

    shared: uint8 (bytes,); places: (name, dtype, shape, first byte) of each tensor.
    """

    shared: torch.Tensor
    places: list
    epoch: int
    whole: int

    @classmethod
    def of(cls, batch):
        """Pack a ``Batch``; to be called in a worker."""
        named, places, size = {**batch.inputs, "": batch.items, " ": batch.labels}, [], 0
        for name, tensor in named.items():
            places.append((name, tensor.dtype, tensor.shape, size))
            size += -(-tensor.nbytes // _ALIGNED) * _ALIGNED
        shared = torch.empty(0, dtype=torch.uint8).set_(torch.UntypedStorage._new_shared(size))  # as torch collates
        packed = cls(shared, places, batch.epoch, batch.whole)
        for room, tensor in zip(packed._tensors(), named.values()):
            room.copy_(tensor)
        return packed

    def _tensors(self):
        for _, dtype, shape, first in self.places:
            yield self.shared[first : first + math.prod(shape) * dtype.itemsize].view(dtype).view(shape)

    def batch(self):
        """The ``Batch``, whose tensors are views of the one piece of memory."""
        *inputs, items, labels = self._tensors()
        return Batch(dict(zip((name for name, *_ in self.places), inputs)), items, labels, self.epoch, self.whole)

    def pin_memory(self):
        """Called by the DataLoader's pinning thread: one piece of pinned memory, too."""
        return _Packed(self.shared.pin_memory(), self.places, self.epoch, self.whole)


class _Fetch(Dataset):
    """Maps (epoch, items, whole) to a Batch, which a worker packs; an error comes back as a value: its message stays
    readable.
    """

    def __init__(self, source):
        self.source = source

    def __getitem__(self, spec):
        epoch, items, whole = spec
        try:
            inputs, labels = self.source.fetch(epoch, items)
        except (InputError, OSError) as error:
            return str(error)
        batch = Batch(inputs, torch.from_numpy(np.asarray(items)), torch.from_numpy(labels), epoch, whole)
        return _Packed.of(batch) if get_worker_info() else batch


class _Specs:
    """A sized view of ``plan.micro_batches``, as DataLoader wants its sampler to be."""

    def __init__(self, plan, first_step, last_step):
        self.plan, self.first_step, self.last_step = plan, first_step, last_step

    def __iter__(self):
        return self.plan.micro_batches(self.first_step, self.last_step)

    def __len__(self):
        return (self.last_step - self.first_step) * self.plan.accumulate


def _start_worker(_):
    """Workers ignore the signals that tell the trainer to checkpoint and leave; it ends them itself."""
    for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    torch.set_num_threads(1)


def stream(source, plan, first_step, last_step, num_workers=0, pin_memory=False):
    """Iterate over this rank's ``Batch`` es from one global step up to another, in order.

    source: object with ``fetch(epoch, items) -> (dict of tensors, int64 labels)``; plan: ``EpochPlan``. The result does
    not depend on ``num_workers``. Raises ``InputError`` with the source's own message when a batch cannot be read.
    """
    specs = _Specs(plan, first_step, last_step)
    # the loader draws a number when it starts; from a generator of its own, or a resumed run would draw other ones
    loader = DataLoader(_Fetch(source), sampler=specs, batch_size=None, num_workers=num_workers, pin_memory=pin_memory,
                        prefetch_factor=4 if num_workers else None, worker_init_fn=_start_worker,
                        generator=torch.Generator())
    for batch in loader:
        if isinstance(batch, str):
            raise InputError(batch)
        yield batch.batch() if isinstance(batch, _Packed) else batch
