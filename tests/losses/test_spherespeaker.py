"""SphereSpeaker against a slow loop, its single types against SphereFace2's, and what each way of mining changes."""

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from tests.losses.loss_oracles import cosine_rows, inputs
from wespk.losses import build_loss
from wespk.losses.spherespeaker import MARGINS, lowered_cosine
from wespk.utils.errors import InputError

ONE = {"m1": 1.0, "m2": 0.0, "m3": 0.0}
BIG = {"m1": 1.4, "m2": 0.3, "m3": 0.2}
MINING = [{"positive_power": 1.5}, {"top_k": 2}, {"gradient_ratio": 0.5},
          {"positive_power": 1.0, "top_k": 3, "gradient_ratio": 2.0}]
READINGS = [{}, {"two_sided": True}, {"m3_on": "similarity"}, {"two_sided": True, "m3_on": "similarity"},
            {"reading": "alternate"}, {"reading": "alternate", "two_sided": True, "alternate_by": "part"}]


def build(num_classes=5, dim=4, seed=0, step=0, name="spherespeaker", **options):
    torch.manual_seed(seed)
    loss = build_loss({"name": name, **options}, dim, num_classes).double()
    if name == "spherespeaker":
        loss.set_step(step)
    return loss


def g(u, t):
    return 2 * ((u + 1) / 2) ** t - 1


def psi(theta, m1, m2):
    """cos(m1 theta + m2), and beyond pi what the two types have there."""
    angle = min(m1 * theta, math.pi)
    return math.cos(angle + m2) if angle + m2 <= math.pi else math.cos(angle) - 1 - math.cos(math.pi - m2)


def slow_logits(c, head, m1, m2, m3):
    """A target's and another class's logit at the same cosine."""
    theta, b, r, t = math.acos(c), head.bias.item(), head.scale, head.t
    raised = math.cos(theta - m2) if head.two_sided else c
    up = m3 if head.two_sided else 0.0
    if head.m3_on == "cosine":
        return r * g(psi(theta, m1, m2) - m3, t) + b, r * g(raised + up, t) + b
    return r * (g(psi(theta, m1, m2), t) - m3) + b, r * (g(raised, t) + up) + b


def slow_loss(head, embeddings, labels):
    """The loss, and the sums of the gradients of positives and negatives, written out embedding by embedding."""
    share = head.margin
    m1, m2, m3 = head.margins
    margins = (1 + share * (m1 - 1), share * m2, share * m3)
    types = [(margins[0], 0.0, 0.0), (1.0, margins[1], 0.0), (1.0, 0.0, margins[2])]
    targets, others = [], []
    for row, label in zip(cosine_rows(embeddings, head.weight), labels.tolist()):
        if head.reading == "alternate":
            margins = types[(head.step + (label if head.alternate_by == "part" else 0)) % 3]
        targets.append(slow_logits(row[label], head, *margins)[0])
        logits = sorted((slow_logits(c, head, *margins)[1] for j, c in enumerate(row) if j != label), reverse=True)
        others.append(logits[: head.top_k or None])
    wrong = [1 / (1 + math.exp(p)) for p in targets]
    mean = sum(w**head.positive_power for w in wrong) / len(wrong)
    weights = [w**head.positive_power / mean for w in wrong]
    a, factor = head.lam, 1.0
    pull = sum(w * s for w, s in zip(weights, wrong))
    push = sum(1 / (1 + math.exp(-n)) for row in others for n in row)
    if head.gradient_ratio:
        a = head.gradient_ratio * push / (pull + head.gradient_ratio * push)
        a = min(max(a, 0.01), 0.99)
        factor = (head.lam * pull + (1 - head.lam) * push) / (a * pull + (1 - a) * push)
    total = sum(a * w * math.log1p(math.exp(-p)) for w, p in zip(weights, targets))
    total += (1 - a) * sum(math.log1p(math.exp(n)) for row in others for n in row)
    count = len(labels)
    return factor * total / count, factor * a * pull / count, factor * (1 - a) * push / count


