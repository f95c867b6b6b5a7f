"""Sums over classes computed block by block, so that no (batch, classes) matrix is ever in memory."""

import torch
from torch.autograd.function import once_differentiable


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
        best = torch.stack(classes).gather(0, values.argmax(0, keepdim=True))[0]
        ctx.mark_non_differentiable(best)
        return torch.stack(parts), best

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient, _):
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

    Returns (parts (blocks, ..., B), best (B,)): ``best`` is the class of each embedding's largest cosine. Besides
    the inputs and their gradients, memory holds what ``function`` needs for one block. No second derivatives.
    """
    return _OverBlocks.apply(function, block_size, embeddings, weight, labels, *others)
