"""Run under torchrun by test_contrastive.py, in folder argv[1]: gradients of one step of the contrastive objective."""

import sys
from pathlib import Path

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from wespk.training.objectives import build_objective
from wespk.utils import config, dist

PARTS = (5, 3)  # utterances of the two processes
CAA = "contrast.name=caa_margin_con "
CASES = {
    "sum": CAA,
    "min_norm": CAA + "balance.method=min_norm contrast.class_vectors=head loss.scale=4 contrast.temperature=0.5",
    "pcgrad": CAA + "balance.method=pcgrad objective.classify=clean contrast.attention_in=negatives",
    "supcon alone": "loss.name=none contrast.name=supcon",
}


class Means(nn.Module):
    """A network without batch statistics whose embeddings point everywhere."""

    embed_dim = 6

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(8, 6)

    def forward(self, feats):
        return self.linear(feats.mean(1) * 5)


def objective_and_batch(sets):
    torch.manual_seed(1)
    conf = config.load(sets=f"model.name=xvector model.feat_dim=8 model.embed_dim=6 objective.name=contrastive {sets}")
    objective = build_objective(conf, 4)
    objective.model = Means()
    objective.set_margin(0.1)
    return objective, torch.randn(8, 2, 20, 8), torch.tensor([0, 1, 1, 2, 3, 0, 2, 1])


def step(module, objective, feats, labels):
    """Gradients and figures of a step on this process's share, scaled as the trainer does it."""
    scalars = module(feats, labels)
    (scalars["loss"] * len(labels) * dist.world_size() / sum(PARTS)).backward()
    gradients = {name: p.grad for name, p in objective.named_parameters()}
    return {"gradients": gradients, "stats": {name: value.detach() for name, value in scalars.items()}}


def main(folder):
    dist.init("cpu")
    rows, done = slice(0, PARTS[0]) if dist.is_main() else slice(PARTS[0], None), {}
    for name, sets in CASES.items():
        objective, feats, labels = objective_and_batch(sets)
        done[name] = step(DistributedDataParallel(objective), objective, feats[rows], labels[rows])
    torch.save(done, folder / f"rank{dist.rank()}.pt")
    dist.leave()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
