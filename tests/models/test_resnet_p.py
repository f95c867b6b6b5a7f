"""ResNet-P: the ResNet with a learnt slope for each channel, which at slope 0 is the ResNet itself."""

import pytest
import torch
from torch import nn

from tests.models.test_every_model import feats, small
from wespk.models import build_model
from wespk.models.layers import load_relu_weights, relu_slopes
from wespk.utils.errors import InputError

DEPTHS = ("18", "34", "50", "101")


def slopes(model):
    return {name: module.weight for name, module in model.named_modules() if isinstance(module, nn.PReLU)}


@pytest.mark.parametrize("depth", DEPTHS)
def test_every_activation_is_a_prelu_with_a_slope_of_a_quarter_for_each_channel(depth):
    with torch.device("meta"):
        model, relu = build_model({"name": f"resnet{depth}_p"}), build_model({"name": f"resnet{depth}"})
    activations = [name for name, module in relu.named_modules() if isinstance(module, nn.ReLU)]
    assert sorted(slopes(model)) == sorted(activations)
    assert not any(isinstance(module, nn.ReLU) for module in model.modules())
    for name, weight in slopes(model).items():
        assert weight.shape == model.get_submodule(name.replace("act", "bn")).weight.shape
    fresh = build_model({"name": f"resnet{depth}_p", "base_channels": 2})
    assert all((weight == 0.25).all() for weight in slopes(fresh).values())


@pytest.mark.parametrize("depth", DEPTHS)
def test_with_the_weights_of_a_relu_network_it_makes_the_same_embeddings_to_the_bit(depth):
    relu, model = small(f"resnet{depth}"), small(f"resnet{depth}_p")
    x = feats(2, 40)
    with torch.no_grad():
        assert not torch.equal(model(x), relu(x))
        load_relu_weights(model, relu.state_dict())
        assert torch.equal(model(x), relu(x))
        assert torch.equal(model(x, torch.tensor([40, 31])), relu(x, torch.tensor([40, 31])))
    assert all((weight == 0).all() for weight in slopes(model).values())
    model.train()(x).square().sum().backward()  # and can leave 0
    assert all(weight.grad.abs().sum() > 0 for weight in slopes(model).values())


def test_a_slope_of_one_leaves_nothing_but_the_batch_norms_and_convolutions():
    model = small("resnet18_p")
    block = model.layer1[0]
    for weight in slopes(model).values():
        weight.data.fill_(1.0)
    x = torch.randn(2, 2, 20, 30)
    with torch.no_grad():
        linear = block.bn2(block.conv2(block.bn1(block.conv1(x)))) + x
        torch.testing.assert_close(block(x, None)[0], linear)


def test_weights_of_another_network_are_refused():
    model, relu = small("resnet18_p"), small("resnet18")
    for network, state in ((model, small("resnet34").state_dict()), (model, model.state_dict()), (relu, relu.state_dict()),
                           (model, small("resnet18", embed_dim=10).state_dict())):
        with pytest.raises(InputError, match="not those of the same network with ReLU"):
            load_relu_weights(network, state)
    assert relu_slopes(relu, relu.state_dict()) == {} == relu_slopes(model, model.state_dict())


def test_the_activation_of_a_network_named_p_is_not_an_option():
    with pytest.raises(InputError, match="model 'resnet34_p' has no option 'activation'"):
        build_model({"name": "resnet34_p", "activation": "relu"})
