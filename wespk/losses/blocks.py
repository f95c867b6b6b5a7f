"""Sums over classes computed block by block, so that no (batch, classes) matrix is ever in memory."""

import math

import torch
from torch.autograd.function import once_differentiable

from wespk.losses.base import MarginHead, check_count


def find_targets(labels, num_classes):
    """Where the targets of a block of ``num_classes`` columns are, given labels (B,) relative to the block.

    Returns (column (B, 1) int64, here (B, 1) bool): labels outside [0, num_classes) belong to other blocks; their
    column is any valid one and must not be used.
    """
    here = (labels >= 0) & (labels < num_classes)
    return labels.clamp(0, num_classes - 1)[:, None], here[:, None]


class _OverBlocks(torch.autograd.Function):
    """See ``over_blocks``. Forward keeps one block's intermediate results at a time; backward computes them again."""

    @staticmethod
    def forward(ctx, function, block_size, embeddings, weight, labels, *others):
        ctx.function, ctx.block_size = function, block_size
        ctx.save_for_backward(embeddings, weight, labels, *others)
        parts, values, classes = [], [], []
        for first in range(0, len(weight), block_size):
            part, cosines = function(embeddings, weight[first : first + block_size], labels - first, *others)
            value, index = cosines.max(1)
            parts.append(part)
            values.append(value)
            classes.append(index + first)
        values = torch.stack(values)
        value, block = values.max(0)
        best = torch.stack(classes).gather(0, block[None])[0]
        ctx.mark_non_differentiable(value, best)
        return torch.stack(parts), value, best

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient, *_):
        embeddings, weight, labels, *others = ctx.saved_tensors
        sums = [torch.zeros_like(x) for x in (embeddings, *others)]
        weight_gradient = torch.empty_like(weight)
        for i, first in enumerate(range(0, len(weight), ctx.block_size)):
            block = slice(first, first + ctx.block_size)
            leaves = [x.detach().requires_grad_() for x in (embeddings, *others, weight[block])]
            with torch.enable_grad():
                part, _ = ctx.function(leaves[0], leaves[-1], labels - first, *leaves[1:-1])
                *shares, weight_gradient[block] = torch.autograd.grad(part, leaves, gradient[i])
            for total, share in zip(sums, shares):
                total += share
        return None, None, sums[0], weight_gradient, None, *sums[1:]


def over_blocks(function, block_size, embeddings, weight, labels, *others):
    """Apply ``function`` to blocks of ``block_size`` rows of ``weight`` (K, D), the last block may be smaller.

    ``function(embeddings (B, D), weights (k, D), labels (B,), *others) -> (part (..., B), cosines (B, k))`` gets labels
    relative to its block: those outside [0, k) are classes of other blocks. All but ``cosines`` is differentiable;
    ``others`` are further float tensors that need gradients.

    Returns (parts (blocks, ..., B), value (B,), best (B,)): each embedding's largest cosine and the class it is with.
    Besides the inputs and their gradients, memory holds what ``function`` needs for one block. No second derivatives.
    """
    return _OverBlocks.apply(function, block_size, embeddings, weight, labels, *others)


class BlockHead(MarginHead):
    """A head that looks at some classes at a time: their *part* (..., B) is all that is known of them afterwards.

    A subclass writes ``block``, the part of one block of classes; ``merge``, the part of several blocks together; and
    ``losses``, what the part of all classes means. block_size: 0, or the number of classes that are in memory at a
    time (same value and gradients, a second computation in the backward pass).

    ``weight`` may be cut down to the rows of some classes, when others have the rest: ``partial`` is the part of those
    here. ``num_classes`` is the number of all.
    """

    def __init__(self, embed_dim, num_classes, margin, block_size, limits=(0, math.inf)):
        super().__init__(embed_dim, num_classes, margin, limits)
        self.block_size = check_count("block_size", block_size, 0)

    def shared(self):
        """What every block needs beside its weights: a tuple of float tensors, handed to ``block``."""
        return ()

    def block(self, embeddings, weight, labels, *shared):
        """The part (..., B) of the classes with rows ``weight`` (k, D), and the embeddings' cosines with them (B, k).

        Labels (B,) count from the block's first class; those outside [0, k) belong to other blocks.
        """
        raise NotImplementedError

    def block_for(self, labels):
        """``block``, for a batch with these labels (B,), counted over all classes: for heads that treat embeddings unequally.

        What it returns is called again in the backward pass, so that it must not depend on what changes until then.
        """
        return self.block

    def merge(self, parts):
        """Parts of different classes (n, ..., B) -> the part of all of them (..., B)."""
        raise NotImplementedError

    def losses(self, part):
        """The part of all classes (..., B) -> the loss of each embedding (B,)."""
        raise NotImplementedError

    def partial(self, embeddings, labels, first=0):
        """The part of the classes whose rows ``weight`` holds, the first of them being class ``first``.

        Returns (part (..., B), value (B,), best (B,)): value is the largest cosine with these classes, best its class.
        """
        block, labels = self.block_for(labels), labels - first
        if self.block_size:
            parts, value, best = over_blocks(block, self.block_size, embeddings, self.weight, labels, *self.shared())
            return self.merge(parts), value, best + first
        part, cosine = block(embeddings, self.weight, labels, *self.shared())
        value, best = cosine.detach().max(1)
        return part, value, best + first

    def compute(self, embeddings, labels):
        part, _, best = self.partial(embeddings, labels)
        self.set_accuracy(best, labels)
        return self.losses(part).mean()
