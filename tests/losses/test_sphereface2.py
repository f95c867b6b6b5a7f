"""SphereFace2 against a slow loop, its published start and balance values, and its identities."""

import math

import pytest
import torch
import torch.nn.functional as F

from tests.losses.loss_oracles import aam_target, cosine_rows, inputs
from wespk.losses import build_loss
from wespk.losses.sphereface2 import adjust, balance_point, multiply_angle
from wespk.utils.errors import InputError

TYPES = [{"margin_type": "C"}, {"margin_type": "A"}, {"margin_type": "A", "two_sided": False},
         {"margin_type": "M", "margin": 1.4}]


def build(num_classes=5, dim=4, seed=0, **options):
    torch.manual_seed(seed)
    return build_loss({"name": "sphereface2", **options}, dim, num_classes).double()


def g(u, t):
    return 2 * ((u + 1) / 2) ** t - 1


def slow_logits(c, head):
    """Target and non-target logit at one cosine, written out type by type."""
    r, m, t, b = head.scale, head.margin, head.t, head.bias.item()
    theta = math.acos(c)
    if head.margin_type == "C":
        return r * (g(c, t) - m) + b, r * (g(c, t) + m) + b
    if head.margin_type == "A":
        other = math.cos(theta - m) if head.two_sided else c
        return r * g(aam_target(c, m), t) + b, r * g(other, t) + b
    return r * g(math.cos(min(m * theta, math.pi)), t) + b, r * g(c, t) + b


def slow_loss(head, embeddings, labels):
    total = 0.0
    for row, label in zip(cosine_rows(embeddings, head.weight), labels.tolist()):
        for j, c in enumerate(row):
            target, other = slow_logits(c, head)
            total += head.lam * math.log1p(math.exp(-target)) if j == label else 0.0
            total += (1 - head.lam) * math.log1p(math.exp(other)) if j != label else 0.0
    return total / len(labels)


@pytest.mark.parametrize("t", [1, 3, 5])
@pytest.mark.parametrize("options", TYPES, ids=str)
def test_equals_a_slow_loop(options, t):
    embeddings, labels = inputs(batch=12)
    head = build(scale=9.0, lam=0.6, t=t, **options)
    head.bias.data.fill_(0.4)
    assert head(embeddings, labels).item() == pytest.approx(slow_loss(head, embeddings, labels), rel=1e-12)


@pytest.mark.parametrize("margin", [0.0, 0.15, 0.3, 0.5])
@pytest.mark.parametrize("margin_type", ["C", "A"])
def test_gradients_are_those_of_the_logits_written_out(margin_type, margin):
    """dL/dc by the chain rule: -lam r g'(.) s(-P) at targets, (1 - lam) r g'(.) s(N) elsewhere (type C)."""
    embeddings, labels = inputs(batch=8)
    head = build(margin_type=margin_type, margin=margin)
    cosine = F.linear(F.normalize(embeddings), F.normalize(head.weight)).detach().requires_grad_()
    theta = cosine.acos()
    if margin_type == "C":
        target, other = 32 * (adjust(cosine, 3) - margin), 32 * (adjust(cosine, 3) + margin)
    else:
        target, other = 32 * adjust((theta + margin).cos(), 3), 32 * adjust((theta - margin).cos(), 3)
    own = F.one_hot(labels, 5).bool()
    assert (theta + margin < math.pi)[own].all()
    expected = (torch.where(own, 0.7 * F.softplus(-target), 0.3 * F.softplus(other))).sum() / 8
    expected.backward()
    x = embeddings.clone().requires_grad_()
    loss = head(x, labels)
    loss.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-12)
    through_cosine = torch.autograd.grad(F.linear(F.normalize(x), F.normalize(head.weight)), x, cosine.grad)[0]
    torch.testing.assert_close(x.grad, through_cosine.detach(), rtol=1e-9, atol=1e-12)
    if margin_type == "C":
        slope = 1.5 * (cosine.detach() + 1) ** 2 / 2
        by_hand = torch.where(own, -0.7 * 32 * slope * torch.sigmoid(-target), 0.3 * 32 * slope * torch.sigmoid(other))
        # torch takes softplus(u) as u above 20, where the slope is 1 - 2e-9
        torch.testing.assert_close(cosine.grad, by_hand.detach() / 8, rtol=1e-8, atol=1e-12)
        bias = torch.where(own, -0.7 * torch.sigmoid(-target), 0.3 * torch.sigmoid(other)).sum() / 8
        assert head.bias.grad.item() == pytest.approx(bias.item(), rel=1e-8)


# At cosines of 0 the target's term is 0.7 * (32 * (0.75 + margin)) for type C and the 5993 others' about 7e-8 (C, m 0).
@pytest.mark.parametrize("margin_type, margin, start", [("C", 0.0, 16.8), ("C", 0.2, 21.28), ("A", 0.0, 16.8),
                                                        ("A", 0.15, 18.954)])