@pytest.mark.parametrize("options", [*READINGS, *MINING, {"reading": "alternate", **MINING[-1]}], ids=str)
@pytest.mark.parametrize("step, t", [(0, 3), (1, 1), (2, 5)])
def test_equals_a_slow_loop(options, step, t):
    embeddings, labels = inputs(batch=12)
    head = build(scale=6.0, lam=0.6, t=t, margin=0.9, step=step, **BIG, **options)
    head.bias.data.fill_(0.4)
    expected, pull, push = slow_loss(head, embeddings, labels)
    assert head(embeddings, labels).item() == pytest.approx(expected, rel=1e-12)
    assert head.stats["positive_gradient"].item() == pytest.approx(pull, rel=1e-12)
    assert head.stats["negative_gradient"].item() == pytest.approx(push, rel=1e-12)


# -- its single types are SphereFace2's ------------------------------------------------------------------------------
TYPES = [({"m1": 1.4}, {"margin_type": "M", "margin": 1.4}), ({"m1": 3.0}, {"margin_type": "M", "margin": 3.0}),
         ({"m2": 0.3}, {"margin_type": "A", "margin": 0.3, "two_sided": False}),
         ({"m2": 2.0}, {"margin_type": "A", "margin": 2.0, "two_sided": False}),
         ({"m2": 0.3, "two_sided": True}, {"margin_type": "A", "margin": 0.3}),
         ({"m3": 0.3, "two_sided": True, "m3_on": "similarity"}, {"margin_type": "C", "margin": 0.3}),
         ({}, {"margin_type": "C", "margin": 0.0})]


def results(head, embeddings, labels):
    x = embeddings.clone().requires_grad_()
    loss = head(x, labels)
    loss.backward()
    return [loss.detach(), x.grad, head.weight.grad, head.bias.grad, head.stats["accuracy"]]


@pytest.mark.parametrize("t", [1, 2, 3, 2.5])
@pytest.mark.parametrize("ours, theirs", TYPES, ids=str)
def test_one_margin_alone_is_the_type_of_sphereface2(ours, theirs, t):
    embeddings, labels = inputs(batch=40)
    given = results(build(t=t, scale=9.0, **{**ONE, **ours}), embeddings, labels)
    wanted = results(build(name="sphereface2", t=t, scale=9.0, **theirs), embeddings, labels)
    for a, b in zip(given, wanted):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-13)


def test_one_sided_m3_outside_of_g_is_type_c_of_half_the_margin_and_another_bias():
    embeddings, labels = inputs()
    head, other = build(**{**ONE, "m3": 0.4}, m3_on="similarity"), build(name="sphereface2", margin=0.2)
    other.bias.data.fill_(1.0)
    head.bias.data.fill_(1.0 + 32 * 0.2)
    torch.testing.assert_close(head(embeddings, labels), other(embeddings, labels))


def test_a_margin_of_zero_switches_all_three_off():
    embeddings, labels = inputs()
    for options in READINGS:
        head = build(margin=0.0, **options)
        torch.testing.assert_close(head(embeddings, labels), build(name="sphereface2", margin=0.0)(embeddings, labels))
        head.set_margin(1.0)
        assert head(embeddings, labels) > build(name="sphereface2", margin=0.0)(embeddings, labels) + 0.1


@pytest.mark.parametrize("step", range(6))
def test_by_step_the_types_m_a_c_take_turns(step):
    embeddings, labels = inputs(batch=20)
    head = build(reading="alternate", two_sided=True, m3_on="similarity", step=step)
    m1, m2, m3 = MARGINS["alternate"]
    kind, margin = [("M", m1), ("A", m2), ("C", m3)][step % 3]
    other = build(name="sphereface2", margin_type=kind, margin=margin)
    torch.testing.assert_close(head(embeddings, labels), other(embeddings, labels), rtol=1e-12, atol=0)


@pytest.mark.parametrize("step", range(3))
def test_by_part_every_speaker_has_a_type_of_its_own_that_changes_from_step_to_step(step):
    embeddings, labels = inputs(batch=20)
    head = build(reading="alternate", alternate_by="part", two_sided=True, m3_on="similarity", step=step)
    m1, m2, m3 = MARGINS["alternate"]
    total = 0.0
    for label in range(5):
        kind, margin = [("M", m1), ("A", m2), ("C", m3)][(label + step) % 3]
        rows = labels == label
        total += rows.sum() * build(name="sphereface2", margin_type=kind, margin=margin)(embeddings[rows], labels[rows])
    torch.testing.assert_close(head(embeddings, labels), total / 20, rtol=1e-12, atol=0)


