"""Run under torchrun by test_distributed.py: train the in-memory set in folder argv[1] with --set words argv[2]."""

import sys

import torch

from tests.training.conftest import SMALL, MemorySource
from wespk.training.experiment import Experiment
from wespk.training.objectives import build_objective
from wespk.training.trainer import Trainer
from wespk.utils import config, dist
from wespk.utils.log import get_logger
from wespk.utils.seed import seed_everything

folder, sets, frozen = sys.argv[1], sys.argv[2], sys.argv[3] == "frozen"
dist.init("cpu")
conf = config.load(sets=f"{SMALL} {sets}")
source = MemorySource()
experiment = Experiment(folder)
seed_everything(conf["seed"], "init")
objective = build_objective(conf, len(source.speakers))
if frozen:  # no batch statistics: then the result must not depend on how the batch is shared
    model = objective.model.eval()
    model.train = lambda mode=True: model
if dist.is_main():
    experiment.begin(conf, {})
dist.barrier()
Trainer(conf, experiment, source, objective, torch.device("cpu"), get_logger()).run()
dist.shutdown()
