"""The exact gradient of a loss on a whole batch, in the memory of one micro-batch (Gao et al. 2021, arXiv 2101.06983).

A loss that compares the utterances of a batch is no mean over micro-batches. But the gradient that reaches the network
from an embedding is a vector of that embedding's size, and all embeddings of a batch are small. So the network is gone
through twice: without a graph for the embeddings; then, once the loss has said what the gradient of each is, with a
graph for one micro-batch at a time. It costs one forward pass more than a large batch.
"""

import contextlib

import torch


class RandomState:
    """torch's random generators of the CPU and of the GPUs in ``devices``, as they are now; ``restore`` brings them back."""

    def __init__(self, devices=()):
        self.cpu = torch.get_rng_state()
        self.gpus = {device: torch.cuda.get_rng_state(device) for device in devices}

    def restore(self):
        """Draw again what was drawn from here on."""
        torch.set_rng_state(self.cpu)
        for device, state in self.gpus.items():
            torch.cuda.set_rng_state(state, device)


def two_pass(encode, batches, loss, network, waiting=contextlib.nullcontext):
    """Add the gradients of ``loss`` on the outputs of all ``batches`` to the parameters, as one large batch would.

    encode(batch) -> tensor (n, ...) or tuple of tensors (n, ...), utterances first: what ``network`` makes of one
    micro-batch. It must come out the same twice, so its randomness may only be torch's own (dropout): both passes over a
    micro-batch draw the same. batches: sequence of micro-batches, gone through twice; they need not be of equal size.
    loss(output, ...) -> 0-dim loss, or a dict of 0-dim tensors of which "loss" is one: called once, with the outputs of
    all batches one below another and its random numbers drawn in between. network: module whose buffers ``encode``
    changes: they come out as after one pass. waiting: makes a context for each micro-batch but the last (DDP's
    ``no_sync``).

    Returns what ``loss`` returned, detached. Parameters of the loss itself get their gradients from it, before the second
    pass. Random generators are left where the loss left them.

    The one difference from a large batch is batch norm: a micro-batch is normalised by its own statistics, in both passes.

    Under DDP ``encode`` calls the wrapped module; its last call must use every parameter of it, and those of a loss inside
    it, so that they are reduced then: add 0 times their sum to an output.
    """
    gpus = {p.device for p in network.parameters() if p.is_cuda}
    outputs, states = _first_pass(encode, batches, network, gpus)
    tuples = isinstance(outputs[0], tuple)
    columns = list(zip(*outputs)) if tuples else [outputs]
    leaves = [torch.cat(column).requires_grad_() for column in columns]
    with torch.enable_grad():
        result = loss(*leaves)
    (result["loss"] if isinstance(result, dict) else result).backward()
    after = RandomState(gpus)
    slopes = [_split(leaf, column) for leaf, column in zip(leaves, columns)]
    for i, (batch, state) in enumerate(zip(batches, states)):
        state.restore()
        with waiting() if i + 1 < len(states) else contextlib.nullcontext():
            again = encode(batch)
            reached = [(o, s[i]) for o, s in zip(again if tuples else (again,), slopes) if o.requires_grad]
            if reached:  # else the network is frozen, and the loss alone learns
                torch.autograd.backward(*zip(*reached))
    after.restore()
    return {n: v.detach() for n, v in result.items()} if isinstance(result, dict) else result.detach()


def _first_pass(encode, batches, network, gpus):
    """Outputs of every micro-batch, without graph, and the random state before each. Buffers are as before."""
    before = {name: buffer.clone() for name, buffer in network.named_buffers()}
    outputs, states = [], []
    with torch.no_grad():
        for batch in batches:
            states.append(RandomState(gpus))
            outputs.append(encode(batch))
        for name, buffer in network.named_buffers():
            buffer.copy_(before[name])
    return outputs, states


def _split(leaf, column):
    """The gradient of ``leaf``, zeros if the loss does not hang on it, in the pieces that it was made of."""
    gradient = torch.zeros_like(leaf) if leaf.grad is None else leaf.grad
    return gradient.split([len(piece) for piece in column])
