"""Which parameters weight decay is for."""

import pytest
import torch
from torch import nn

from wespk.losses import build_loss
from wespk.models import build_model
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


@pytest.mark.parametrize("decay_all", [False, True])
def test_the_slopes_of_a_network_are_spared_always(decay_all):
    model = build_model({"name": "resnet18_p", "base_channels": 2, "feat_dim": 20, "embed_dim": 3})
    slopes = {f"{name}.weight" for name, module in model.named_modules() if isinstance(module, nn.PReLU)}
    names = {name for name, _ in model.named_parameters()}
    assert len(slopes) == 17
    assert names - decayed(model, decay_all) == slopes | {n for n, p in model.named_parameters() if p.ndim == 1 and not decay_all}


def test_weight_decay_is_a_part_of_adams_gradient_and_apart_from_adamws():
    def moved(name):
        linear = nn.Linear(1, 1, bias=False)
        linear.weight.data.fill_(3.0)
        linear.weight.grad = torch.zeros(1, 1)
        build_optimizer(linear, {**CONF, "name": name, "decay_all": True}).step()
        return 3 - linear.weight.item()

    assert moved("adam") == pytest.approx(0.1, rel=1e-4)  # a full step, whatever the size of the decay
    assert moved("adamw") == pytest.approx(0.1 * 0.5 * 3, rel=1e-4)
