"""How long training waits for a checkpoint: written beside it, against waiting for the file.

    . tools/path.sh; OMP_NUM_THREADS=1 python tools/bench/checkpoint.py --models resnet34,resnet101,resnet293

A network, a classification head and SGD's momentum are saved --saves times, by one side after the other:

    waiting       the training's thread checks, writes and flushes the file
    beside        it copies the state, and another thread does the rest (wespk.training.writer)

Before a save, and while the other thread writes, training goes on: steps of --step-ms of multiplying matrices, each
of which changes every weight. A row has bytes of the file; seconds that a save kept the training's thread: the first,
which makes the memory of the copies, the median of the others and the longest; the median CPU seconds of that thread
for it; "x", the first side's median divided by this one's; the peak of memory beyond what lay there before; "longer",
seconds by which the steps during a write were longer than in quiet, the median over writes (other work on the machine
is in it). Each network has a process of its own. The files of both sides are the same byte by byte, or the benchmark
fails; memory after the last save is to be that after the second.
"""

import filecmp
import statistics
import tempfile
import threading
import time
from functools import partial
from pathlib import Path
from typing import NamedTuple

from measuring import apart, growth, peak_memory, reset_peak

from wespk.utils.cli import listed, main
from wespk.utils.errors import InputError

SIDES = ("waiting", "beside")
LIMIT = 0.3  # seconds of waiting, to reach
QUIET = 10  # steps between saves


class Training:
    """A stand-in for a training of ``model`` with ``classes`` classes: a state as the trainer has it, and steps."""

    def __init__(self, model, classes, step_ms, device):
        import torch

        from wespk.losses import build_loss
        from wespk.models import build_model
        from wespk.training.optimizers import build_optimizer
        from wespk.utils import config

        torch.set_num_threads(1)
        conf = config.load(sets=f"model.name={model}")
        self.model = build_model({"name": model, "feat_dim": 80}).to(device)
        self.head = build_loss(conf["loss"], self.model.embed_dim, classes).to(device)
        both = torch.nn.ModuleList([self.model, self.head])
        self.optimizer = build_optimizer(both, conf["optimizer"])
        self.weights = [p.detach() for p in both.parameters()]
        for parameter in both.parameters():
            parameter.grad = torch.full_like(parameter, 1e-3)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.matrix, self.seconds, self.done = torch.randn(256, 256, device=device), step_ms / 1000, 1
        self.speakers = [f"id{i:05d}" for i in range(classes)]

    def state(self):
        tensors = {"model": self.model, "loss": self.head, "optimizer": self.optimizer}
        return {"config": {}, "speakers": self.speakers, "fingerprint": "f", "step": self.done, "steps_per_epoch": 1000,
                **{name: of.state_dict() for name, of in tensors.items()}}  # fmt: skip

    def step(self):
        """Seconds of a step."""
        import torch

        began = time.perf_counter()
        torch._foreach_add_(self.weights, 1e-6)
        while time.perf_counter() - began < self.seconds:
            self.matrix @ self.matrix
        if self.matrix.is_cuda:
            torch.cuda.synchronize()
        self.done += 1
        return time.perf_counter() - began


class Save(NamedTuple):
    """What a save took of the training's thread, wall and CPU seconds; how much longer steps during the write were."""

    wall: float
    cpu: float
    longer: float = 0.0


def _timed(save, state):
    began, cpu = time.perf_counter(), time.thread_time()
    save(state())
    return Save(time.perf_counter() - began, time.thread_time() - cpu)


def _beside(writer, path, training, quiet):
    """A save by the ``CheckpointWriter`` and steps until it is written, in ``quiet`` seconds each: ``Save``."""
    from wespk.training import checkpoint

    ended = threading.Event()

    def write(state):
        checkpoint.save(path, state)
        ended.set()

    spent, longer = _timed(partial(writer.submit, write=write), training.state), 0.0
    while not ended.is_set():
        longer += training.step() - quiet
        writer.check()
    writer.wait()
    return spent._replace(longer=longer)


