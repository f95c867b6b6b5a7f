"""Classification heads over all classes at once against blocks of classes: time and peak memory of a training step.

    . tools/path.sh; python tools/bench/heads.py --loss sphereface2 --classes 6000,18000,100000,1000000 --device cpu

Both sides run in turn in one process, on the same embeddings, labels and weights; a step is forward and backward, and
its figure the median by the wall clock. Memory is the peak during the steps beyond what lay there before: weights are
not in it, their gradients are. It is what torch allocated on a GPU, and the resident set of the process on the CPU.
The ratios are dense / blocked. Where the dense side would not fit into memory, only the blocked one runs.
"""

import ctypes
import statistics
import time
from pathlib import Path

from wespk.utils.cli import main


def _peak(device):
    """Peak bytes since ``_reset_peak``."""
    import torch

    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    status = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line.split()[1] for line in status if line.startswith("VmHWM:")))


def _reset_peak(device):
    """Start a new peak; returns the bytes in use now."""
    import torch

    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return torch.cuda.memory_allocated(device)
    ctypes.CDLL(None).malloc_trim(0)  # give freed memory back, so that it does not hide a new peak
    Path("/proc/self/clear_refs").write_text("5")  # the kernel's way to forget the high-water mark
    return _peak(device)


def _available(device):
    import torch

    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    lines = Path("/proc/meminfo").read_text().splitlines()
    return 1024 * int(next(line.split()[1] for line in lines if line.startswith("MemAvailable:")))


def _measure(head, embeddings, labels, rounds):
    """Median seconds and peak bytes of a step, and its loss."""
    import torch

    device, times = embeddings.device, []
    for i in range(rounds + 1):  # the first warms up
        head.zero_grad(set_to_none=True)
        if i == 1:
            before = _reset_peak(device)
        embeddings.grad = None
        start = time.perf_counter()
        loss = head(embeddings, labels)
        loss.backward()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - start)
    peak = _peak(device) - before
    head.zero_grad(set_to_none=True)
    return statistics.median(times[1:]), peak, loss.item()


def bench(loss: str = "sphereface2", classes: str = "6000,18000,100000,1000000", batch: int = 256, dim: int = 256,
          block: int = 4096, device: str = "cpu", threads: int = 1, rounds: int = 5):
    """Print a table of both sides for every number of classes.

    Args:
        loss: sphereface2, aam_softmax or am_softmax
        classes: numbers of classes, separated by commas
        batch: embeddings in a step
        dim: their size
        block: classes in a block
        device: cpu or cuda
        threads: CPU threads for computing
        rounds: steps timed
    """
    import torch

    from wespk.losses import build_loss

    torch.set_num_threads(threads)
    where = torch.device(device)
    print(f"{loss}, batch {batch}, dim {dim}, blocks of {block}, {device}, {threads} threads")
    print(f"{'classes':>9} {'dense ms':>9} {'blocked ms':>10} {'ratio':>6} {'dense MiB':>10} {'blocked MiB':>11} "
          f"{'ratio':>6} {'difference':>11}")
    for count in (int(word) for word in classes.split(",")):
        torch.manual_seed(0)
        head = build_loss({"name": loss, "block_size": block}, dim, count).to(where)
        embeddings = torch.randn(batch, dim, device=where, requires_grad=True)
        labels = torch.randint(count, (batch,), device=where)
        time_b, memory_b, value_b = _measure(head, embeddings, labels, rounds)
        if 32 * batch * count + 16 * dim * count > 0.9 * _available(where):  # about eight (B, K), four (K, D) matrices
            print(f"{count:>9} {'-':>9} {1000 * time_b:>10.1f} {'-':>6} {'no room':>10} {memory_b / 2**20:>11.0f}",
                  flush=True)
            continue
        head.block_size = 0
        time_d, memory_d, value_d = _measure(head, embeddings, labels, rounds)
        print(f"{count:>9} {1000 * time_d:>9.1f} {1000 * time_b:>10.1f} {time_d / time_b:>6.2f} "
              f"{memory_d / 2**20:>10.0f} {memory_b / 2**20:>11.0f} {memory_d / max(memory_b, 4096):>6.1f} "
              f"{abs(value_d - value_b) / abs(value_d):>11.1e}", flush=True)


if __name__ == "__main__":
    main(bench)
