"""A training set held in memory, small enough to train a network on in a second."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from tests.conftest import ROOT
from wespk.training.experiment import Experiment
from wespk.training.objectives import build_objective, find_objective
from wespk.training.trainer import Trainer
from wespk.utils import config
from wespk.utils.log import get_logger
from wespk.utils.seed import seed_everything, uniform

SMALL = ("model.name=xvector model.feat_dim=8 model.embed_dim=12 model.hidden=16 model.stats=32 train.num_epochs=3 train.batch_size=8 "
         "optimizer.lr=0.05 schedule.warmup_epochs=1 margin.start_epoch=1 margin.end_epoch=2 data.chunk_frames=30 "
         "runtime.log_every=2 runtime.num_workers=0 train.keep=3 train.average=2 runtime.save_every=2")


def in_two_processes(script, folder):
    """Run tests/training/SCRIPT on FOLDER under torchrun with two processes; fails with what it says if that does."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run([*command, str(ROOT / "tests/training" / script), str(folder)], cwd=ROOT, check=False,
                          capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]


def of_both_ranks(script, folder):
    """What either of two processes, run so, saved as rankN.pt."""
    in_two_processes(script, folder)
    return [torch.load(folder / f"rank{rank}.pt", weights_only=True) for rank in (0, 1)]


class MemorySource:
    """Random utterances with a speaker-dependent mean; crops are functions of (seed, epoch, item) as in real sources."""

    def __init__(self, speakers=4, utterances=6, frames=60, dim=8):
        rng = np.random.default_rng(0)
        self.speakers = [f"s{i}" for i in range(speakers)]
        self.labels = np.repeat(np.arange(speakers), utterances)
        centres = rng.normal(size=(speakers, 1, dim)) * np.sin(np.arange(frames))[:, None]
        self.feats = (centres[self.labels] + 0.3 * rng.normal(size=(len(self.labels), frames, dim))).astype(np.float32)
        self.fetched, self.poison = [], None

    def identity(self):
        return [f"{i} {s}" for i, s in enumerate(self.labels)]

    def describe(self, items):
        return " ".join(f"utt{int(i)}" for i in items)

    def summary(self):
        return "in memory"

    def fetch(self, epoch, items):
        self.fetched.append((epoch, list(items)))
        starts = (uniform(items, 1, epoch, "crop") * 30).astype(int)
        chunks = np.stack([self.feats[i, s:s + 30] for i, s in zip(items, starts)])
        if self.poison in items:
            chunks = chunks * np.nan
        return {"feats": torch.from_numpy(chunks)}, self.labels[items]

    def finish(self, batch, device):
        return batch.inputs["feats"].to(device)


class MemoryViews(MemorySource):
    """Two views of each crop: as it is, and with noise that is a function of (epoch, item)."""

    def finish(self, batch, device):
        feats = super().finish(batch, device)
        noise = [np.random.default_rng([batch.epoch, int(i)]).normal(size=feats.shape[1:]) for i in batch.items]
        return torch.stack([feats, feats + torch.from_numpy(np.stack(noise)).float()], 1)


class MemoryCrops(MemorySource):
    """A long crop for a teacher, and three short ones with noise; nobody's labels. All functions of (epoch, item)."""

    dtype = torch.float32

    def __init__(self, **options):
        super().__init__(**options)
        self.speakers, self.labels = [], np.zeros_like(self.labels)

    def finish(self, batch, device):
        feats, short = super().finish(batch, device), []
        for crop in range(3):
            noise = [np.random.default_rng([batch.epoch, int(i), crop]).normal(size=(20, feats.shape[2])) for i in batch.items]
            short.append(feats[:, 5 * crop : 5 * crop + 20] + 0.3 * torch.from_numpy(np.stack(noise)).float())
        return {"teacher": feats[:, None].to(self.dtype), "student": torch.stack(short, 1).to(self.dtype)}


def make_exact(objective, source):
    """Neither batch norm nor rounding to speak of: then the result must not depend on how a batch is cut."""
    drop_norms(objective.double())
    source.dtype = torch.float64


def drop_norms(module):
    """Take out all batch norms."""
    for name, child in module.named_children():
        if isinstance(child, torch.nn.BatchNorm1d):
            setattr(module, name, torch.nn.Identity())
        else:
            drop_norms(child)


def make_source(conf, **options):
    """The set in memory, with views or crops if the objective takes them."""
    sections = find_objective(conf).sections
    return (MemoryCrops if "crops" in sections else MemoryViews if "views" in sections else MemorySource)(**options)


@pytest.fixture
def make_trainer(tmp_path):
    """Factory: (folder name, further --set words, source, validate) -> Trainer on the CPU, begun in tmp_path/name."""

    def make(name="exp", sets="", source=None, validate=None):
        conf = config.load(sets=f"{SMALL} {sets}")
        source = source or make_source(conf)
        experiment = Experiment(tmp_path / name)
        seed_everything(conf["seed"], "init")
        objective = build_objective(conf, len(source.speakers))
        experiment.begin(conf, {})
        return Trainer(conf, experiment, source, objective, torch.device("cpu"), get_logger(), validate)

    return make


def resumed_like_whole(make_trainer, sets, dying):
    """Train with ``sets``, once in one piece and once again with the source ``dying`` first; both end alike. Returns the former."""
    whole = make_trainer("whole", sets)
    whole.run()
    with pytest.raises(KeyboardInterrupt):
        make_trainer("resumed", sets, dying).run()
    resumed = make_trainer("resumed", sets)
    resumed.run()
    for a, b in zip(whole.objective.state_dict().values(), resumed.objective.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    return whole
