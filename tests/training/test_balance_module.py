"""Balanced losses as a module: what reaches network, heads and the log, what is refused, and two processes."""

import math

import pytest
import torch

from tests.training.balance_run import CASES, gradients, make_objective, project_in_words, run_whole
from tests.training.conftest import of_both_ranks
from wespk.losses import build_loss
from wespk.training import optimizers
from wespk.training.balance import Balance, build_balance, min_norm_two
from wespk.training.guards import FiniteGuard
from wespk.training.run import check_model
from wespk.utils import config
from wespk.utils.errors import InputError


class Toy(torch.nn.Module):
    """A network, two heads and a balance; the losses pull the embeddings to two different places."""

    def __init__(self, method, weights=(), dtype=torch.float64):
        super().__init__()
        torch.manual_seed(0)
        self.network = torch.nn.Sequential(torch.nn.Linear(5, 8), torch.nn.Tanh(), torch.nn.Linear(8, 4))
        self.heads = torch.nn.ModuleDict({name: torch.nn.Linear(4, 3) for name in "ab"})
        self.balance = Balance(method, "ab", weights)
        self.inputs, self.targets = torch.randn(2, 6, 5), {"a": torch.randn(6, 2, 3), "b": 3 * torch.randn(6, 2, 3)}
        self.to(dtype)
        self.inputs, self.targets = self.inputs.to(dtype), {k: v.to(dtype) for k, v in self.targets.items()}

    def of_embeddings(self, z):
        return {name: (head(z) - self.targets[name]).square().mean() for name, head in self.heads.items()}

    def losses(self):
        z = self.network(self.inputs.transpose(0, 1))
        return self.of_embeddings(z), z

    def parts(self):
        """Gradients of each loss by embeddings, network and its head."""
        losses, z = self.losses()
        return {name: tuple(torch.autograd.grad(loss, [z, self.network[0].weight, self.heads[name].weight], retain_graph=True))
                for name, loss in losses.items()}

    def go_back(self):
        """The balanced loss and its gradient by the embeddings; those of the parameters are left in them."""
        losses, z = self.losses()
        total = self.balance(losses, z)
        assert all(p.grad is None for p in self.parameters())  # weighing must leave nothing behind
        slope, = torch.autograd.grad(total, z, retain_graph=True)
        total.backward()
        return total.detach(), slope


def test_min_norm_goes_back_as_the_weighted_sum():
    toy = Toy("min_norm")
    (z_a, net_a, head_a), (z_b, net_b, head_b) = toy.parts().values()
    alpha = min_norm_two(z_a, z_b)
    assert 0.05 < alpha < 0.95
    total, slope = toy.go_back()
    losses = toy.losses()[0]
    torch.testing.assert_close(total, alpha * losses["a"] + (1 - alpha) * losses["b"])
    torch.testing.assert_close(slope, alpha * z_a + (1 - alpha) * z_b)
    torch.testing.assert_close(toy.network[0].weight.grad, alpha * net_a + (1 - alpha) * net_b)
    torch.testing.assert_close(toy.heads["a"].weight.grad, alpha * head_a)
    torch.testing.assert_close(toy.heads["b"].weight.grad, (1 - alpha) * head_b)


def test_both_losses_fall_along_the_min_norm_step_where_one_rises_along_the_sum():
    def change(method):
        toy = Toy(method)
        z = toy.losses()[1].detach().requires_grad_()  # what is stated is stated of steps of the embeddings
        with torch.no_grad():  # the larger gradient points against the smaller
            toy.heads["b"].weight.copy_(-3 * toy.heads["a"].weight)
            toy.targets["b"].copy_(3 * toy.targets["a"])
        before = toy.of_embeddings(z)
        toy.balance(before, z).backward()
        after = toy.of_embeddings(z.detach() - 1e-3 * z.grad)
        return [(after[n] - before[n]).item() for n in "ab"]

    assert max(change("min_norm")) < 0
    assert max(change("pcgrad")) < 0
    assert max(change("sum")) > 0


