"""Small tensors to the training device without making the host wait for it."""

import torch


def to_device(array, device):
    """``array`` (numpy or CPU tensor) on ``device``.

    A copy from ordinary memory to a GPU waits for all work queued there; from pinned memory it joins the queue.
    """
    tensor = torch.as_tensor(array)
    if torch.device(device).type == "cuda" and tensor.device.type == "cpu":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)
