"""Run under torchrun by test_distributed.py: train the in-memory set in folder argv[1] with --set words argv[2]."""

import sys

import torch

from tests.training.conftest import SMALL, make_exact, make_source
from wespk.training.experiment import Experiment
from wespk.training.objectives import build_objective
from wespk.training.trainer import Trainer
from wespk.utils import config, dist
from wespk.utils.errors import InputError
from wespk.utils.log import get_logger
from wespk.utils.seed import seed_everything

folder, sets, frozen = sys.argv[1], sys.argv[2], sys.argv[3] == "frozen"
dist.init("cpu")
conf = config.load(sets=f"{SMALL} {sets}")
source = make_source(conf)
experiment = Experiment(folder)
seed_everything(conf["seed"], "init")
objective = build_objective(conf, len(source.speakers))
if frozen:  # no batch statistics: then the result must not depend on how the batch is shared
    model = objective.model.eval()
    model.train = lambda mode=True: model
if sys.argv[3] == "exact":
    make_exact(objective, source)
if dist.is_main():
    experiment.begin(conf, {})
dist.barrier()


def fail(epoch, items):
    raise InputError("utt-broken cannot be read")


def validate(model):
    """All processes must look at one and the same model."""
    mine = torch.cat([torch.zeros(1).double(), *(b.flatten().double() for b in model.buffers())])
    main = mine.clone()
    torch.distributed.broadcast(main, 0) if dist.world_size() > 1 else None
    assert torch.equal(mine, main)
    return {"dev_eer": 0.5}


trainer = Trainer(conf, experiment, source, objective, torch.device("cpu"), get_logger(), validate)
if sys.argv[3] == "fail" and not dist.is_main():
    source.fetch = fail
try:
    trainer.run()
except InputError as error:
    dist.abandon(error)
    raise
dist.leave()
