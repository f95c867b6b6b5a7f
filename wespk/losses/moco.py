"""MoCo: He et al. 2020, "Momentum contrast", arXiv 1911.05722, equation 1: InfoNCE against a queue of earlier keys.

With q a student's output for one view of an utterance, k its teacher's for another, and n the keys of earlier batches,
all of length 1,

    loss = -log [ exp(q . k / tau) / (exp(q . k / tau) + sum_n exp(q . n / tau)) ]
"""

import torch
import torch.nn.functional as F
from torch import nn

from wespk.losses.base import alone, check_count, check_number
from wespk.utils.errors import InputError
from wespk.utils.precision import at_least_float32


class MoCoLoss(nn.Module):
    """dim: size of the outputs; queue_size: how many earlier keys are kept; temperature: tau.

    ``queue`` (queue_size, dim) and ``place`` (where the next key goes) are buffers, and so part of the state dict. As in
    the authors' code the queue starts with random directions, which the first batches' keys replace.

    forward(queries, keys, gather) -> 0-dim loss, float32 or wider, the mean over the queries here:
        queries (B, dim), or (V, B, dim) of V views, all compared with the same keys; keys (B, dim), without gradient;
        gather: brings together the keys of all processes, (n, dim) on every process and in the same order, so that
        all have the same queue.
    A call in training mode puts the keys into the queue, in place of the oldest, after the loss is computed.

    ``stats``: ``accuracy``, the share of queries that are nearer to their key than to all of the queue, detached.

    Raises ``InputError`` for options out of range, shapes that do not fit and more keys than the queue holds.
    """

    def __init__(self, dim, queue_size=65536, temperature=0.07):
        super().__init__()
        self.dim = check_count("dim", dim, 1)
        self.queue_size = check_count("queue_size", queue_size, 1)
        self.temperature = check_number("temperature", temperature, 0, strict=True)
        self.register_buffer("queue", F.normalize(torch.randn(queue_size, dim)))
        self.register_buffer("place", torch.zeros((), dtype=torch.int64))
        self.stats = {}

    def forward(self, queries, keys, gather=alone):
        self._check(queries, keys)
        with torch.autocast(queries.device.type, enabled=False):
            queries = F.normalize(at_least_float32(queries), dim=-1)
            keys = F.normalize(at_least_float32(keys.detach()), dim=-1).to(queries.dtype)
            own = (queries * keys).sum(-1, keepdim=True)
            # a copy, since the queue changes before backward looks at it
            others = F.linear(queries, self.queue.to(queries.dtype, copy=True))
            loss = (torch.cat([own, others], -1) / self.temperature).log_softmax(-1)[..., 0].mean().neg()
            self.stats = {"accuracy": (own[..., 0] > others.amax(-1)).float().mean().detach()}
            if self.training:
                self._put(gather(keys))
        return loss

    @torch.no_grad()
    def _put(self, keys):
        if len(keys) > self.queue_size:
            raise InputError(f"{len(keys)} keys do not fit into a queue of {self.queue_size}: set a larger queue_size")
        places = (self.place + torch.arange(len(keys), device=keys.device)) % self.queue_size
        self.queue[places] = keys.to(self.queue.dtype)
        self.place.copy_((self.place + len(keys)) % self.queue_size)

    def _check(self, queries, keys):
        if queries.dim() not in (2, 3) or queries.shape[-1] != self.dim or keys.shape != queries.shape[-2:]:
            raise InputError(f"MoCo takes queries (batch, {self.dim}) or (views, batch, {self.dim}) and keys (batch, {self.dim}) of "
                             f"the same utterances, not {tuple(queries.shape)} and {tuple(keys.shape)}")
