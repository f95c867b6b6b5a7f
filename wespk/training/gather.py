"""Rows that the processes of a distributed run hold, brought together on every process.

Gradients: what reaches a row from all processes is *added up*. DDP takes the mean of the processes' gradients; the
trainer makes up for it by the factor that it gives each process's loss.
"""

import torch
import torch.distributed

from wespk.utils import dist


def own_rows(sizes):
    """Slice of this process's rows, when process i has ``sizes[i]`` of them."""
    first = sum(sizes[: dist.rank()])
    return slice(first, first + sizes[dist.rank()])


def gather(tensor, sizes):
    """Every process's ``tensor`` (n, ...), n being ``sizes[rank]``, one below another, on every process. No gradient.

    Of a single process it is ``tensor`` itself, here and in the functions below.
    """
    if len(sizes) == 1:
        return tensor
    padded = tensor.new_zeros(max(sizes), *tensor.shape[1:])
    padded[: len(tensor)] = tensor
    pieces = [torch.empty_like(padded) for _ in sizes]
    torch.distributed.all_gather(pieces, padded)
    return torch.cat([piece[:size] for piece, size in zip(pieces, sizes)])


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx, tensor, sizes):
        ctx.rows = own_rows(sizes)
        return gather(tensor, sizes)

    @staticmethod
    def backward(ctx, gradient):
        return dist.sum_over_ranks(gradient.contiguous().clone())[ctx.rows], None


def gather_with_gradient(tensor, sizes):
    """``gather``; backward, each process gets for its rows the sum of what all of them send back, all going together."""
    return tensor if len(sizes) == 1 else _Gather.apply(tensor, sizes)


def all_rows(tensor):
    """``gather_with_gradient`` of any numbers of rows: (the rows of all processes, their sizes)."""
    sizes = dist.from_all(len(tensor))
    return gather_with_gradient(tensor, sizes), sizes


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(ctx, tensor):
        return dist.sum_over_ranks(tensor.clone())

    @staticmethod
    def backward(ctx, gradient):
        return dist.sum_over_ranks(gradient.contiguous().clone())


def sum_with_gradient(tensor):
    """The sum of every process's ``tensor`` on every process; backward, each gets the sum of what all of them send back.

    What the losses call ``reduce``. All must go together, forward and backward.
    """
    return tensor if dist.world_size() == 1 else _Sum.apply(tensor)
