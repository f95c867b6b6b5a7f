"""Things that end a run early, noticed without stalling the device."""

import signal

import torch

from wespk.utils.errors import InputError


class FiniteGuard:
    """Watches the loss one step behind, so that no step waits for its own result.

    ``watch`` takes a step's loss and a description of its utterances; a non-finite loss raises ``InputError`` naming
    them when the next step is watched, or at ``drain``, which must be called before anything is saved.
    """

    def __init__(self):
        self.pending = None

    def watch(self, step, loss, describe):
        """Remember this step's scalar ``loss`` tensor; check the previous one. ``describe()`` -> str, called on failure."""
        self.drain()
        if loss.is_cuda:
            value = torch.empty((), pin_memory=True).copy_(loss.detach(), non_blocking=True)
            ready = torch.cuda.Event()
            ready.record()
        else:
            value, ready = loss.detach().clone(), None
        self.pending = (step, value, ready, describe)

    def drain(self):
        """Check the step that is still pending, if any."""
        if self.pending is None:
            return
        step, value, ready, describe = self.pending
        self.pending = None
        if ready is not None:
            ready.synchronize()
        if not torch.isfinite(value):
            raise InputError(f"step {step}: the loss is {value.item()}; utterances: {describe()}. The last checkpoint "
                             "is untouched: look at these utterances, lower optimizer.lr or set train.grad_clip")


class StopSignal:
    """Turns SIGTERM and SIGUSR1 into a flag; the handlers that stood before come back on ``close``."""

    def __init__(self):
        self.received = None
        self.before = {n: signal.signal(n, self._note) for n in (signal.SIGTERM, signal.SIGUSR1)}

    def _note(self, number, _):
        self.received = signal.Signals(number).name

    def close(self):
        """Put the earlier handlers back."""
        for number, handler in self.before.items():
            signal.signal(number, handler)
