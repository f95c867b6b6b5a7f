"""The contrastive losses without attention against slow loops, and where the definition has its corners."""

import math

import pytest
import torch

from tests.losses.loss_oracles import contrastive, cosine_rows, cross_entropy
from wespk.losses import build_loss
from wespk.losses.supcon import SupCon, SupMarginCon
from wespk.utils.errors import InputError

LABELS = [2, 0, 1, 0, 2, 4, 2]  # 1 and 4 have one utterance


def batch(views, seed=0, number=7):
    return torch.randn(number, views, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("views", [1, 2, 3])
@pytest.mark.parametrize("tau", [0.07, 0.5])
def test_supcon_equals_a_slow_loop(views, tau):
    x, loss = batch(views), SupCon(tau)
    expected, skipped = contrastive(x, LABELS, tau)
    assert loss(x, torch.tensor(LABELS)).item() == pytest.approx(expected, rel=1e-12)
    assert loss.stats["skipped"] == skipped == (2 if views == 1 else 0)


@pytest.mark.parametrize("on", ["positives", "all"])
@pytest.mark.parametrize("margin", [0.0, 0.1, 0.5, 2.5, math.pi])
def test_sup_margin_con_equals_a_slow_loop(margin, on):
    x = batch(2)
    expected, _ = contrastive(x, LABELS, 0.2, margin, on)
    assert SupMarginCon(0.2, margin, on)(x, torch.tensor(LABELS)).item() == pytest.approx(expected, rel=1e-12)


def test_the_defaults_are_those_of_the_released_code():
    x, labels = batch(2), torch.tensor(LABELS)
    assert SupCon()(x, labels).item() == pytest.approx(contrastive(x, LABELS, 0.07)[0], rel=1e-12)
    assert SupMarginCon()(x, labels).item() == pytest.approx(contrastive(x, LABELS, 0.07, 0.1)[0], rel=1e-12)


@pytest.mark.parametrize("views", [2, 3])
def test_without_labels_it_is_nt_xent(views):
    """Cross-entropy of the other views among all others: SimCLR's equation 1, averaged over partners."""
    x = batch(views)
    cos = cosine_rows(x.flatten(0, 1), x.flatten(0, 1))
    rows, partners = [], []
    for i in range(len(cos)):
        for partner in range(i - i % views, i - i % views + views):
            if partner != i:
                rows.append([c / 0.1 for j, c in enumerate(cos[i]) if j != i])
                partners.append(partner - (partner > i))
    assert SupCon(0.1)(x, None).item() == pytest.approx(cross_entropy(rows, partners), rel=1e-12)


@pytest.mark.parametrize("on", ["positives", "all"])
def test_without_labels_the_margin_is_between_views_of_an_utterance(on):
    x = batch(3)
    expected, skipped = contrastive(x, None, 0.2, 0.3, on)
    loss = SupMarginCon(0.2, 0.3, on)
    assert loss(x, None).item() == pytest.approx(expected, rel=1e-12)
    assert loss.stats["skipped"] == skipped == 0


@pytest.mark.parametrize("on", ["positives", "all"])
def test_margin_0_is_supcon_exactly(on):
    x, labels = batch(2), torch.tensor(LABELS)
    assert torch.equal(SupMarginCon(0.07, 0.0, on)(x, labels), SupCon(0.07)(x, labels))


def test_the_loss_grows_with_the_margin():
    x, loss, values = batch(2), SupMarginCon(), []
    for margin in (0.0, 0.1, 0.2, 0.4, 0.8, 1.6, 2.4, 3.1):
        loss.set_margin(margin)
        values.append(loss(x, torch.tensor(LABELS)).item())
    assert values == sorted(set(values))


def test_two_views_of_one_utterance_alone_are_at_rest_without_margin():
    x = batch(2, number=1)
    assert SupCon()(x, None) == 0
    c = cosine_rows(x[0, :1], x[0, 1:])[0][0]
    expected = (c - math.cos(math.acos(c) + 0.3)) / 0.07
    assert SupMarginCon(margin=0.3)(x, torch.tensor([7])).item() == pytest.approx(expected, rel=1e-12)


def test_the_mean_is_over_the_anchors_that_have_a_positive():
    x, loss = batch(1), SupCon(0.3)
    value = loss(x, torch.tensor([0, 0, 1, 2, 3, 4, 5]))
    assert loss.stats["skipped"] == 5
    assert value.item() == pytest.approx(contrastive(x, [0, 0, 1, 2, 3, 4, 5], 0.3)[0], rel=1e-12)


def test_a_batch_without_positives_is_0_with_zero_gradients():
    x, loss = batch(1).requires_grad_(), SupCon()
    value = loss(x, torch.arange(7))
    value.backward()
    assert value == 0 and (x.grad == 0).all()
    assert loss.stats["skipped"] == 7 and loss.stats["positive_cosine"] == 0


def test_statistics_are_the_mean_cosines_of_positives_and_negatives():
    x, loss = batch(2), SupMarginCon()
    loss(x, torch.tensor(LABELS))
    names = [y for y in LABELS for _ in range(2)]
    cos = cosine_rows(x.flatten(0, 1), x.flatten(0, 1))
    for name, same in (("positive_cosine", True), ("negative_cosine", False)):
        found = [cos[i][j] for i in range(14) for j in range(14) if i != j and (names[i] == names[j]) == same]
        assert loss.stats[name].item() == pytest.approx(sum(found) / len(found), abs=1e-12)


def test_options_out_of_range_are_refused():
    with pytest.raises(InputError, match="temperature must be a number > 0, not 0"):
        SupCon(0)
    with pytest.raises(InputError, match="margin must be a number >= 0 and <= 3.14159, not 3.2"):
        SupMarginCon(margin=3.2)
    with pytest.raises(InputError, match="margin_on: 'positive' is unknown .did you mean 'positives'"):
        build_loss({"name": "sup_margin_con", "margin_on": "positive"}, 5, 8)
    with pytest.raises(InputError, match="SupCon has no margin to set"):
        SupCon().set_margin(0.1)
    with pytest.raises(InputError, match="takes at least two views of an utterance, not 1"):
        SupCon()(batch(1), None)