# -- the margin beyond pi --------------------------------------------------------------------------------------------
@given(st.floats(1, 6), st.floats(0, math.pi))
def test_the_lowered_cosine_never_rises_nor_jumps(m1, m2):
    theta = torch.linspace(0, math.pi, 3001, dtype=torch.float64)
    values = lowered_cosine(theta.cos(), m1, m2)
    falls = values.diff()
    assert (falls <= 1e-7).all() and (falls > -1.1 * (m1 * math.pi / 3000) - 1e-7).all()
    strictly = m1 * theta[1:] < math.pi - 1e-3
    assert (falls[strictly][50:] < 0).all()
    inside = m1 * theta + m2 <= math.pi
    torch.testing.assert_close(values[inside], (m1 * theta + m2).cos()[inside], rtol=0, atol=1e-6)


def test_behind_pi_the_lowered_cosine_is_flat():
    theta = torch.tensor([2.3, 2.9, math.pi], dtype=torch.float64)
    values = lowered_cosine(theta.cos(), 1.4, 0.3)
    torch.testing.assert_close(values, torch.full_like(values, -2 + math.cos(0.3)))


@pytest.mark.parametrize("options", [*READINGS, *MINING], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_finite_at_angles_of_zero_and_pi(options, dtype):
    head = build(**{**BIG, "m1": 2.0}, **options).to(dtype)
    directions = torch.eye(5, 4, dtype=dtype)
    directions[4] = -directions[0]
    with torch.no_grad():
        head.weight.copy_(directions)
    x = torch.cat([directions, -directions]).requires_grad_()
    value = head(x, torch.arange(5).repeat(2))
    value.backward()
    assert value.isfinite() and x.grad.isfinite().all() and head.weight.grad.isfinite().all()


# -- mining ----------------------------------------------------------------------------------------------------------
def gradient_by_logits(head, embeddings, labels):
    """d loss / d logit of targets (B,) and others (B, K), by way of a bias for each class and embedding."""
    collected = []
    plain = head.logit

    def logit(similarity, cosine, bias):
        value = plain(similarity, cosine, bias)
        value.retain_grad()
        collected.append(value)
        return value

    head.logit = logit
    head(embeddings.clone().requires_grad_(), labels).backward()
    return collected[0].grad[:, 0], collected[1].grad


@pytest.mark.parametrize("options", [{}, *MINING, {"positive_power": 2.0}, {"gradient_ratio": 3.0}], ids=str)
def test_the_gradient_shares_are_those_of_the_logits(options):
    embeddings, labels = inputs(batch=10)
    head = build(scale=5.0, **options)
    target, others = gradient_by_logits(head, embeddings, labels)
    assert (target < 0).all() and (others >= 0).all()
    assert -target.sum().item() == pytest.approx(head.stats["positive_gradient"].item(), rel=1e-9)
    assert others.sum().item() == pytest.approx(head.stats["negative_gradient"].item(), rel=1e-9)


@pytest.mark.parametrize("ratio", [0.25, 1.0, 4.0])
def test_the_adaptive_lambda_keeps_the_ratio_and_the_sum_of_the_gradients_and_leaves_the_bias_alone(ratio):
    embeddings, labels = inputs(batch=10)
    head, fixed = build(scale=5.0, gradient_ratio=ratio), build(scale=5.0)
    for loss in (head, fixed):
        loss(embeddings, labels).backward()
    pull, push = head.stats["positive_gradient"], head.stats["negative_gradient"]
    assert (pull / push).item() == pytest.approx(ratio, rel=1e-12)
    assert (pull + push).item() == pytest.approx(sum(fixed.stats[f"{s}_gradient"] for s in ("positive", "negative")).item())
    torch.testing.assert_close(head.bias.grad, fixed.bias.grad, rtol=1e-12, atol=0)


def test_the_adaptive_lambda_stays_within_its_limits():
    embeddings, labels = inputs(batch=10)
    head = build(gradient_ratio=1.0)
    head.bias.data.fill_(-60.0)  # hardly any push
    head(embeddings, labels).backward()
    assert head.stats["positive_gradient"].item() == pytest.approx(0.7, rel=1e-6) and head.weight.grad.isfinite().all()
    head = build(gradient_ratio=1.0).float()
    head.bias.data.fill_(-900.0)  # none at all
    head(embeddings.float(), labels).backward()
    assert head.stats["negative_gradient"] == 0 and head.weight.grad.isfinite().all()


def test_hard_targets_weigh_more_and_all_of_them_as_much_as_before():
    embeddings, labels = inputs(batch=10)
    plain, _ = gradient_by_logits(build(scale=5.0), embeddings, labels)
    mined, _ = gradient_by_logits(build(scale=5.0, positive_power=1.0), embeddings, labels)
    weight = mined / plain
    assert weight.mean().item() == pytest.approx(1)
    order = plain.argsort()  # the hardest first
    assert (weight[order].diff() < 0).all()
    torch.testing.assert_close(weight, plain / plain.mean())


def test_only_the_hardest_negatives_get_a_gradient():
    embeddings, labels = inputs(batch=10)
    _, every = gradient_by_logits(build(scale=5.0), embeddings, labels)
    _, kept = gradient_by_logits(build(scale=5.0, top_k=2), embeddings, labels)
    assert ((kept > 0).sum(1) == 2).all()
    largest = every.topk(2).indices
    torch.testing.assert_close(kept.gather(1, largest), every.gather(1, largest))


def test_all_negatives_kept_is_no_mining():
    embeddings, labels = inputs()
    for a, b in zip(results(build(top_k=4), embeddings, labels), results(build(), embeddings, labels)):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("options", [*READINGS, *MINING], ids=str)
@pytest.mark.parametrize("block_size", [1, 3, 100])
def test_blocks_equal_the_whole(options, block_size):
    embeddings, labels = inputs(batch=9, num_classes=7)
    whole = results(build(7, scale=5.0, step=1, **BIG, **options), embeddings, labels)
    blocked = results(build(7, scale=5.0, step=1, block_size=block_size, **BIG, **options), embeddings, labels)
    for a, b in zip(blocked, whole):
        torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-13)


