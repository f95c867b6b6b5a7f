"""Run under torchrun by test_sharded_head.py, in folder argv[1]: what two processes make of a sharded head.

rank0.pt and rank1.pt get the losses and gradients of ``CASES`` and ``MINED``; the experiments of ``RUNS`` are trained in folders:
``whole`` from the start, ``cut`` again from whole's first epoch, ``other`` on from where one process stopped.
"""

import shutil
import sys
from pathlib import Path

import torch

from tests.training.conftest import SMALL, MemorySource
from wespk.losses import build_loss
from wespk.training.experiment import Experiment
from wespk.training.objectives import build_objective
from wespk.training.sharded_head import ShardedHead
from wespk.training.trainer import Trainer
from wespk.utils import config, dist
from wespk.utils.log import get_logger
from wespk.utils.seed import seed_everything

DIM, CLASSES, BATCHES = 6, 7, (5, 2)  # the processes have 3 and 4 classes, 5 and 2 embeddings
CASES = {
    "C": {"name": "sphereface2", "bias_init": "balanced"},
    "A": {"name": "sphereface2", "margin_type": "A", "scale": 5.0},
    "C in blocks": {"name": "sphereface2", "scale": 5.0, "block_size": 2},
    "aam": {"name": "aam_softmax", "scale": 5.0},
    "aam in blocks": {"name": "aam_softmax", "scale": 5.0, "block_size": 3},
    "am": {"name": "am_softmax"},
    "speaker in turns": {"name": "spherespeaker", "scale": 5.0, "reading": "alternate", "alternate_by": "part", "two_sided": True},
    "speaker, hard negatives": {"name": "spherespeaker", "scale": 5.0, "top_k": 5, "block_size": 2},
}
MINED = {"name": "spherespeaker", "scale": 5.0, "positive_power": 1.0, "gradient_ratio": 2.0, "top_k": 5}
SOURCE = {"speakers": 5, "utterances": 6}
RUNS = {  # 15 utterances a step, in micro-batches of 3 and 4; a gradient norm that is cut; both optimisers
    "sgd": ("loss.name=sphereface2 train.num_epochs=2 train.batch_size=15 train.accumulate=2 train.grad_clip=0.05 "
            "runtime.shard_head=true"),
    "adamw": ("loss.name=aam_softmax loss.block_size=2 optimizer.name=adamw optimizer.lr=0.001 train.num_epochs=2 "
              "train.batch_size=9 runtime.shard_head=true"),
}


def head_and_batch(conf, dtype):
    """The whole head that ``conf`` describes, and a whole batch."""
    torch.manual_seed(1)
    head = build_loss(conf, DIM, CLASSES).to(dtype)
    if hasattr(head, "set_step"):
        head.set_step(1)
    embeddings = torch.randn(sum(BATCHES), DIM, dtype=torch.float64).to(dtype)
    return head, embeddings, torch.randint(CLASSES, (sum(BATCHES),))


def train(folder, sets):
    """Train in ``folder``, without batch statistics: the result must not depend on how a batch is shared."""
    conf = config.load(sets=f"{SMALL} {sets}")
    source, experiment = MemorySource(**SOURCE), Experiment(folder)
    seed_everything(conf["seed"], "init")
    objective = build_objective(conf, len(source.speakers))
    model = objective.model.eval()
    model.train = lambda mode=True: model
    if dist.is_main():
        experiment.begin(conf, {})
    dist.barrier()
    trainer = Trainer(conf, experiment, source, objective, torch.device("cpu"), get_logger())
    trainer.run()
    return trainer


def one_loss(conf, dtype):
    """Loss and gradients of this process's share, scaled as the trainer and DDP do."""
    head, embeddings, labels = head_and_batch(conf, dtype)
    rank, first = dist.rank(), sum(BATCHES[: dist.rank()])
    mine = slice(first, first + BATCHES[rank])
    x = embeddings[mine].clone().requires_grad_()
    sharded = ShardedHead(head)
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.float32):
        loss = sharded(x, labels[mine])
    (loss * BATCHES[rank] * 2 / sum(BATCHES)).backward()
    bias = sharded.head.bias.grad / 2 if hasattr(head, "bias") else torch.zeros(1, 1)  # DDP adds up two such halves
    return {"loss": loss.detach(), "x": x.grad / 2, "weight": head.weight.grad, "bias": bias,
            "right": sharded.stats["accuracy"] * BATCHES[rank]}


def main(folder):
    dist.init("cpu")
    torch.save({(name, str(dtype)): one_loss(conf, dtype) for name, conf in {**CASES, "mined": MINED}.items()
                for dtype in (torch.float32, torch.float64)}, folder / f"rank{dist.rank()}.pt")
    for name, sets in RUNS.items():
        train(folder / name / "whole", sets)
        if dist.is_main():
            shutil.copytree(folder / name / "whole", folder / name / "cut")
            (folder / name / "cut" / "checkpoints" / "epoch_0002.pt").unlink()
        dist.barrier()
        train(folder / name / "cut", sets)
        train(folder / name / "other", sets)
    dist.leave()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
