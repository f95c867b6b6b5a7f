"""Class-aware attention against slow loops, its identities, and who learns from it."""

import math

import pytest
import torch

from tests.losses.loss_oracles import contrastive, cosine_rows
from wespk.losses import build_loss
from wespk.losses.supcon import SupCon, SupMarginCon
from wespk.utils.errors import InputError

CLASSES, DIM = 6, 5
LABELS = [2, 0, 1, 0, 2, 4]


def build(**options):
    torch.manual_seed(1)
    return build_loss({"name": "caa_margin_con", **options}, DIM, CLASSES).double()


def batch(views=2):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(len(LABELS), views, DIM, generator=generator, dtype=torch.float64), torch.tensor(LABELS)


def slow_attention(x, weight, scale):
    """The share of the own class among exp(scale * cosine), for each embedding."""
    shares = []
    for row, label in zip(cosine_rows(x.flatten(0, 1), weight), [y for y in LABELS for _ in range(x.shape[1])]):
        powers = [math.exp(scale * c) for c in row]
        shares.append(powers[label] / sum(powers))
    return shares


def slow_pairs(attention, normalise):
    """Weights of all pairs."""
    number = range(len(attention))
    pairs = [[min(attention[i], attention[j]) for j in number] for i in number]
    values = [pairs[i][j] for i in number for j in number if i != j]
    divisor = {"none": 1.0, "max": max(values), "mean": sum(values) / len(values)}[normalise]
    return [[a / divisor for a in row] for row in pairs]


@pytest.mark.parametrize("where", ["exponent", "negatives"])
@pytest.mark.parametrize("normalise", ["none", "max", "mean"])
@pytest.mark.parametrize("on, views, scale", [("positives", 2, 1.0), ("all", 2, 4.0), ("positives", 1, 12.0)])
def test_it_equals_a_slow_loop(where, normalise, on, views, scale):
    x, labels = batch(views)
    loss = build(temperature=0.2, margin=0.3, margin_on=on, attention_scale=scale, attention_normalise=normalise,
                 attention_in=where)
    attention = slow_attention(x, loss.weight, scale)
    pairs = slow_pairs(attention, normalise)
    expected, _ = contrastive(x, LABELS, 0.2, 0.3, on, pairs, where)
    assert loss(x, labels).item() == pytest.approx(expected, rel=1e-11)
    assert loss.stats["attention"].item() == pytest.approx(sum(attention) / len(attention))
    assert loss.stats["least_weight"].item() == pytest.approx(min(map(min, pairs)))


def test_the_defaults_are_the_largest_weight_in_the_exponent():
    x, labels = batch()
    loss = build()
    pairs = slow_pairs(slow_attention(x, loss.weight, 1.0), "max")
    assert loss(x, labels).item() == pytest.approx(contrastive(x, LABELS, 0.07, 0.1, "positives", pairs)[0], rel=1e-11)