def test_both_losses_fall_over_steps_of_the_network():
    toy = Toy("min_norm")
    before = [loss.item() for loss in toy.losses()[0].values()]
    for _ in range(50):
        toy.zero_grad(set_to_none=True)
        toy.go_back()
        with torch.no_grad():
            for p in toy.parameters():
                p -= 0.05 * p.grad
    after = [loss.item() for loss in toy.losses()[0].values()]
    assert all(a < b for a, b in zip(after, before))


def test_pcgrad_gives_the_heads_their_own_gradients_and_the_network_the_combination():
    toy = Toy("pcgrad")
    with torch.no_grad():
        toy.heads["b"].weight.copy_(-toy.heads["a"].weight)
    (z_a, _, head_a), (z_b, _, head_b) = toy.parts().values()
    assert (z_a * z_b).sum() < 0
    total, slope = toy.go_back()
    torch.testing.assert_close(slope, project_in_words([z_a, z_b], [[1], [0]]))
    torch.testing.assert_close(total, sum(toy.losses()[0].values()))
    torch.testing.assert_close(toy.heads["a"].weight.grad, head_a)
    torch.testing.assert_close(toy.heads["b"].weight.grad, head_b)


@pytest.mark.parametrize("method, weights", [("sum", ()), ("fixed", (0.5, 2.0))])
def test_plain_sums(method, weights):
    toy = Toy(method, weights)
    w_a, w_b = weights or (1, 1)
    (z_a, _, _), (z_b, _, head_b) = toy.parts().values()
    total, slope = toy.go_back()
    losses = toy.losses()[0]
    torch.testing.assert_close(total, w_a * losses["a"] + w_b * losses["b"])
    torch.testing.assert_close(slope, w_a * z_a + w_b * z_b)
    torch.testing.assert_close(toy.heads["b"].weight.grad, w_b * head_b)


def test_uncertainty_weights_come_to_half_of_one_over_the_loss():
    """Of fixed losses the minimum of exp(-s) L + s / 2 is at exp(-s) = 1 / (2 L)."""
    balance = Balance("uncertainty", ("a", "b"))
    losses = {"a": torch.tensor(4.0), "b": torch.tensor(0.25)}
    assert balance(losses, None).item() == 4.25
    assert [balance.stats[f"weight_{n}"].item() for n in "ab"] == [1, 1]
    optimizer = torch.optim.SGD(balance.parameters(), 0.5)
    for _ in range(60):
        optimizer.zero_grad()
        balance(losses, None).backward()
        optimizer.step()
    balance(losses, None)
    assert balance.stats["weight_a"].item() == pytest.approx(1 / 8, rel=1e-3)
    assert balance.stats["weight_b"].item() == pytest.approx(2, rel=1e-3)


def test_uncertainty_weights_are_saved_and_never_decayed():
    toy, other = Toy("uncertainty"), Toy("uncertainty")
    for decay_all in (True, False):
        conf = {"name": "sgd", "lr": 0.1, "momentum": 0.0, "nesterov": False, "weight_decay": 0.5, "decay_all": decay_all}
        groups = optimizers.build_optimizer(toy, conf).param_groups
        holding = [g for g in groups if any(p is toy.balance.log_variances for p in g["params"])]
        assert [g["weight_decay"] for g in holding] == [0] and groups[0]["weight_decay"] == 0.5
        assert sum(len(g["params"]) for g in groups) == len(list(toy.parameters()))
    torch.nn.init.normal_(toy.balance.log_variances)
    other.balance.load_state_dict(toy.balance.state_dict())
    assert other.go_back()[0] == toy.go_back()[0]
    assert not Balance("min_norm", "ab").state_dict()


@pytest.mark.parametrize("method", ["min_norm", "pcgrad"])
def test_figures_for_the_log(method):
    toy = Toy(method, dtype=torch.float32)
    z_a, z_b = (part[0] for part in toy.parts().values())
    toy.go_back()
    stats = toy.balance.stats
    assert all(v.shape == () and not v.requires_grad and v.dtype == torch.float32 for v in stats.values())
    assert set(stats) == {f"{kind}_{n}" for kind in ("loss", "weight", "gradient_norm") for n in "ab"} | {"gradient_cosine"}
    assert stats["gradient_norm_a"].item() == pytest.approx(z_a.norm().item(), rel=1e-5)
    assert stats["gradient_cosine"].item() == pytest.approx(
        torch.cosine_similarity(z_a.flatten(), z_b.flatten(), 0).item(), rel=1e-4)
    assert stats["loss_b"] == toy.losses()[0]["b"]


