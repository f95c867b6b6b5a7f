"""A loss out of a checkpoint."""

import pytest
import torch

from tests.embedding.tiny_networks import tiny_config
from wespk.losses import build_loss
from wespk.training.trained_loss import load_loss


@pytest.mark.parametrize("margin_type, initial, final", [("C", 0.0, 0.3), ("M", 1.0, 1.4)])
def test_the_loss_has_its_weights_and_its_final_margin(tmp_path, margin_type, initial, final):
    conf = tiny_config()
    conf["loss"] = {"name": "sphereface2", "margin_type": margin_type, "t": 5}
    conf["margin"].update(initial=initial, final=final)
    saved = build_loss({**conf["loss"], "margin": initial}, 16, 3).state_dict()
    torch.save({"format": 1, "config": conf, "speakers": ["a", "b", "c"], "step": 1, "model": {}, "loss": saved},
               tmp_path / "average.pt")  # fmt: skip
    loss, path, read = load_loss(tmp_path / "average.pt")
    assert (loss.margin, loss.t, loss.num_classes) == (final, 5, 3)
    assert (path, read) == (tmp_path / "average.pt", conf)
    assert all(torch.equal(value, saved[name]) for name, value in loss.state_dict().items())
