"""A training step, ResNet34 or ECAPA-TDNN under AAM, and what could make it quicker: each alone against the plain step.

    . tools/path.sh; OMP_NUM_THREADS=1 python tools/bench/step.py --model resnet34 --batch 2,4,8

Sizes are utterances in a batch. A step is what the trainer does: forward, backward, SGD with momentum and weight decay,
on features that lie ready. Each variant and a plain step take turns in a process of their own, so that one that crashes
is told as such, and both start from the same weights. The note has the plain step's seconds there divided by the
variant's, and the largest difference of --steps losses, 0 where all are the same to the bit.

    channels_last   the images of a ResNet with their channels innermost in memory
    bf16            the network under bfloat16 autocast (train.bf16)
    fused, foreach  SGD in one kernel for all weights, or one a kind of operation
    compile         torch.compile of the network; the first step, which compiles, apart
    malloc          CPU: freed memory is kept for the next step, see wespk.utils.memory; compared with the first row,
                    as it is a whole process's
    dequantise      chunks come compressed, and the step dequantises and normalises them (on the device)
    dequantise_on_host  the same, dequantised before they are copied to the device
    pageable        CUDA: features are copied from ordinary memory, which waits for all that is queued
    pinned          CUDA: from pinned memory, beside the computation, as the trainer does
    graphs          CUDA: forward and backward of the network replayed as CUDA graphs
"""

import time
from functools import partial

import torch
from measuring import Rows, Spent, apart, peak_memory, reset_peak, sizes

from wespk.features.cmvn import mean_norm
from wespk.io.frames import RawChunks, dequantise
from wespk.training.objectives import build_objective
from wespk.training.optimizers import build_optimizer
from wespk.utils import config
from wespk.utils.cli import listed, main
from wespk.utils.errors import InputError

MODELS = {"resnet34": "model.name=resnet34",
          "ecapa1024": "model.name=ecapa_tdnn model.channels=1024 model.embed_dim=192"}  # fmt: skip
VARIANTS = ("channels_last", "bf16", "fused", "foreach", "compile", "malloc", "dequantise", "dequantise_on_host",
            "pageable", "pinned", "graphs")  # fmt: skip
CUDA_ONLY, CPU_ONLY = ("pageable", "pinned", "graphs"), ("malloc",)
DIM = 80


class Step:
    """One side: weights, optimiser and batches of its own, all drawn from one seed."""

    def __init__(self, model, classes, batch, frames, device, variant):
        torch.manual_seed(0)
        bf16 = f" train.bf16={str(variant == 'bf16').lower()}"
        conf = config.load(sets=f"{MODELS[model]} model.feat_dim={DIM}{bf16}")
        self.objective = build_objective(conf, classes).to(device).train()
        self.objective.set_margin(0.2)
        if variant == "channels_last":
            self._to_channels_last()
        self.optimizer = build_optimizer(self.objective, conf["optimizer"])
        if variant in ("fused", "foreach"):
            self.optimizer = self._several_at_once(conf["optimizer"], variant)
        self.device, self.variant = device, variant
        self.labels = torch.randint(classes, (batch,), device=device)
        self.raw = _compressed(batch, frames)
        self.feats = mean_norm(dequantise(self.raw)).contiguous()
        if variant == "pinned":
            self.feats, self.raw = self.feats.pin_memory(), RawChunks(*(part.pin_memory() for part in self.raw))
        elif variant != "pageable":
            self.feats = self.feats.to(device)
        if variant == "compile":
            self.objective.model = torch.compile(self.objective.model)
        if variant == "graphs":
            self.objective.model = torch.cuda.make_graphed_callables(self.objective.model, (self.feats.clone(),))

    def _to_channels_last(self):
        if not any(p.ndim == 4 for p in self.objective.model.parameters()):
            raise InputError("the network has no images (weights of 4 dimensions)")
        self.objective.model.to(memory_format=torch.channels_last)

    def _several_at_once(self, conf, how):
        groups = [{"params": g["params"], "weight_decay": g["weight_decay"]} for g in self.optimizer.param_groups]
        options = {name: conf[name] for name in ("lr", "momentum", "nesterov")}
        return torch.optim.SGD(groups, **options, **{how: True})

    def _inputs(self):
        if self.variant == "dequantise":
            return mean_norm(dequantise(self.raw, self.device))
        if self.variant == "dequantise_on_host":
            return mean_norm(dequantise(self.raw).to(self.device))
        return self.feats.to(self.device, non_blocking=True)

    def __call__(self):
        """One step; its loss, which is not read here."""
        loss = self.objective(self._inputs(), self.labels)["loss"]
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return loss.detach()


