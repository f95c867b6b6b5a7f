"""Distributed training, reduced to what the trainer asks; every function also works in a single process."""

import os

import torch
import torch.distributed as dist


def init(device_type):
    """Join the process group that torchrun describes in the environment; nothing without ``WORLD_SIZE`` above 1.

    nccl on cuda, gloo elsewhere. Returns (rank, world size, local rank).
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    local = int(os.environ.get("LOCAL_RANK", "0"))
    if world > 1 and not dist.is_initialized():
        dist.init_process_group("nccl" if device_type == "cuda" else "gloo")
    return rank(), world_size(), local


def shutdown():
    """Leave the process group, if there is one."""
    if dist.is_initialized():
        dist.destroy_process_group()


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


def any_rank(flag, device="cpu"):
    """True on every process if ``flag`` is true on at least one."""
    if not dist.is_initialized():
        return bool(flag)
    value = torch.tensor([float(bool(flag))], device=device)
    dist.all_reduce(value, op=dist.ReduceOp.MAX)
    return bool(value.item())
