"""Batch norm over all processes: what becomes of the modules, and where it is refused."""

import copy

import pytest
import torch
from torch import nn

from tests.training.test_sdpn import SDPN, objective_and_crops
from wespk.training.batch_norm import synchronise
from wespk.training.objectives import Objective
from wespk.training.optimizers import unused_options
from wespk.utils import dist
from wespk.utils.errors import InputError


def norms(module, kind):
    return [m for m in module.modules() if isinstance(m, kind)]


def test_all_batch_norms_of_student_teacher_and_heads_are_made_shared_ones_with_their_values():
    objective, crops = objective_and_crops()
    objective(crops)  # statistics that are not those of the start
    before, state = copy.deepcopy(objective).eval(), {k: v.clone() for k, v in objective.state_dict().items()}
    count = len(norms(objective, nn.BatchNorm1d))
    synchronise(objective, torch.device("cuda"))
    assert count > 4 and len(norms(objective, nn.SyncBatchNorm)) == count and not norms(objective, nn.BatchNorm1d)
    assert objective.state_dict().keys() == state.keys() and all(torch.equal(v, state[k]) for k, v in objective.state_dict().items())
    torch.testing.assert_close(objective.eval()(crops)["loss"], before(crops)["loss"])


def test_several_processes_without_gpus_are_refused_and_one_has_nothing_to_share(make_trainer, monkeypatch):
    alone = make_trainer("alone", SDPN + "train.sync_batchnorm=true")
    assert not norms(alone.objective, nn.SyncBatchNorm)
    assert "train.sync_batchnorm (one process)" in unused_options(alone.conf, alone.objective)
    monkeypatch.setattr(dist, "world_size", lambda: 2)
    assert not any("sync_batchnorm" in option for option in unused_options(alone.conf, alone.objective))
    assert "train.sync_batchnorm (there is no batch norm)" in unused_options(alone.conf, Objective())
    with pytest.raises(InputError, match="takes GPUs, and this run has several processes on cpu"):
        make_trainer("two", SDPN + "train.sync_batchnorm=true")