def test_a_step_between_forward_and_backward_does_not_change_the_gradient():
    embeddings, labels = inputs()
    gradients = []
    for later in (0, 1):
        head = build(reading="alternate", block_size=2)
        loss = head(embeddings, labels)
        head.set_step(later)
        loss.backward()
        gradients.append(head.weight.grad)
    assert torch.equal(*gradients)


# -- options ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("options", [{}, {"top_k": 50}], ids=str)
def test_at_the_balanced_bias_targets_pull_as_hard_as_all_others(options):
    head = build(5994, 8, bias_init="balanced", **options)
    pull, push = 0.7 / (1 + math.exp(-24 + head.bias.item())), 0.3 * 5993 / (1 + math.exp(24 - head.bias.item()))
    assert pull == pytest.approx(push, rel=1e-4)


@pytest.mark.parametrize("top_k", [0, 10, 100])
def test_at_random_weights_and_the_balanced_bias_neither_side_is_four_times_the_other(top_k):
    head = build(1167, 128, scale=16.0, margin=0.0, bias_init="balanced", top_k=top_k)
    head(torch.randn(64, 128, dtype=torch.float64), torch.arange(64))
    assert 0.25 < head.stats["positive_gradient"] / head.stats["negative_gradient"] < 4


def test_without_mining_it_says_log_odds_and_with_mining_it_refuses():
    assert build(bias_init="balanced").log_odds().bias == pytest.approx(build(bias_init="balanced").bias.item())
    for options in MINING:
        with pytest.raises(InputError, match="with mining .* trains no log-odds"):
            build(**options).log_odds()


def test_the_defaults_are_those_of_sphereface2_without_mining():
    head = build()
    assert (head.scale, head.lam, head.t, head.margin, head.margins) == (32.0, 0.7, 3, 1.0, (1.1, 0.1, 0.1))
    assert (head.positive_power, head.top_k, head.gradient_ratio, head.two_sided) == (0, 0, 0, False)
    assert head.bias.item() == 0 and head.bias.shape == (1, 1) and head.reading == "combined"
    assert build(reading="alternate").margins == (1.2, 0.15, 0.2) and build(reading="alternate").alternate_by == "step"