def _compressed(batch, frames):
    """``RawChunks`` of Kaldi's speech-feature compression, of random codes with a spread like filterbanks'."""
    draw = torch.Generator().manual_seed(1)
    codes = torch.randint(256, (batch, DIM, frames), generator=draw, dtype=torch.uint8)
    points = torch.tensor([0, 16384, -16384, -1], dtype=torch.int16).expand(batch, DIM, 4).contiguous()
    return RawChunks(codes, torch.tensor([[-10.0, 20.0]]).expand(batch, 2).contiguous(), points)


def compare(make, variant, device, steps, rounds):
    """The plain step and a variant in turns: two (``Spent``, losses, first step's seconds, peak) in this process."""
    wait = torch.cuda.synchronize if device == "cuda" else (lambda: None)
    sides = {}
    for name in dict.fromkeys(("plain", variant)):
        before = _reset_peak(device)
        step, began = make(name), time.perf_counter()
        first = step()
        wait()
        sides[name] = [step, Spent([], []), [first], time.perf_counter() - began, 0]
        sides[name][2] += [step() for _ in range(steps - 1)]
        sides[name][4] = _peak(device) - before
    for _ in range(rounds):
        for step, spent, *_ in sides.values():
            wait()
            wall, cpu = time.perf_counter(), time.process_time()
            step()
            wait()
            spent.wall.append(time.perf_counter() - wall)
            spent.cpu.append(time.process_time() - cpu)
    return [(spent, torch.stack(losses).tolist(), first, peak) for _, spent, losses, first, peak in sides.values()]


def alone(make, steps, rounds):
    """As ``compare`` of the plain step with itself, in a process whose freed memory is kept."""
    from wespk.utils.memory import keep_freed_memory

    if not keep_freed_memory():
        raise InputError("the C library has no such setting, or the environment (MALLOC_...) has one of its own")
    return compare(make, "plain", "cpu", steps, rounds)


def _reset_peak(device):
    if device == "cpu":
        return reset_peak()
    torch.cuda.reset_peak_memory_stats()
    return torch.cuda.memory_allocated()


def _peak(device):
    return peak_memory() if device == "cpu" else torch.cuda.max_memory_allocated()


def bench(model: str = "resnet34", batch: str = "2,4,8", frames: int = 200, classes: int = 17982, variants: str = "",
          steps: int = 3, rounds: int = 3, device: str = "auto"):
    """Print a table: for each size the plain step, then each variant.

    Args:
        model: resnet34 or ecapa1024
        batch: utterances in a batch, several sizes
        frames: of each
        classes: training speakers
        variants: separated by commas; empty: all
        steps: whose losses are compared
        rounds: of each, timed
        device: auto, cpu or cuda
    """
    names = listed(variants) or list(VARIANTS)
    if model not in MODELS or not set(names) <= set(VARIANTS):
        raise InputError(f"--model is {' or '.join(MODELS)}; --variants are {', '.join(VARIANTS)}")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    rows = Rows("batch", device)
    for size in sizes(batch, 2):
        make = partial(Step, model, classes, size, frames, device)
        plain = apart(compare, make, "plain", device, steps, rounds).found[0]
        rows.add(size, "plain", plain[0], plain[3], f"loss {plain[1][-1]:.4f}")
        for name in names:
            if name in CUDA_ONLY and device == "cpu":
                print(f"{size:>12} {name:>22} no CUDA device", flush=True)
            elif name not in CPU_ONLY or device == "cpu":
                _tell(rows, size, name, plain, make, device, steps, rounds)


def _tell(rows, size, name, plain, make, device, steps, rounds):
    try:
        piece = (alone, make) if name == "malloc" else (compare, make, name, device)
        found = apart(*piece, steps, rounds).found
    except InputError as error:
        print(f"{size:>12} {name:>22} not measured: {error}", flush=True)
        return
    own, (spent, losses, first, peak) = plain if name == "malloc" else found[0], found[-1]
    clock = "cpu" if device == "cpu" else "wall"
    ratio = min(getattr(own[0], clock)) / min(getattr(spent, clock))
    differ = max(abs(a - b) for a, b in zip(own[1], losses, strict=True))
    compiling = f"; first step {first:.0f} s" if name == "compile" else ""
    whose = "the first row" if name == "malloc" else "its own plain step"
    rows.add(size, name, spent, peak, f"{ratio:.2f} x {whose}; loss differs by {differ:.1e}{compiling}")


if __name__ == "__main__":
    main(bench)