@pytest.mark.parametrize("where", ["exponent", "negatives"])
@pytest.mark.parametrize("normalise", ["max", "mean"])
@pytest.mark.parametrize("margin", [0.0, 0.2])
def test_equal_weights_are_the_loss_without_attention(where, normalise, margin):
    """All class vectors alike recognise everything alike: every pair weighs 1, value and gradient are the others'."""
    loss = build(margin=margin, attention_in=where, attention_normalise=normalise)
    loss.weight.data[:] = torch.ones(DIM)
    results = []
    for one in (loss, SupMarginCon(margin=margin) if margin else SupCon()):
        x = batch()[0].requires_grad_()
        value = one(x, batch()[1])
        results.append((value.detach(), *torch.autograd.grad(value, x)))
    torch.testing.assert_close(results[0], results[1], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("where", ["exponent", "negatives"])
def test_a_hard_negative_pushes_less_when_its_class_is_not_recognised(where):
    """Two speakers and a sample of a third close to the first: its push on them falls with its own class's cosine."""
    labels = torch.tensor([0, 1, 2])
    z = torch.eye(DIM, dtype=torch.float64)
    hard = torch.nn.functional.normalize(z[0] + 0.6 * z[2], dim=0)
    x = torch.stack([z[0] + 0.2 * z[3], z[0] + 0.2 * z[4], z[1], z[1] + 0.1 * z[3], hard, hard + 0.1 * z[4]]).view(3, 2, DIM)
    pushes = []
    for recognised in (True, False):
        loss = build(margin=0.0, attention_in=where, attention_scale=8.0, attention_detach=True, class_vectors="head")
        head = build_loss({"name": "am_softmax"}, DIM, CLASSES).double()
        head.weight.data[:] = -torch.ones(DIM)
        head.weight.data[:3] = torch.stack([z[0], z[1], hard if recognised else z[1]])
        loss.share_classes(head)
        leaf = x.clone().requires_grad_()
        loss(leaf, labels).backward()
        pushes.append(leaf.grad[2].norm().item())
    assert pushes[1] < 0.5 * pushes[0]


@pytest.mark.parametrize("detach", [False, True])
def test_shared_class_vectors_learn_unless_detached_and_stay_the_heads(detach):
    x, labels = batch()
    head = build_loss({"name": "aam_softmax"}, DIM, CLASSES).double()
    loss = build(class_vectors="head", attention_detach=detach)
    loss.share_classes(head)
    assert not list(loss.parameters()) and not loss.state_dict()
    own = build()
    own.weight.data.copy_(head.weight.data)
    x.requires_grad_()
    value, other = loss(x, labels), own(x, labels)
    assert torch.equal(value, other)
    mine, theirs = (torch.autograd.grad(v, x, retain_graph=True)[0] for v in (value, other))
    value.backward()
    if detach:
        assert head.weight.grad is None and not torch.allclose(mine, theirs)
    else:
        other.backward()
        assert torch.equal(mine, theirs) and torch.equal(head.weight.grad, own.weight.grad)
    head.weight = torch.nn.Parameter(-head.weight.detach())  # as when a checkpoint or a device puts in another tensor
    assert not torch.equal(loss(x, labels), value)


@pytest.mark.parametrize("where", ["exponent", "negatives"])
@pytest.mark.parametrize("normalise", ["none", "max", "mean"])
def test_a_large_attention_scale_stays_finite_in_float32(where, normalise):
    x, labels = batch()
    loss = build(attention_scale=500.0, attention_in=where, attention_normalise=normalise).float()
    x = x.float().requires_grad_()
    value = loss(x, labels)
    value.backward()
    assert value.isfinite() and x.grad.isfinite().all() and loss.weight.grad.isfinite().all()


def test_what_cannot_be_used_is_refused():
    x, labels = batch()
    with pytest.raises(InputError, match="CAAMarginCon needs labels"):
        build()(x, None)
    with pytest.raises(InputError, match="label 6 is out of range: the loss has 6 classes"):
        build()(x, labels + 2)
    with pytest.raises(InputError, match="attention_detach: with class_vectors=own nothing would train"):
        build(attention_detach=True)
    with pytest.raises(InputError, match="no classification loss to share with"):
        build(class_vectors="head")(x, labels)
    with pytest.raises(InputError, match="class_vectors is 'own'"):
        build().share_classes(build())
    for name in ("subcenter", "prototypical"):
        with pytest.raises(InputError, match=r"has class vectors .*\(6, 5\) are needed"):
            build(class_vectors="head").share_classes(build_loss({"name": name}, DIM, CLASSES))
    for option, bad in (("attention_in", "negative"), ("attention_normalise", "sum"), ("class_vectors", "heads"),
                        ("attention_scale", 0), ("attention_detach", 1)):
        with pytest.raises(InputError, match=f"loss option {option}"):
            build(**{option: bad})
