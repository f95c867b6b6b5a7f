"""Two passes over micro-batches give the gradient of the loss on the whole batch."""

import copy

import pytest
import torch
from torch import nn

from wespk.losses.koleo import koleo
from wespk.losses.sdpn import SDPNLoss
from wespk.training.micro_batches import two_pass

SIZES = (4, 4, 3)


class GhostBatchNorm(nn.BatchNorm1d):
    """Batch norm of one large batch (sum of ``SIZES``) that treats its parts as if they came one by one."""

    def forward(self, x):
        parts = x.split(SIZES) if len(x) == sum(SIZES) else [x]
        return torch.cat([super(GhostBatchNorm, self).forward(part) for part in parts])


def make(norm=False, dropout=0.0):
    torch.manual_seed(0)
    layers = [nn.Linear(5, 8), *([GhostBatchNorm(8)] if norm else []), nn.GELU(), nn.Dropout(dropout), nn.Linear(8, 6)]
    return nn.Sequential(*layers).double()


def data():
    return torch.randn(sum(SIZES), 5, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


def mixed(z):
    """A loss in which every embedding meets every other."""
    return koleo(z) + (z.T @ z).square().mean() + z.std(0).sum()


def gradients(network):
    return [p.grad for p in network.parameters()]


@pytest.mark.parametrize("norm", [False, True])
def test_gradients_are_those_of_one_large_batch(norm):
    large, small, x = make(norm), make(norm), data()
    value = mixed(large(x))
    value.backward()
    found = two_pass(small, x.split(SIZES), mixed, small)
    torch.testing.assert_close(found, value.detach(), rtol=1e-12, atol=0)
    torch.testing.assert_close(gradients(small), gradients(large), rtol=1e-10, atol=1e-13)
    apart = [torch.autograd.grad(sum(mixed(part) for part in large(x).split(SIZES)), p)[0] for p in large.parameters()]
    assert (apart[0] - gradients(large)[0]).abs().max() > 1e-2  # a mean over micro-batches would not have done


def test_statistics_of_batch_norm_move_once():
    large, small, x = make(norm=True), make(norm=True), data()
    large(x)
    two_pass(small, x.split(SIZES), mixed, small)
    for name, buffer in large.named_buffers():
        torch.testing.assert_close(small.get_buffer(name), buffer)
    assert small.get_buffer("1.num_batches_tracked") == len(SIZES)


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=[pytest.mark.gpu, pytest.mark.skipif(
    not torch.cuda.is_available(), reason="needs a CUDA device")])])
def test_dropout_is_the_same_in_both_passes_and_the_generator_goes_on_as_after_one(device):
    kept, twice, x = make(dropout=0.5).to(device), make(dropout=0.5).to(device), data().to(device)
    torch.manual_seed(7)
    value = mixed(torch.cat([kept(part) for part in x.split(SIZES)]))  # all graphs kept
    value.backward()
    next_draw = torch.rand(3, device=device)
    torch.manual_seed(7)
    found = two_pass(twice, x.split(SIZES), mixed, twice)
    assert torch.equal(torch.rand(3, device=device), next_draw)
    torch.testing.assert_close(found, value.detach())
    torch.testing.assert_close(gradients(twice), gradients(kept))


def test_random_numbers_of_the_loss_are_drawn_after_those_of_the_network():
    def noisy(z):
        return mixed(z * torch.rand(z.shape, dtype=z.dtype))

    kept, twice, x = make(dropout=0.5), make(dropout=0.5), data()
    torch.manual_seed(7)
    noisy(torch.cat([kept(part) for part in x.split(SIZES)])).backward()
    next_draw = torch.rand(3)
    torch.manual_seed(7)
    two_pass(twice, x.split(SIZES), noisy, twice)
    assert torch.equal(torch.rand(3), next_draw)
    torch.testing.assert_close(gradients(twice), gradients(kept))


def test_several_outputs_a_dict_and_a_loss_with_parameters():
    """As SDPN has them: encoder output for KoLeo, head output of two views for the prototypes."""
    torch.manual_seed(0)
    encoder, head, sdpn = make(), nn.Linear(6, 4).double(), SDPNLoss(4, 9).double()
    both = nn.ModuleList([encoder, head])
    teacher = torch.randn(sum(SIZES), 4, dtype=torch.float64)
    views = torch.stack([data(), data().flip(0)], 1)  # (B, V, 5)

    def encode(part):
        e = encoder(part.flatten(0, 1))
        return e.unflatten(0, (-1, 2)), head(e).unflatten(0, (-1, 2)), part.sum(2)

    def loss(e, z, _):
        cross_entropy, me_max = sdpn(z.transpose(0, 1), teacher)
        return {"loss": cross_entropy + me_max + 0.1 * koleo(e[:, 0]), "me_max": me_max}

    result = loss(*encode(views))
    result["loss"].backward()
    expected = copy.deepcopy(gradients(both) + gradients(sdpn))
    for module in (both, sdpn):
        module.zero_grad(set_to_none=True)
    found = two_pass(encode, views.split(SIZES), loss, both)
    assert not found["loss"].requires_grad
    torch.testing.assert_close(found, {n: v.detach() for n, v in result.items()})
    torch.testing.assert_close(gradients(both) + gradients(sdpn), expected, rtol=1e-10, atol=1e-13)


def test_gradients_are_added_to_those_there_are():
    network, x = make(), data()
    two_pass(network, x.split(SIZES), mixed, network)
    once = [g.clone() for g in gradients(network)]
    two_pass(network, x.split(SIZES), mixed, network)
    torch.testing.assert_close(gradients(network), [2 * g for g in once])


def test_an_output_that_the_loss_leaves_out_is_no_error():
    network, x = make(), data()
    two_pass(lambda part: (network(part), network[0](part)), x.split(SIZES), lambda z, _: mixed(z), network)
    large = make()
    mixed(large(x)).backward()
    torch.testing.assert_close(gradients(network), gradients(large))


def test_a_frozen_network_leaves_the_loss_to_learn():
    network, sdpn, x = make().requires_grad_(False), SDPNLoss(6, 9).double(), data()
    two_pass(network, x.split(SIZES), lambda z: sdpn(z[None], z)[0], network)
    assert sdpn.prototypes.grad.abs().max() > 0 and all(p.grad is None for p in network.parameters())


def test_autocast_around_it_cuts_no_gradient_off():
    network, x = make().float(), data().float()
    with torch.autocast("cpu", torch.bfloat16):
        two_pass(network, x.split(SIZES), lambda z: mixed(z.float()), network)
    assert all(g is not None and g.abs().max() > 0 for g in gradients(network))


def test_all_but_the_last_micro_batch_go_back_in_the_context_asked_for():
    network, x, entered = make(), data(), []

    class Context:
        def __enter__(self):
            entered.append(None)

        def __exit__(self, *_):
            return False

    two_pass(network, x.split(SIZES), mixed, network, Context)
    assert len(entered) == len(SIZES) - 1


def test_the_graph_is_that_of_one_micro_batch_at_a_time():
    alive = peak = 0
    network, x = make(), data()

    def pack(tensor):
        nonlocal alive, peak
        alive += 1
        peak = max(peak, alive)
        return tensor

    def unpack(tensor):
        nonlocal alive
        alive -= 1
        return tensor

    def saved(parts):
        nonlocal alive, peak
        alive = peak = 0
        with torch.autograd.graph.saved_tensors_hooks(pack, unpack):
            two_pass(network, parts, lambda z: z.sum(), network)
        return peak

    assert saved(x.split(2)) == saved([x]) > 0
