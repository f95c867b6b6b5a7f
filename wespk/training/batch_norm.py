"""Batch norm whose statistics are those of all processes together, where each has a part of the batch."""

from torch import nn

from wespk.utils.errors import InputError


def synchronise(objective, device):
    """Make all batch norms in ``objective`` (a module) share their statistics over the processes, in place.

    Names and values of weights and statistics stay. Each micro-batch is shared out by itself: its statistics are those of
    the micro-batches of that number on all processes. Raises ``InputError`` where torch cannot do it: elsewhere than on GPUs.
    """
    if device.type != "cuda":
        raise InputError(f"train.sync_batchnorm=true takes GPUs, and this run has several processes on {device.type}: set "
                         "train.sync_batchnorm=false, or train in one process")
    nn.SyncBatchNorm.convert_sync_batchnorm(objective)
