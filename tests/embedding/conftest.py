"""Fixtures of this folder: an experiment folder with a tiny trained-looking network."""

import pytest
import torch

from tests.embedding.tiny_networks import tiny_checkpoint, tiny_config


@pytest.fixture
def experiment(tmp_path):
    """An experiment folder with one epoch's checkpoint, front end with defaults."""
    folder = tmp_path / "exp" / "tiny"
    (folder / "checkpoints").mkdir(parents=True)
    torch.save(tiny_checkpoint(tiny_config()), folder / "checkpoints" / "epoch_0001.pt")
    return folder
