"""A classifier head whose classes are split over the processes of a distributed run.

Each process holds, and updates, the weights of its own classes only. In a step all embeddings and labels go to every
process, which computes the part of its classes for the whole batch; of these parts, a few numbers an embedding, the
losses are made: SphereFace2's are summed, the softmax losses' log-sum-exps combined (``BlockHead``). Value and
gradients are those of the whole head on the whole batch.

Gradients: the trainer scales each process's loss so that the *mean* over processes of their gradients is the whole
batch's, and DDP takes that mean. Here a gradient that reaches a process from all others is a *sum*; DDP's mean makes
the encoder's and SphereFace2's bias right, and the class weights, which DDP leaves alone, are divided by their number.

Files know nothing of this: a checkpoint holds the whole head and the whole state of its optimiser.
"""

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from wespk.losses.blocks import BlockHead
from wespk.training.gather import gather, gather_with_gradient, own_rows
from wespk.utils import dist
from wespk.utils.errors import InputError
from wespk.utils.precision import at_least_float32


def check_shardable(conf, loss):
    """Raise ``InputError`` if ``loss``, an objective's as ``conf`` has it, cannot be split over processes."""
    if not isinstance(loss, BlockHead):
        raise InputError(f"runtime.shard_head: loss.name={conf['loss']['name']} cannot be split over processes under "
                         f"objective.name={conf['objective']['name']}; sphereface2, spherespeaker, aam_softmax and "
                         "am_softmax can under supervised. Leave runtime.shard_head at false")


class ShardedHead(nn.Module):
    """``head`` (a ``BlockHead``, whole) cut down to this process's classes; to be used like the head itself.

    forward(embeddings (B, D), labels (B,)) of this process -> the mean loss of these B embeddings against all classes.
    B may differ between processes; all must call together. The classes are contiguous rows, split as evenly as can be.
    Every process makes the whole head before it is cut, in host memory, so that it starts from the numbers of an
    unsharded run. Raises ``InputError`` when there are fewer classes than processes.
    """

    has_margin = True

    def __init__(self, head):
        super().__init__()
        classes, world = head.num_classes, dist.world_size()
        if classes < world:
            raise InputError(f"runtime.shard_head: {classes} classes cannot be split over {world} processes")
        self.sizes = [classes * (i + 1) // world - classes * i // world for i in range(world)]
        self.rows = own_rows(self.sizes)
        head.weight = nn.Parameter(head.weight.detach()[self.rows].clone())
        head.weight.register_hook(lambda gradient: gradient / world)
        self.head, self.stats = head, {}

    def set_margin(self, margin):
        """Use this margin from now on."""
        self.head.set_margin(margin)

    def forward(self, embeddings, labels):
        self.head.check(embeddings, labels)
        sizes = dist.from_all(len(labels))
        own = own_rows(sizes)
        with torch.autocast(embeddings.device.type, enabled=False):
            everyone = gather_with_gradient(at_least_float32(embeddings), sizes)
            part, value, best = self.head.partial(everyone, gather(labels, sizes), self.rows.start)
            ones = [1] * len(self.sizes)
            parts = gather_with_gradient(part[None], ones)
            winner = gather(value[None], ones).argmax(0, keepdim=True)
            best = gather(best[None], ones).gather(0, winner)[0]
            loss = self.head.losses(self.head.merge(parts)[..., own]).mean()
            self.stats = {**self.head.stats, "accuracy": (best[own] == labels).float().mean()}
            return loss

    def whole_state(self):
        """The state of the unsharded head, on the main process; nothing useful elsewhere. All must call together."""
        return {**self.head.state_dict(), "weight": dist.rows_to_main(self.head.weight.detach(), self.sizes)}

    def load_whole_state(self, state):
        """Take this process's rows out of the state of an unsharded head."""
        self.head.load_state_dict({**state, "weight": state["weight"][self.rows]})


class Shards:
    """What a run does otherwise when its head may be sharded; with an unsharded one, what it always does.

    objective: module with ``loss``, an ordinary loss or a ``ShardedHead``.
    """

    def __init__(self, objective):
        self.objective = objective
        self.head = objective.loss if isinstance(objective.loss, ShardedHead) else None

    def wrap(self):
        """The objective in DDP, which leaves the split weights alone."""
        if self.head:
            mine = [name for name, p in self.objective.named_parameters() if p is self.head.head.weight]
            DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(self.objective, mine)
        return DistributedDataParallel(self.objective)

    def _index(self, optimizer):
        """The number that the optimiser's state has for the split weights."""
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        return next(i for i, p in enumerate(parameters) if p is self.head.head.weight)

    def state(self, optimizer):
        """State of the loss and of ``optimizer`` as an unsharded run has them: the same call on every process.

        Whole on the main process only.
        """
        state = optimizer.state_dict()
        if not self.head:
            return {"loss": self.objective.loss.state_dict(), "optimizer": state}
        index = self._index(optimizer)
        mine = state["state"].get(index, {})
        whole = {n: dist.rows_to_main(v, self.head.sizes) if _has_rows(v) else v for n, v in mine.items()}
        moments = {**state["state"], index: whole} if mine else state["state"]
        return {"loss": self.head.whole_state(), "optimizer": {**state, "state": moments}}

    def load(self, state, optimizer):
        """Take up what ``state`` returned, here or in an unsharded run or with another number of processes."""
        if not self.head:
            self.objective.loss.load_state_dict(state["loss"])
            optimizer.load_state_dict(state["optimizer"])
            return
        self.head.load_whole_state(state["loss"])
        index, saved = self._index(optimizer), state["optimizer"]
        moments = dict(saved["state"])
        if index in moments:
            moments[index] = {n: v[self.head.rows].clone() if _has_rows(v) else v for n, v in moments[index].items()}
        optimizer.load_state_dict({**saved, "state": moments})

    def clip_gradients(self, largest, each=False):
        """Scale all gradients so that their norm, in which every class counts once, is at most ``largest``.

        each: of every parameter by itself. What a module names in ``unclipped`` is neither scaled nor counted.
        """
        spared = {id(getattr(m, name)) for m in self.objective.modules() for name in getattr(m, "unclipped", ())}
        parameters = [p for p in self.objective.parameters() if p.grad is not None and id(p) not in spared]
        split = self.head.head.weight if self.head else None
        gradients = [p.grad for p in parameters]
        squares = torch.stack(torch._foreach_norm(gradients)).square()
        for i, parameter in enumerate(parameters):
            if parameter is split:
                dist.sum_over_ranks(squares[i])
        norms = (squares if each else squares.sum()).sqrt().expand(len(parameters))
        torch._foreach_mul_(gradients, list((largest / (norms + 1e-6)).clamp(max=1).unbind()))


def _has_rows(value):
    """Whether an entry of an optimiser's state is as large as the weights, unlike its step count."""
    return torch.is_tensor(value) and value.dim() == 2