def test_a_loss_without_slope_has_cosine_zero_and_all_the_weight():
    z = torch.randn(3, 4, requires_grad=True)
    balance = Balance("min_norm", "ab")
    balance({"a": (0 * z).sum(), "b": z.square().sum()}, z)
    assert balance.stats["weight_a"] == 1 and balance.stats["gradient_cosine"] == 0


def test_three_losses_have_a_cosine_a_pair_and_orders_that_follow_seed_and_step():
    def combination(seed, step):
        z = torch.linspace(-1, 1, 12, dtype=torch.float64).view(3, 4).requires_grad_()
        balance = Balance("pcgrad", "abc", seed=seed)
        if step is not None:
            balance.set_step(step)
        torch.manual_seed(len(seen))  # of which nothing must depend
        g = gradients(7, 3, (3, 4))
        balance({n: (g_k * z).sum() for n, g_k in zip("abc", g - 1.5 * g.mean(0))}, z).backward()
        assert {n for n in balance.stats if "cosine" in n} == {f"gradient_cosine_{p}" for p in ("a_b", "a_c", "b_c")}
        return z.grad

    seen = []
    for step in range(12):
        seen.append(combination(1, step))
        assert torch.equal(seen[-1], combination(1, step))
    assert len({tuple(g.flatten().tolist()) for g in seen}) > 1
    with pytest.raises(InputError, match="set_step"):
        combination(1, None)


@pytest.mark.parametrize("method, total", [("min_norm", 3), ("pcgrad", 6), ("sum", 6), ("uncertainty", 6)])
def test_without_gradients_nothing_is_weighed(method, total):
    toy = Toy(method)
    with torch.no_grad():
        _, z = toy.losses()
        assert toy.balance({"a": torch.tensor(2.0), "b": torch.tensor(4.0)}, z) == total


@pytest.mark.parametrize("method", ["min_norm", "pcgrad"])
@pytest.mark.parametrize("slope", [math.nan, math.inf])
def test_a_gradient_that_is_not_finite_stops_the_run_by_naming_the_utterances(method, slope):
    class Steep(torch.autograd.Function):  # a finite loss on a wall
        @staticmethod
        def forward(ctx, z):
            return z.sum() * 0

        @staticmethod
        def backward(ctx, gradient):
            return torch.full((3, 4), slope)

    z = torch.randn(3, 4, requires_grad=True)
    total = Balance(method, "ab")({"a": Steep.apply(z), "b": z.square().sum()}, z)
    guard = FiniteGuard()
    guard.watch(5, total, lambda: "utt1 utt2 utt3")
    with pytest.raises(InputError, match="step 5: the loss is nan; utterances: utt1 utt2 utt3"):
        guard.drain()


