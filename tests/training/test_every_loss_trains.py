"""Every registered loss drives the trainer: the loss falls, and an interruption changes nothing."""

import json

import numpy as np
import pytest

from tests.training.conftest import MemorySource, resumed_like_whole
from wespk.losses import load_all
from wespk.utils.errors import InputError

VIEWS = [name for name in load_all().names() if load_all().find(name).views]
OPTIONS = {"subcenter": " loss.top_k=2"}
GROUPS = ["triplet", "prototypical", "angular_prototypical", "ge2e"]


class Stopping(MemorySource):
    """Dies when the batch of a given step is fetched."""

    def __init__(self, at):
        super().__init__()
        self.at = at

    def fetch(self, epoch, items):
        if len(self.fetched) == self.at:
            raise KeyboardInterrupt
        return super().fetch(epoch, items)


TURNS = "spherespeaker loss.reading=alternate"


@pytest.mark.parametrize("name", [*(name for name in load_all().names() if name not in VIEWS), TURNS])
def test_the_loss_falls_and_a_resumed_run_equals_an_uninterrupted_one(make_trainer, name):
    final = 1 if "spherespeaker" in name else 0.1  # its margin is a share
    sets = f"loss.name={name}{OPTIONS.get(name, '')} train.num_epochs=3 margin.final={final}"
    whole = resumed_like_whole(make_trainer, sets, Stopping(at=5))
    losses = [json.loads(line)["loss"] for line in whole.experiment.metrics.read_text().splitlines()
              if "loss" in json.loads(line)]
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("name", VIEWS)
def test_losses_on_views_are_refused_by_name(make_trainer, name):
    with pytest.raises(InputError, match=f"loss.name={name} compares several views .*objective.name=contrastive"):
        make_trainer("views", f"loss.name={name}")


@pytest.mark.parametrize("name", GROUPS)
def test_losses_on_groups_get_batches_of_groups(make_trainer, name):
    trainer = make_trainer("groups", f"loss.name={name} loss.utterances=3 train.batch_size=12 train.accumulate=2")
    trainer.run()
    assert len(trainer.source.fetched) == 12  # 3 epochs of 2 steps, each in 2 micro-batches
    for _, items in trainer.source.fetched:
        assert np.unique(trainer.source.labels[items], return_counts=True)[1].tolist() == [3, 3]