@pytest.mark.parametrize("options, message", [
    ({"reading": "both"}, "reading: 'both' is unknown; known: combined, alternate"),
    ({"alternate_by": "part"}, "alternate_by: 'part' is for reading alternate"),
    ({"reading": "alternate", "alternate_by": "batch"}, "alternate_by: 'batch' is unknown; known: step, part"),
    ({"m1": 0.9}, "option m1 must be a number >= 1"),
    ({"m2": 4}, "option m2 must be a number >= 0 and <= 3.14159"),
    ({"m3": -0.1}, "option m3 must be a number >= 0"),
    ({"m2": 0.5, "margin": 7}, "option margin must be a number >= 0 and <= 6.28319"),
    ({"m3_on": "g"}, "m3_on: 'g' is unknown; known: cosine, similarity"),
    ({"two_sided": 1}, "option two_sided must be true or false"),
    ({**ONE, "m1": 1.2, "two_sided": True}, "two_sided: m2 and m3 are 0, so that nothing raises the other classes"),
    ({**ONE, "m2": 0.2, "m3_on": "similarity"}, "m3_on: there is no m3 to lie outside of g: it is 0"),
    ({"reading": "alternate", "m1": 1}, "m1: at 1 its turns in the reading alternate have no margin"),
    ({"reading": "alternate", "m2": 0.0}, "m2: at 0 its turns in the reading alternate have no margin"),
    ({"reading": "alternate", "m3": 0.0}, "m3: at 0 its turns in the reading alternate have no margin"),
    ({"top_k": 5}, "top_k: an embedding has 4 negatives, of which 5 cannot be kept"),
    ({"top_k": 1.5}, "option top_k must be an integer >= 0"),
    ({"positive_power": -1}, "option positive_power must be a number >= 0"),
    ({"gradient_ratio": -1}, "option gradient_ratio must be a number >= 0"),
    ({"lam": 1.0}, "option lam must be a number > 0 and < 1"),
    ({"bias_init": "one"}, "bias_init: 'one' is unknown"),
])
def test_unfit_options_are_refused_by_name(options, message):
    with pytest.raises(InputError, match=message):
        build(**options)


def test_turns_without_a_step_are_refused():
    embeddings, labels = inputs()
    with pytest.raises(InputError, match="reading alternate the margins take turns: call set_step before"):
        build(reading="alternate", step=None)(embeddings, labels)


def test_large_logits_do_not_overflow_in_float32():
    for options in MINING:
        head = build(scale=500.0, **options).float()
        x = (9 * head.weight.detach()).requires_grad_()
        loss = head(x, torch.tensor([1, 2, 3, 4, 0]))
        loss.backward()
        assert loss.isfinite() and x.grad.isfinite().all() and head.weight.grad.isfinite().all()


def test_gradients_are_finite_differences_of_the_loss_with_its_weights_held():
    """With mining, weights are constants: the gradient is that of the same sum with the weights of this point."""
    embeddings, labels = inputs(batch=6)
    head = build(scale=5.0, positive_power=1.0, gradient_ratio=2.0, top_k=2)
    x = embeddings.clone().requires_grad_()
    head(x, labels).backward()
    own = F.one_hot(labels, 5).bool()

    def logits(rows):
        cosine = F.linear(F.normalize(rows), F.normalize(head.weight.detach()))
        lowered = lowered_cosine(cosine, 1.1, 0.1) - 0.1
        similarity = torch.where(own, 2 * ((lowered + 1) / 2) ** 3 - 1, 2 * ((cosine + 1) / 2) ** 3 - 1)
        return 5.0 * similarity

    here = logits(embeddings).detach()
    pull = torch.sigmoid(-here[own])
    weight = pull / pull.mean()
    kept = torch.zeros_like(own).scatter(1, here.masked_fill(own, -9e9).topk(2).indices, True)
    a, n = (weight * pull).mean(), (here.sigmoid() * kept).sum(1).mean()
    lam = 2 * n / (a + 2 * n)
    factor = (0.7 * a + 0.3 * n) / (lam * a + (1 - lam) * n)
    y = embeddings.clone().requires_grad_()
    now = logits(y)
    value = lam * weight * F.softplus(-now[own]) + (1 - lam) * (F.softplus(now) * kept).sum(1)
    (factor * value.mean()).backward()
    torch.testing.assert_close(x.grad, y.grad, rtol=1e-9, atol=1e-12)
