"""Classification heads over all classes at once, over blocks of classes, and split over processes: time and memory.

    . tools/path.sh; python tools/bench/heads.py --loss sphereface2 --classes 6000,18000,100000,1000000 --processes 2

All sides compute on the same embeddings, labels and weights; a step is forward and backward, and its figure the median: of
CPU time on a CPU, by the wall clock on a GPU. Memory is the peak during the steps beyond what lay there before: weights are not in it, their
gradients are. It is what torch allocated on a GPU, and the resident set of the process on the CPU; of the processes
of the split head, which also goes block by block, the largest. "x" is the dense figure divided by the side's own;
"exponent" the power of the number of classes by which a side's time has grown so far; "difference" the largest relative
one between the sides' losses. A side that would not fit into memory is skipped.
"""

import math
import os
import socket
import statistics
import tempfile
import time
from pathlib import Path

from measuring import growth, peak_memory, reset_peak, sizes

from wespk.utils.cli import main
from wespk.utils.errors import InputError

SIDES = ("dense", "blocked", "split")


def _available(device):
    import torch

    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    lines = Path("/proc/meminfo").read_text().splitlines()
    return 1024 * int(next(line.split()[1] for line in lines if line.startswith("MemAvailable:")))


def _need(side, classes, batch, dim, block, processes, device):
    """Bytes that a side takes, roughly: about eight matrices (batch, classes at a time) and four (classes, dim).

    For the split head that is what lies on a GPU, which a process has for itself, or in the memory that all share,
    where each of them first makes the whole head.
    """
    weights, at_a_time = 16 * dim * classes, 32 * batch * (classes if side == "dense" else min(block, classes))
    if side != "split":
        return weights + at_a_time
    if device.type == "cuda":
        return weights // processes + at_a_time
    return weights + processes * (at_a_time + weights // 4)


def _measure(head, embeddings, labels, rounds):
    """Median seconds and peak bytes of a step, and its loss."""
    import torch

    device, times = embeddings.device, []
    clock = time.perf_counter if device.type == "cuda" else time.process_time
    for i in range(rounds + 1):  # the first warms up
        head.zero_grad(set_to_none=True)
        if i == 1:
            before = reset_peak(str(device))
        embeddings.grad = None
        start = clock()
        loss = head(embeddings, labels)
        loss.backward()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(clock() - start)
    peak = peak_memory(str(device)) - before
    head.zero_grad(set_to_none=True)
    return statistics.median(times[1:]), peak, loss.item()


def _problem(conf, classes, batch, dim):
    """Head, embeddings (batch, dim) and labels: the same ones whoever asks."""
    import torch

    from wespk.losses import build_loss

    torch.manual_seed(0)
    return build_loss(conf, dim, classes), torch.randn(batch, dim), torch.randint(classes, (batch,))


def _process(rank, processes, port, folder, conf, classes, batch, dim, device, threads, rounds):
    """One process of the split head; leaves its figures in folder/RANK."""
    import torch

    from wespk.training.sharded_head import ShardedHead
    from wespk.utils import dist

    torch.set_num_threads(threads)
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(processes), "MASTER_ADDR": "127.0.0.1",
                   "MASTER_PORT": str(port)}
    dist.init(device)
    where = torch.device(device, rank) if device == "cuda" else torch.device(device)
    head, embeddings, labels = _problem(conf, classes, batch, dim)
    mine = slice(batch * rank // processes, batch * (rank + 1) // processes)
    embeddings = embeddings[mine].to(where).requires_grad_()
    figures = _measure(ShardedHead(head).to(where), embeddings, labels[mine].to(where), rounds)
    Path(folder, str(rank)).write_text(" ".join(str(x) for x in (*figures, len(embeddings))))
    dist.leave()


def _measure_split(processes, *problem):
    """Seconds and peak bytes of the slowest and largest process, and the loss of the whole batch."""
    from torch.multiprocessing import spawn

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        spawn(_process, (processes, port, folder, *problem), nprocs=processes)
        rows = [[float(x) for x in Path(folder, str(rank)).read_text().split()] for rank in range(processes)]
    times, peaks, losses, sizes = zip(*rows)
    return max(times), max(peaks), sum(x * n for x, n in zip(losses, sizes)) / sum(sizes)


def _measure_whole(conf, classes, batch, dim, where, rounds):
    head, embeddings, labels = _problem(conf, classes, batch, dim)
    return _measure(head.to(where), embeddings.to(where).requires_grad_(), labels.to(where), rounds)


def bench(loss: str = "sphereface2", classes: str = "2000,6000,18000", batch: int = 256, dim: int = 256,
          block: int = 4096, device: str = "cpu", threads: int = 1, rounds: int = 5, processes: int = 0):
    """Print a line for every number of classes and side.

    Args:
        loss: sphereface2, aam_softmax or am_softmax
        classes: numbers of classes, separated by commas
        batch: embeddings in a step, over all processes
        dim: their size
        block: classes in a block
        device: cpu or cuda
        threads: CPU threads for computing, of each process
        rounds: steps timed
        processes: those that share the split head, on the GPUs of this machine or its CPU; 0 leaves that side out
    """
    import torch

    if processes < 0 or processes == 1:
        raise InputError(f"--processes {processes}: 0, or 2 and more")
    if device == "cuda" and processes > torch.cuda.device_count():
        raise InputError(f"--processes {processes}: one GPU each is needed, and there are {torch.cuda.device_count()}")
    torch.set_num_threads(threads)
    where = torch.device(device)
    print(f"{loss}, batch {batch}, dim {dim}, blocks of {block}, {device}, {threads} threads, {processes} processes")
    print(f"{'classes':>9} {'side':>8} {'ms':>9} {'x':>6} {'MiB':>8} {'x':>6} {'exponent':>8} {'difference':>11}", flush=True)
    had = {side: [] for side in SIDES}
    for count in sizes(classes):
        dense = (math.nan, math.nan, math.nan)
        for side in SIDES if processes else SIDES[:2]:
            start = f"{count:>9} {side:>8}"
            need = _need(side, count, batch, dim, block, processes, where)
            if need > 0.9 * _available(where):
                print(f"{start} skipped, would take {need / 1e9:.1f} GB", flush=True)
                continue
            conf = {"name": loss, "block_size": 0 if side == "dense" else block}
            if side == "split":
                figures = _measure_split(processes, conf, count, batch, dim, device, threads, rounds)
            else:
                figures = _measure_whole(conf, count, batch, dim, where, rounds)
            dense = figures if side == "dense" else dense
            seconds, peak, value = figures
            had[side].append((count, seconds))
            power = growth(*zip(*had[side]))
            print(f"{start} {1000 * seconds:>9.1f} {dense[0] / seconds:>6.2f} {peak / 2**20:>8.0f} "
                  f"{dense[1] / max(peak, 4096):>6.1f} {'-' if math.isnan(power) else f'{power:.2f}':>8} {abs(value - dense[2]) / abs(value):>11.1e}", flush=True)


if __name__ == "__main__":
    main(bench)
