"""Checkpoints written beside the training, which waits no longer than until its state has been copied."""

import copy
import itertools
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import wait as wait_for

import torch


class CheckpointWriter:
    """Copies a state in the training's thread and writes the copy in another one; at most one write is under way.

    The copies lie in host memory that is used again by the next: as much as a checkpoint has, page-locked for what lies on
    a GPU. A context manager: leaving it waits for the last write. What a write raises is raised in the training's
    thread by the next call of any method, or on leaving; then in place of an error of the training, which came later.
    """

    def __init__(self):
        self._copies, self._running = {}, None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")

    def submit(self, state, write):
        """Copy ``state`` as it is now and have ``write(copy)`` called in the other thread.

        state: dicts and lists of tensors and of values that never change; the tensors may change once this has returned.
        Those on a GPU are copied in the order of the work queued there, without waiting for it.
        """
        self.wait()
        copied = self._copy(state, itertools.count())
        arrived = torch.cuda.Event() if torch.cuda.is_initialized() else None
        if arrived:
            arrived.record()
        self._running = self._thread.submit(_write, write, copied, arrived)

    def check(self):
        """Raise the error of a write that has ended, without waiting for one that has not."""
        if self._running is not None and self._running.done():
            self.wait()

    def wait(self):
        """Wait until everything submitted is written."""
        if self._running is not None:
            wait_for([self._running])
            ended, self._running = self._running, None
            ended.result()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            self.wait()
        finally:
            self._thread.shutdown()

    def _copy(self, value, numbers):
        """``value`` with other tensors in it, whose memory goes by their ``numbers`` (an iterator) in the state."""
        if torch.is_tensor(value):
            return self._copy_tensor(value, next(numbers))
        if isinstance(value, dict):
            copied = copy.copy(value)  # a module's state bears its version as an attribute
            copied.update((key, self._copy(part, numbers)) for key, part in value.items())
            return copied
        if isinstance(value, list):
            return [self._copy(part, numbers) for part in value]
        return value

    def _copy_tensor(self, value, number):
        held = self._copies.get(number)
        if held is None or (held.shape, held.dtype, held.stride()) != (value.shape, value.dtype, value.stride()):
            held = self._copies[number] = torch.empty_like(value, device="cpu", pin_memory=value.is_cuda)
        return held.copy_(value, non_blocking=True)


def _write(write, copied, arrived):
    if arrived:
        arrived.synchronize()
    write(copied)
