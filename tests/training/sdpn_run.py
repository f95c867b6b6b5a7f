"""Run under torchrun by test_sdpn_processes.py, in folder argv[1]: a step of SDPN's losses on two processes.

They have 5 and 3 utterances, in micro-batches of 2, and go back twice through a network in DDP.
"""

import sys
from pathlib import Path

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from wespk.losses.base import alone
from wespk.losses.dimension import frobenius
from wespk.losses.dino import DINOLoss
from wespk.losses.koleo import koleo_of_views
from wespk.losses.sdpn import SDPNLoss
from wespk.training.gather import gather_with_gradient, sum_with_gradient
from wespk.training.micro_batches import two_pass
from wespk.utils import dist

SIZES, VIEWS, MICRO = (5, 3), 2, 2


class Objective(nn.Module):
    """Encoder, head and prototypes. forward(views (B, V, 5)) -> encoder outputs (B, V, 6), head outputs (B, V, 4)."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.encoder = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 6))
        self.head = nn.Linear(6, 4)
        self.loss, self.dino = SDPNLoss(4, 11), DINOLoss(4)
        self.double()

    def forward(self, views):
        encoded = self.encoder(views)
        return encoded, self.head(encoded) + 0 * self.loss.prototypes.sum()  # so that DDP reduces the prototypes too


def data():
    """Local views (B, V, 5) and the teacher's outputs (B, 4) of the whole batch."""
    draw = torch.Generator().manual_seed(1)
    return (torch.randn(sum(SIZES), VIEWS, 5, generator=draw, dtype=torch.float64),
            torch.randn(sum(SIZES), 4, generator=draw, dtype=torch.float64))


def combined(objective, encoded, outputs, teacher, reduce=alone, everyone=None, first=0):
    """All losses of the utterances here, and their weighted sum, "loss"."""
    student = outputs.transpose(0, 1)
    cross_entropy, me_max = objective.loss(student, teacher, reduce)
    spread = koleo_of_views(encoded if everyone is None else everyone, first, len(encoded))
    apart = frobenius(outputs.flatten(0, 1), reduce)
    dino = objective.dino(student, teacher[None], reduce=reduce)
    return {"loss": cross_entropy + me_max + 0.1 * spread + 0.5 * apart + 0.2 * dino, "cross_entropy": cross_entropy,
            "me_max": me_max, "koleo": spread, "frobenius": apart, **objective.loss.stats}


def main(folder):
    dist.init("cpu")
    objective, (views, teacher) = Objective(), data()
    first = sum(SIZES[: dist.rank()])
    mine = slice(first, first + SIZES[dist.rank()])
    module = DistributedDataParallel(objective)

    def loss(encoded, outputs):
        everyone = gather_with_gradient(encoded, dist.from_all(len(encoded)))
        scalars = combined(objective, encoded, outputs, teacher[mine], sum_with_gradient, everyone, first)
        return {**scalars, "loss": scalars["loss"] * len(encoded) * dist.world_size() / sum(SIZES)}

    scalars = two_pass(module, views[mine].split(MICRO), loss, objective, module.no_sync)
    gradients = {name: p.grad for name, p in objective.named_parameters()}
    torch.save({"scalars": scalars, "gradients": gradients, "centre": objective.dino.centre}, folder / f"rank{dist.rank()}.pt")
    dist.leave()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