@pytest.mark.parametrize("method", ["min_norm", "pcgrad"])
def test_under_autocast_weights_are_those_of_float32_gradients(method):
    toy = Toy(method, dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        losses, z = toy.losses()
        assert z.dtype == torch.bfloat16
        z = z.float()
        losses = {n: (torch.tanh(z) @ toy.heads[n].weight.T - toy.targets[n]).float().square().mean() for n in "ab"}
        total = toy.balance(losses, z)
    assert total.dtype == torch.float32 and all(v.dtype == torch.float32 for v in toy.balance.stats.values())
    total.backward()
    assert all(p.grad.isfinite().all() for p in toy.network.parameters())


@pytest.mark.parametrize("method", ["min_norm", "pcgrad"])
@pytest.mark.parametrize("contrastive", ["supcon", "sup_margin_con", "caa_margin_con"])
def test_losses_that_write_their_own_gradients_can_be_gone_back_through_again(method, contrastive):
    torch.manual_seed(0)
    z, labels = torch.randn(4, 2, 6, dtype=torch.float64).requires_grad_(), torch.tensor([0, 1, 1, 4])
    aam = build_loss({"name": "aam_softmax", "scale": 5.0, "block_size": 2}, 6, 5).double()
    pairs = build_loss({"name": contrastive}, 6, 5).double()

    def losses():
        return {"aam": aam(z.flatten(0, 1), labels.repeat_interleave(2)), "pairs": pairs(z, labels)}

    separate = {name: torch.autograd.grad(loss, z)[0] for name, loss in losses().items()}
    head = torch.autograd.grad(losses()["aam"], aam.weight)[0]
    balance = Balance(method, separate)
    balance(losses(), z).backward()
    weights = [balance.stats[f"weight_{name}"] for name in separate]
    torch.testing.assert_close(z.grad, sum(w * g for w, g in zip(weights, separate.values())))
    torch.testing.assert_close(aam.weight.grad, head * (weights[0] if method == "min_norm" else 1))


# -- what is refused ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("arguments, part", [
    (("minnorm", "ab"), "did you mean 'min_norm'"),
    (("fixed", "ab"), "takes a weight >= 0 for each of a, b"),
    (("fixed", "ab", [1.0]), "takes a weight >= 0 for each of a, b"),
    (("fixed", "ab", [0.0, 0.0]), "not all 0"),
    (("fixed", "ab", [1.0, math.inf]), "takes a weight"),
    (("min_norm", "ab", [1.0, 1.0]), "is for balance.method=fixed"),
    (("min_norm", "a"), "two losses or more, not a"),
])
def test_contradicting_options_are_told(arguments, part):
    with pytest.raises(InputError) as error:
        Balance(*arguments)
    assert part in str(error.value)


def test_losses_that_do_not_hang_on_the_embeddings_are_told():
    z = torch.randn(3, 4, requires_grad=True)
    loss, balance = z.sum(), Balance("min_norm", "ab")
    with pytest.raises(InputError, match="the loss 'b' has none: it was computed from another tensor"):
        balance({"a": loss, "b": torch.ones(2, requires_grad=True).sum()}, z)
    with pytest.raises(InputError, match="the loss 'a' has none: .* or the network is frozen"):
        balance({"a": loss, "b": loss}, z.detach())
    with pytest.raises(InputError, match="for the losses a, b, in this order, not b, a"):
        balance({"b": loss, "a": loss}, z)


def test_an_objective_with_one_loss_refuses_a_balance():
    alone = "objective.name=contrastive views.crops=own contrast.name=none balance.method=fixed balance.weights=[1,2]"
    for sets, name in (("balance.method=min_norm", "supervised"), ("balance.weights=[1,2]", "supervised"), (alone, "contrastive")):
        sets = f"model.name=xvector {sets}"
        with pytest.raises(InputError, match=f"objective '{name}' has one loss, there is nothing to balance") as error:
            check_model(config.load(sets=sets))
        remedy = "set balance.method=sum and balance.weights=[], or give it two"
        assert remedy in str(error.value)
        check_model(config.load(sets=f"{sets} balance.method=sum balance.weights=[]"))


def test_the_section_becomes_a_balance():
    balance = build_balance(config.load(sets="balance.method=fixed balance.weights=[1,0.5] seed=3"), ["a", "b"])
    assert (balance.method, balance.names, balance.weights, balance.seed) == ("fixed", ("a", "b"), [1, 0.5], 3)


# -- two processes ------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """What each of two processes made of its part of the batches, by case."""
    folder = tmp_path_factory.mktemp("balance")
    return of_both_ranks("balance_run.py", folder)


@pytest.mark.parametrize("case", CASES)
def test_two_processes_equal_one(two, case):
    """Under DDP, on parts of different size, with two micro-batches, the contrast set being that of both processes."""
    whole = run_whole(make_objective(case))
    first, second = (part[case] for part in two)
    for a, b, both in zip(first["stats"], second["stats"], whole["stats"]):
        for name, value in both.items():
            if not name.startswith("loss_"):
                assert torch.equal(a[name], b[name])
                torch.testing.assert_close(a[name], value)
    for name, gradient in whole["gradients"].items():
        assert torch.equal(first["gradients"][name], second["gradients"][name])
        torch.testing.assert_close(first["gradients"][name], gradient, msg=lambda text, name=name: f"{name}: {text}")
