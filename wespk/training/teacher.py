"""A teacher that follows its student: an exponential moving average (EMA) of the student's weights over the steps."""

import copy

import torch
from torch import nn

from wespk.utils.errors import InputError


class Teacher(nn.Module):
    """``network``: a copy of a student (a plain module, not wrapped in DDP), which no gradient reaches.

    Batch norm follows the mode of the module like any other: in training mode the teacher normalises by the statistics
    of its own batch and keeps its own running ones. With ``average_buffers`` these, and all other floating-point
    buffers, follow the student's as the weights do, and integers are the student's.

    All of its state is in its state dict.
    """

    def __init__(self, student, average_buffers=False):
        super().__init__()
        self.network = copy.deepcopy(student).requires_grad_(False)
        self.average_buffers = average_buffers

    @torch.no_grad()
    def forward(self, *inputs):
        return self.network(*inputs)

    @torch.no_grad()
    def update(self, student, momentum):
        """Weights become momentum * weights + (1 - momentum) * the student's: to be called after every step.

        momentum in [0, 1]: 1 leaves the teacher as it is, 0 makes it equal to the student. Raises ``InputError`` if it is
        outside, or ``student`` has other parameters than the teacher.
        """
        follow(self.network, student, momentum, self.average_buffers)


@torch.no_grad()
def follow(teacher, student, momentum, average_buffers=False):
    """``Teacher.update`` for two plain modules."""
    if not 0 <= momentum <= 1:
        raise InputError(f"the teacher's momentum lies in [0, 1], not {momentum!r}")
    mine, its = _tensors(teacher, average_buffers), _tensors(student, average_buffers)
    if [(n, t.shape) for n, t in mine] != [(n, t.shape) for n, t in its]:
        raise InputError("the teacher follows a student of its own kind; this one has other weights")
    pairs = [(a, b.detach()) for (_, a), (_, b) in zip(mine, its)]
    floats = [pair for pair in pairs if pair[0].is_floating_point()]
    torch._foreach_lerp_(*map(list, zip(*floats)), 1 - momentum)
    for a, b in pairs:
        if not a.is_floating_point():
            a.copy_(b)


def _tensors(network, buffers):
    """Names and tensors that take part in the average."""
    return [*network.named_parameters(), *(network.named_buffers() if buffers else ())]
