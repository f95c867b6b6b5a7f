"""Distributed training, reduced to what the trainer asks; every function also works in a single process."""

import logging
import os
import sys

import torch
import torch.distributed as dist

_control = None  # beside nccl a gloo group, for messages that no GPU has to wait for; None: the group there is


def init(device_type):
    """Join the process group that torchrun describes in the environment; nothing without ``WORLD_SIZE`` above 1.

    nccl on cuda, gloo elsewhere. Returns (rank, world size, local rank).
    """
    global _control
    world = int(os.environ.get("WORLD_SIZE", "1"))
    local = int(os.environ.get("LOCAL_RANK", "0"))
    if world > 1 and not dist.is_initialized():
        dist.init_process_group("nccl" if device_type == "cuda" else "gloo")
        if device_type == "cuda":
            _control = dist.new_group(backend="gloo")
    return rank(), world_size(), local


def leave(status=0):
    """A process's last call: end with ``status``. Returns if that is 0 and there is no other process.

    Several processes wait for each other and then end at once. Taking the group apart in good order, and the
    destructors that run when Python ends, now and then abort in gloo's threads, and all is written by then anyway.
    """
    if not dist.is_initialized():
        if status:
            raise SystemExit(status)
        return
    dist.barrier(group=_control)
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def abandon(error):
    """End this process at once after ``error``, if it has others beside it; they are then ended by the launcher.

    Leaving the group in good order would wait for processes that wait for this one.
    """
    if world_size() > 1:
        print(f"rank {rank()}: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
        os._exit(1)


def rank():
    """Global rank; 0 in a single process."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size():
    """Number of processes; 1 in a single process."""
    return dist.get_world_size() if dist.is_initialized() else 1


def is_main():
    """True on the one process that writes files."""
    return rank() == 0


def barrier():
    """Wait for all processes."""
    if dist.is_initialized():
        dist.barrier()


def sum_over_ranks(tensor):
    """Sum a tensor over all processes, in place, and return it."""
    if dist.is_initialized():
        dist.all_reduce(tensor)
    return tensor


def any_rank(flag):
    """True on every process if ``flag`` is true on at least one. Asked on the hosts: no GPU waits for it."""
    if not dist.is_initialized():
        return bool(flag)
    value = torch.tensor([float(bool(flag))])
    dist.all_reduce(value, op=dist.ReduceOp.MAX, group=_control)
    return bool(value.item())


def from_all(number):
    """Every process's integer ``number``, as a list, on every process. Asked on the hosts: no GPU waits for it."""
    if not dist.is_initialized():
        return [number]
    numbers = [torch.zeros(1, dtype=torch.int64) for _ in range(world_size())]
    dist.all_gather(numbers, torch.tensor([number]), group=_control)
    return [int(n) for n in numbers]


def rows_to_main(tensor, sizes):
    """On the main process all processes' rows in one tensor on the CPU, ``sizes[rank]`` of each; None elsewhere.

    It goes by way of the hosts, straight into place: no device needs room for it.
    """
    rows = tensor.detach().cpu().contiguous()
    if not is_main():
        dist.send(rows, 0, group=_control)
        return None
    whole = rows.new_empty(sum(sizes), *rows.shape[1:])
    pieces = whole.split(sizes)
    pieces[0].copy_(rows)
    for other in range(1, world_size()):
        dist.recv(pieces[other], other, group=_control)
    return whole


def from_main(value):
    """The main process's ``value`` (anything that pickles), on every process."""
    if not dist.is_initialized():
        return value
    box = [value]
    dist.broadcast_object_list(box, src=0, group=_control)
    return box[0]


def share_buffers(module):
    """Give every process the main one's buffers, such as batch-norm statistics."""
    if dist.is_initialized():
        for buffer in module.buffers():
            dist.broadcast(buffer, src=0)
