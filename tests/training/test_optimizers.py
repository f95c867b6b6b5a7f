"""Which parameters weight decay is for."""

import torch
from torch import nn

from wespk.losses import build_loss
from wespk.training.optimizers import build_optimizer

CONF = {"name": "sgd", "lr": 0.1, "momentum": 0.0, "nesterov": False, "weight_decay": 0.5}


def decayed(module, decay_all):
    """The names of the parameters that a step without any gradient makes smaller."""
    for parameter in module.parameters():
        nn.init.ones_(parameter)
        parameter.grad = torch.zeros_like(parameter)
    build_optimizer(module, {**CONF, "decay_all": decay_all}).step()
    return {name for name, value in module.named_parameters() if (value < 1).all()}


def test_biases_norms_and_single_numbers_are_spared_if_asked():
    loss = build_loss({"name": "sphereface2"}, embed_dim=3, num_classes=4)
    module = nn.ModuleDict({"linear": nn.Linear(2, 2), "norm": nn.BatchNorm1d(2), "slope": nn.PReLU(), "loss": loss})
    assert decayed(module, decay_all=False) == {"linear.weight", "loss.weight"}
    assert decayed(module, decay_all=True) == {name for name, _ in module.named_parameters()}