@pytest.mark.parametrize("block_size", [0, 1000])
def test_the_loss_starts_at_the_published_value(margin_type, margin, start, block_size):
    head = build(5994, 8, margin_type=margin_type, margin=margin, two_sided=True, block_size=block_size)
    with torch.no_grad():
        head.weight[:, -1] = 0
    embeddings = torch.zeros(3, 8, dtype=torch.float64)
    embeddings[:, -1] = torch.tensor([1.0, -2.0, 3.0])
    others = 0.3 * 5993 * math.log1p(math.exp(slow_logits(0.0, head)[1]))
    assert head(embeddings, torch.tensor([0, 5993, 7])).item() - others == pytest.approx(start, abs=5e-4)
    assert others < 1e-4


# (type, lam, scale, margin, t, classes) -> b0: the released face-recognition formula, evaluated apart from this code
@pytest.mark.parametrize("margin_type, scale, margin, num_classes, expected", [
    ("C", 40, 0.4, 8631, 5.78457), ("C", 32, 0.2, 5994, 9.74934), ("C", 32, 0.2, 17982, 8.65036),
    ("C", 32, 0.0, 5994, 16.14895), ("A", 32, 0.15, 5994, 16.14932),
])
def test_balanced_bias_has_the_published_values(margin_type, scale, margin, num_classes, expected):
    one_sided = {"two_sided": False} if margin_type == "A" else {}
    head = build(num_classes, 4, margin_type=margin_type, scale=scale, margin=margin, bias_init="balanced", **one_sided)
    assert head.bias.item() == pytest.approx(expected, abs=1e-5)


def test_a_balanced_head_can_be_built_without_memory():
    """As training does first of all, to check its options."""
    with torch.device("meta"):
        assert build_loss({"name": "sphereface2", "bias_init": "balanced"}, 4, 9).bias.is_meta


@pytest.mark.parametrize("options", TYPES, ids=str)
@pytest.mark.parametrize("lam, num_classes", [(0.7, 5994), (0.3, 100), (0.9, 2), (0.5, 2)])
def test_at_the_balanced_bias_targets_pull_as_hard_as_all_others(options, lam, num_classes):
    head = build(num_classes, 8, lam=lam, bias_init="balanced", **options)
    with torch.no_grad():
        head.weight[:, -1] = 0
    embeddings = torch.zeros(2, 8, dtype=torch.float64)
    embeddings[:, -1] = 1
    head(embeddings, torch.tensor([0, 1])).backward()
    assert abs(head.bias.grad.item()) < 1e-5 * lam  # the parameter is a float32 number before .double()


def test_balance_point_without_cancellation():
    for lam, num_classes, target, other in ((0.999, 2, -40.0, 30.0), (0.7, 10**6, -30.0, -24.0), (0.5, 2, 0.0, 0.0)):
        b = balance_point(target, other, lam, num_classes)
        pull = lam / (1 + math.exp(target + b))
        push = (1 - lam) * (num_classes - 1) / (1 + math.exp(-other - b))
        assert pull == pytest.approx(push, rel=1e-9)


def test_without_margin_and_adjustment_it_is_binary_cross_entropy():
    embeddings, labels = inputs()
    head = build(margin=0.0, t=1, lam=0.5)
    cosine = F.linear(F.normalize(embeddings), F.normalize(head.weight))
    own = F.one_hot(labels, 5).double()
    expected = 0.5 * F.binary_cross_entropy_with_logits(32 * cosine, own, reduction="sum") / len(labels)
    torch.testing.assert_close(head(embeddings, labels), expected)


@pytest.mark.parametrize("t", [1, 2, 3, 2.5])
def test_the_types_agree_without_margin(t):
    embeddings, labels = inputs()
    results = [build(margin_type=kind, margin=1.0 if kind == "M" else 0.0, t=t)(embeddings, labels) for kind in "CAM"]
    torch.testing.assert_close(results[1], results[0], rtol=1e-12, atol=0)
    torch.testing.assert_close(results[2], results[0], rtol=1e-12, atol=0)


def test_scaling_embeddings_or_weights_changes_nothing_and_gradients_are_orthogonal():
    embeddings, labels = inputs()
    head = build()
    x = embeddings.clone().requires_grad_()
    loss = head(x, labels)
    loss.backward()
    assert (x.grad * embeddings).sum(1).abs().max() < 1e-12
    assert (head.weight.grad * head.weight).sum(1).abs().max() < 1e-12
    with torch.no_grad():
        head.weight *= torch.tensor([0.1, 2.0, 1.0, 30.0, 5.0])[:, None]
    torch.testing.assert_close(head(7 * embeddings, labels), loss)


