"""Run by tools/submit/training_job.py in its tests: train the in-memory set in folder argv[1], behaving as argv[2] says.

plain; hold: without a checkpoint to go on from, wait in step 4 for the signal to stop; hang: the last process never gets
through step 4, and notes its number in argv[1]/pid.
"""

import os
import signal
import sys
import time
from pathlib import Path

import torch

from tests.training.conftest import SMALL, make_source
from wespk.training import checkpoint
from wespk.training.experiment import Experiment
from wespk.training.objectives import build_objective
from wespk.training.trainer import Trainer
from wespk.utils import config, dist
from wespk.utils.log import get_logger
from wespk.utils.seed import seed_everything

folder, behaviour = Path(sys.argv[1]), sys.argv[2]
dist.init("cpu")
conf = config.load(sets=f"{SMALL} train.num_epochs=2 {' '.join(sys.argv[3:])}")
source = make_source(conf)
experiment = Experiment(folder)
fresh = dist.from_main(checkpoint.newest(experiment.checkpoints)) is None
seed_everything(conf["seed"], "init")
objective = build_objective(conf, len(source.speakers))
if dist.is_main():
    experiment.begin(conf, {})
dist.barrier()
trainer = Trainer(conf, experiment, source, objective, torch.device("cpu"), get_logger())
fetch = source.fetch


def slow_fetch(epoch, items):
    if behaviour == "hold" and fresh and trainer.step == 3:
        (folder / f"waiting.{dist.rank()}").touch()
        while not signal.getsignal(signal.SIGUSR1).__self__.received:
            time.sleep(0.05)
    if behaviour == "hang" and trainer.step == 3 and dist.rank() == dist.world_size() - 1:
        (folder / "pid").write_text(f"{os.getpid()}\n")
        time.sleep(600)
    return fetch(epoch, items)


source.fetch = slow_fetch
done = trainer.run()
dist.leave(0 if done else 85)
