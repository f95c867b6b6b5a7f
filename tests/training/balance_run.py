"""Run under torchrun by test_balance_module.py, in folder argv[1]: what two processes make of balanced losses.

A step of two micro-batches, of which the processes have ``PARTS`` utterances, goes back as the trainer does it.
"""

import contextlib
import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from wespk.losses import build_loss
from wespk.training.balance import Balance
from wespk.training.gather import gather_with_gradient
from wespk.utils import dist

PARTS = ((3, 2), (1, 4))  # utterances of the two processes in each micro-batch
ALL = ("aam", "contrast", "size")
CASES = {"sum": ("sum", ALL[:2]), "min_norm": ("min_norm", ALL[:2]), "three": ("min_norm", ALL),
         "pcgrad": ("pcgrad", ALL[1:]), "pcgrad three": ("pcgrad", ALL), "uncertainty": ("uncertainty", ALL[:2])}


def gradients(seed, n, shape=(3, 2, 4), spread=0.0):
    """n random gradients with something in common, of lengths that differ by up to 10**spread."""
    draw = np.random.default_rng(seed)
    g = draw.normal(size=(n, *shape)) + draw.normal(size=shape) * draw.choice([-1, 0, 1])
    return torch.from_numpy(g * 10 ** draw.uniform(-spread / 2, spread / 2, (n,) + (1,) * len(shape)))


def project_in_words(g, orders):
    """PCGrad on the gradients themselves, as in the paper's algorithm 1."""
    mixed = []
    for i, order in enumerate(orders):
        mine = g[i].clone()
        for j in order:
            product = (mine * g[j]).sum()
            if j != i and product < 0:
                mine -= product / g[j].square().sum() * g[j]
        mixed.append(mine)
    return sum(mixed)


def contrast(z, everyone, first):
    """Mean over the embeddings z (n, D), which are everyone's (N, D) from ``first`` on, of a loss against all others."""
    apart = (z[:, None] - everyone).square().sum(-1)
    others = torch.arange(len(everyone)) != torch.arange(first, first + len(z))[:, None]
    return (torch.exp(-apart) * others).sum(1).log1p().mean()


class Objective(nn.Module):
    """A network, a classification loss, a contrastive one over all processes' embeddings and a penalty on their size."""

    def __init__(self, method, names):
        super().__init__()
        self.network = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 6))
        head = build_loss({"name": "aam_softmax", "scale": 5.0}, 6, 4)
        self.loss = head if "aam" in names else None  # DDP waits for parameters that are not used
        self.squeeze = nn.Linear(6, 3)
        self.balance = Balance(method, names, seed=5)
        self.balance.set_step(3)

    def forward(self, x, labels):
        z = self.network(x)
        sizes = dist.from_all(len(z))
        everyone = gather_with_gradient(z, sizes) if dist.world_size() > 1 else z
        first = sum(sizes[: dist.rank()])
        losses = {"aam": self.loss(z, labels)} if self.loss else {}
        losses |= {"contrast": contrast(self.squeeze(z), self.squeeze(everyone), first),
                   "size": z.square().sum(1).mean() + 3 * z[:, 0].mean()}
        return {"loss": self.balance({n: losses[n] for n in self.balance.names}, z), **self.balance.stats}


def make_objective(case):
    torch.manual_seed(4)
    return Objective(*CASES[case]).double()


def batches():
    """The whole micro-batches: [(inputs, labels), ...]."""
    torch.manual_seed(6)
    return [(torch.randn(sum(part), 5, dtype=torch.float64), torch.randint(4, (sum(part),))) for part in PARTS]


def step(module, objective, mine):
    """Gradients of one step on the micro-batches ``mine``, and each one's figures for the log."""
    whole, figures = sum(sum(part) for part in PARTS), []
    for i, (x, labels) in enumerate(mine):
        waits = dist.world_size() > 1 and i + 1 < len(mine)
        with module.no_sync() if waits else contextlib.nullcontext():
            scalars = module(x, labels)
            (scalars.pop("loss") * len(labels) * dist.world_size() / whole).backward()
        figures.append(scalars)
    return {"gradients": {n: p.grad for n, p in objective.named_parameters()}, "stats": figures}


def run_whole(objective):
    """What one process makes of the whole micro-batches."""
    return step(objective, objective, batches())


def main(folder):
    dist.init("cpu")
    done = {}
    for case in CASES:
        objective = make_objective(case)
        rows = [slice(0, part[0]) if dist.is_main() else slice(part[0], None) for part in PARTS]
        mine = [(x[r], labels[r]) for (x, labels), r in zip(batches(), rows)]
        done[case] = step(DistributedDataParallel(objective), objective, mine)
    torch.save(done, folder / f"rank{dist.rank()}.pt")
    dist.leave()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
