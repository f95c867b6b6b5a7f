"""A step of training without labels against batch size, in one piece and in micro-batches: time and memory.

    . tools/path.sh; python tools/bench/without_labels.py --config egs/voxceleb/selfsup/conf/minivox_sdpn.yaml --batches 32,128

Crops are random and lie on the device. A step is forward, backward, optimiser and teacher, as the trainer does it; its
figure is the least, of CPU time on a CPU and by the wall clock on a GPU. "kept": what the graph holds for the way back, at
its most, each storage counted once; "peak": the most that a GPU's allocator gave out in a step. "x": of one piece divided
by that of micro-batches. "exponents": the powers of the batch size by which the time of either has grown so far.
"""

import time

from measuring import growth, sizes

from wespk.utils.cli import main


class Kept:
    """Counts the bytes of the storages that a graph saves, while it saves them."""

    def __init__(self):
        self.alive, self.peak = {}, 0

    def pack(self, tensor):
        """Called when a tensor is saved."""
        storage = tensor.untyped_storage()
        held = Held(self, tensor, storage.data_ptr())
        count, size = self.alive.get(held.key, (0, storage.nbytes()))
        self.alive[held.key] = count + 1, size
        self.peak = max(self.peak, sum(size for _, size in self.alive.values()))
        return held

    def drop(self, key):
        """Called when it is let go."""
        count, size = self.alive.pop(key)
        if count > 1:
            self.alive[key] = count - 1, size


class Held:
    """A saved tensor that tells when it is let go."""

    def __init__(self, kept, tensor, key):
        self.kept, self.tensor, self.key = kept, tensor, key

    def __del__(self):
        self.kept.drop(self.key)


def _gradients(objective, pieces):
    from wespk.training.micro_batches import two_pass

    if len(pieces) == 1:
        objective(pieces[0])["loss"].backward()
    else:
        two_pass(lambda piece: objective(piece, outputs=True), pieces, objective.losses, objective)


def _step(objective, optimizer, pieces):
    _gradients(objective, pieces)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    objective.after_step(0, 100)


def _measure(objective, optimizer, pieces, where, rounds):
    """(seconds, MiB kept for the way back, MiB at the allocator's peak or None) of a step."""
    import torch

    kept, times, peak = Kept(), [], None
    clock = time.perf_counter if where.type == "cuda" else time.process_time
    with torch.autograd.graph.saved_tensors_hooks(kept.pack, lambda held: held.tensor):
        _step(objective, optimizer, pieces)
    if where.type == "cuda":
        torch.cuda.reset_peak_memory_stats(where)
    for _ in range(rounds):
        start = clock()
        _step(objective, optimizer, pieces)
        if where.type == "cuda":
            torch.cuda.synchronize(where)
            peak = torch.cuda.max_memory_allocated(where) / 2**20
        times.append(clock() - start)
    return min(times), kept.peak / 2**20, peak


def bench(config: str, batches: str = "8,16,32", micro: int = 4, set: str = "", device: str = "cpu", threads: int = 1,
          rounds: int = 3):
    """Print a line for every batch size.

    Args:
        config: configuration of an objective without labels
        batches: utterances in a batch, several separated by commas
        micro: utterances in a micro-batch
        set: further options: 'section.key=value section.key=value'
        device: cpu or cuda
        threads: CPU threads for computing
        rounds: steps timed
    """
    import torch

    from wespk.training.objectives import build_objective
    from wespk.training.optimizers import build_optimizer
    from wespk.training.run import fit_model_to_features
    from wespk.utils import config as configuration

    torch.set_num_threads(threads)
    where, conf = torch.device(device), configuration.load(config, sets=set)
    fit_model_to_features(conf)
    objective, crops, dim = build_objective(conf, 0).to(where), conf["crops"], conf["model"]["feat_dim"]
    optimizer = build_optimizer(objective, conf["optimizer"])
    print(objective.summary(), f"; {device}, {threads} threads, micro-batches of {micro}", sep="")
    print(f"{'batch':>6} {'s, one piece':>12} {'s, micro':>9} {'x':>5} {'MiB kept':>9} {'micro':>7} {'x':>5} {'exponents':>10} {'MiB peak':>9} {'micro':>7}")
    had = []
    for batch in sizes(batches):
        whole = {part: torch.randn(batch, crops[f"{part}_number"], crops[f"{part}_frames"], dim, device=where)
                 for part in ("teacher", "student") if crops[f"{part}_number"]}  # fmt: skip
        pieces = [{part: value[first : first + micro] for part, value in whole.items()} for first in range(0, batch, micro)]
        one, many = (_measure(objective, optimizer, cut, where, rounds) for cut in ([whole], pieces))
        had.append((batch, one[0], many[0]))
        done, *both = zip(*had)
        powers = " ".join(f"{growth(done, times):.2f}" for times in both) if len(had) > 1 else "-"
        peaks = " ".join("-" if p is None else f"{p:.0f}" for p in (one[2], many[2]))
        print(f"{batch:>6} {one[0]:>12.3f} {many[0]:>9.3f} {one[0] / many[0]:>5.2f} {one[1]:>9.1f} {many[1]:>7.1f} "
              f"{one[1] / many[1]:>5.1f} {powers:>10} {peaks}", flush=True)  # fmt: skip


if __name__ == "__main__":
    main(bench)