def test_similarity_adjustment_maps_the_interval_onto_itself_and_never_rises_below_it():
    u = torch.linspace(-1, 1, 101, dtype=torch.float64)
    below = torch.linspace(-1.9, -1, 50, dtype=torch.float64)
    for t in (1, 1.5, 2, 3, 4):
        assert adjust(u, t)[0] == -1 and adjust(u, t)[-1] == 1 and (adjust(u, t).diff() > 0).all()
        assert adjust(below, t).isfinite().all() and (adjust(below, t).diff() >= 0).all()
    torch.testing.assert_close(adjust(u, 1), u)
    assert (adjust(below, 3).diff() > 0).all()


def test_multiplied_angle_stops_at_pi():
    theta = torch.linspace(0.01, 3.1, 200, dtype=torch.float64)
    torch.testing.assert_close(multiply_angle(theta.cos(), 1.5), (1.5 * theta).clamp(max=math.pi).cos())


@pytest.mark.parametrize("options", TYPES, ids=str)
def test_detached_g_keeps_the_value_and_passes_the_gradient_straight(options):
    embeddings, labels = inputs()
    plain, detached = build(**options), build(detach_g=True, **options)
    torch.testing.assert_close(detached(embeddings, labels), plain(embeddings, labels))
    x = embeddings.clone().requires_grad_()
    detached(x, labels).backward()
    cosine = F.linear(F.normalize(x), F.normalize(detached.weight))
    logits = [[slow_logits(c, detached) for c in row] for row in cosine.tolist()]
    slope = torch.tensor([[-0.7 / (1 + math.exp(p)) if j == y else 0.3 / (1 + math.exp(-n))
                           for j, (p, n) in enumerate(row)] for row, y in zip(logits, labels.tolist())]).double()
    expected = torch.autograd.grad(cosine, x, 32 * slope / len(labels))[0]
    torch.testing.assert_close(x.grad, expected, rtol=1e-6, atol=1e-7)  # the slopes above are rounded to float32


@pytest.mark.parametrize("block_size", [1, 2, 3, 7, 100])
@pytest.mark.parametrize("options", [*TYPES, {"detach_g": True}, {"t": 2}], ids=str)
def test_blocks_equal_the_whole(options, block_size):
    embeddings, labels = inputs(batch=9, num_classes=7)
    results = []
    for size in (0, block_size):
        head = build(7, block_size=size, scale=5.0, bias_init="balanced", **options)
        x = embeddings.clone().requires_grad_()
        loss = head(x, labels)
        (2 * loss).backward()
        results.append([loss.detach(), x.grad, head.weight.grad, head.bias.grad, head.stats["accuracy"]])
    for dense, blocked in zip(*results):
        torch.testing.assert_close(blocked, dense, rtol=1e-12, atol=1e-12)


def test_two_halves_of_the_classes_sum_to_the_whole():
    embeddings, labels = inputs()
    head = build()
    first, _ = head.block(embeddings, head.weight[:2], labels, head.bias)
    second, _ = head.block(embeddings, head.weight[2:], labels - 2, head.bias)
    together = head.losses(head.merge(torch.stack([first, second]))).mean()
    torch.testing.assert_close(together, head(embeddings, labels))


def test_large_logits_do_not_overflow_in_float32():
    head = build(scale=500.0).float()
    x = (9 * head.weight.detach()).requires_grad_()
    loss = head(x, torch.tensor([1, 2, 3, 4, 0]))
    loss.backward()
    assert loss.isfinite() and loss > 200 and x.grad.isfinite().all() and head.weight.grad.isfinite().all()


def test_default_margins_are_the_released_ones():
    assert build().margin == 0.2 and build(margin_type="A").margin == 0.15
    head = build()
    assert (head.scale, head.lam, head.t, head.two_sided, head.detach_g) == (32.0, 0.7, 3, True, False)
    assert head.bias.item() == 0 and head.bias.shape == (1, 1) and head.weight.shape == (5, 4)


@pytest.mark.parametrize("options, message", [
    ({"margin_type": "B"}, "margin_type: 'B' is unknown; known: C, A, M"),
    ({"bias_init": "balance"}, "bias_init: 'balance' is unknown .did you mean 'balanced'"),
    ({"lam": 0.0}, "option lam must be a number > 0 and < 1, not 0.0"),
    ({"lam": 1}, "option lam must be a number > 0 and < 1"),
    ({"t": 0.5}, "option t must be a number >= 1"),
    ({"t": "3"}, "option t must be a number"),
    ({"scale": 0}, "option scale must be a number > 0"),
    ({"margin_type": "M"}, "option margin: type M needs one"),
    ({"margin_type": "M", "margin": 0.2}, "option margin must be a number >= 1"),
    ({"margin_type": "A", "margin": 4.0}, "option margin must be a number >= 0 and <= 3.14159"),
    ({"two_sided": False}, "option two_sided: false is for margin_type A"),
    ({"block_size": -1}, "option block_size must be an integer >= 0"),
    ({"detach_g": "no"}, "option detach_g must be true or false"),
])
def test_unfit_options_are_refused_by_name(options, message):
    with pytest.raises(InputError, match=message):
        build(**options)