def compare(model, classes, saves, step_ms, device, folder):
    """{side: (list of ``Save``, bytes at the peak)}; the file's; by how many memory grew after the second save."""
    from wespk.training import checkpoint
    from wespk.training.writer import CheckpointWriter

    training, found, held = Training(model, classes, step_ms, device), {side: [] for side in SIDES}, []
    waited, written = (Path(folder) / f"{side}.pt" for side in SIDES)
    before, peaks = reset_peak(), []
    with CheckpointWriter() as writer:
        for _ in range(saves):
            quiet = statistics.median(training.step() for _ in range(QUIET))
            found["waiting"].append(_timed(partial(checkpoint.save, waited), training.state))
            peaks.append(peak_memory() - before)
            found["beside"].append(_beside(writer, written, training, quiet))
            peaks.append(peak_memory() - before)
            if not filecmp.cmp(waited, written, shallow=False):
                raise InputError(f"{model}: the files of both sides differ")
            held.append(reset_peak())
    both = {"waiting": (found["waiting"], peaks[0]), "beside": (found["beside"], max(peaks))}
    return both, written.stat().st_size, held[-1] - held[1]


COLUMNS = "MB file", "first s", "waits s", "longest", "CPU s", "x", "MB peak", "longer s", "exponent"


def _row(model, side, spent, peak, sizes, waits):
    """Print a row. waits: {side: median seconds of waiting at each of ``sizes``, bytes}, this row's among them."""
    first, *others = spent
    cells = [f"{sizes[-1] / 1e6:.0f}", f"{first.wall:.3f}", f"{waits[side][-1]:.3f}",
             f"{max(s.wall for s in others):.3f}", f"{statistics.median(s.cpu for s in others):.3f}",
             f"{waits['waiting'][-1] / waits[side][-1]:.1f}", f"{peak / 1e6:.0f}",
             f"{statistics.median(s.longer for s in others):.2f}", f"{growth(sizes, waits[side]):.2f}"]  # fmt: skip
    print(f"{model:>12} {side:>8} " + " ".join(f"{cell:>8}" for cell in cells), flush=True)


def bench(models: str = "resnet34,resnet101,resnet293", classes: int = 18000, saves: int = 5, step_ms: float = 50,
          device: str = "cpu", folder: str = ""):
    """Print two rows for every network, and what is reached.

    Args:
        models: names of networks, separated by commas
        classes: rows of the head
        saves: how often each side saves, 3 or more
        step_ms: milliseconds of a step of the training that goes on
        device: cpu or cuda
        folder: where files are written; empty: the system's temporary folder
    """
    if saves < 3:
        raise InputError(f"--saves {saves}: 3 at least are needed, as the first is told apart")
    print(f"{classes} classes, {device}, steps of {step_ms:g} ms")
    print(f"{'network':>12} {'side':>8} " + " ".join(f"{head:>8}" for head in COLUMNS), flush=True)
    sizes, waits = [], {side: [] for side in SIDES}
    for model in listed(models):
        with tempfile.TemporaryDirectory(prefix="checkpoint.", dir=folder or None) as made:
            one = apart(compare, model, classes, saves, step_ms, device, made, imports=("torch", "wespk.models"))
        sides, size, grown = one.found
        sizes.append(size)
        for side, (spent, peak) in sides.items():
            waits[side].append(statistics.median(save.wall for save in spent[1:]))
            _row(model, side, spent, peak, sizes, waits)
        waited = waits["beside"][-1]
        verdict = "reached" if waited < LIMIT else "not reached"
        print(f"{model}: files equal; memory after the last save {grown / 1e6:+.1f} MB from that after the second; "
              f"waits {waited:.2f} s, {LIMIT} s {verdict}", flush=True)  # fmt: skip


if __name__ == "__main__":
    main(bench)
