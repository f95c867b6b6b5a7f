"""What every loss on several views promises, whichever it is, and shares of it on several processes."""

import pytest
import torch

from wespk.losses import build_loss, load_all, pairs
from wespk.utils.errors import InputError

DIM, CLASSES, VIEWS = 4, 6, 2
LABELS = torch.tensor([3, 1, 0, 3, 5, 1])
NAMES = [name for name in load_all().names() if load_all().find(name).views]
VARIANTS = {"sup_margin_con": [{"margin": 0.4, "margin_on": "all"}],
            "caa_margin_con": [{"attention_in": "negatives", "attention_normalise": "mean"},
                               {"attention_normalise": "none", "attention_scale": 5.0, "margin_on": "all"}]}
CASES = [pytest.param({"name": n, **options}, id=f"{n}{options or ''}") for n in NAMES for options in [{}, *VARIANTS.get(n, [])]]


def build(conf, seed=0):
    torch.manual_seed(seed)
    return build_loss(conf, DIM, CLASSES)


def views(dtype=torch.float64):
    return torch.randn(len(LABELS), VIEWS, DIM, generator=torch.Generator().manual_seed(3), dtype=torch.float64).to(dtype)


def test_the_losses_on_views_are_found():
    assert {"supcon", "sup_margin_con", "caa_margin_con"} <= set(NAMES)


@pytest.mark.parametrize("conf", CASES)
def test_gradients_equal_finite_differences(conf, monkeypatch):
    monkeypatch.setattr(pairs, "block_rows", lambda *_: 3)
    loss = build(conf).double()
    names, values = [n for n, _ in loss.named_parameters()], list(loss.parameters())

    def function(x, *given):
        return torch.func.functional_call(loss, dict(zip(names, given)), (x, LABELS[:4]))

    assert torch.autograd.gradcheck(function, (views()[:4].requires_grad_(), *values))
    if not names:  # a view each, so that two anchors are skipped
        assert torch.autograd.gradcheck(function, (views()[:4, :1].requires_grad_(),))


@pytest.mark.parametrize("conf", CASES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_finite_when_views_coincide_or_are_opposite(conf, dtype):
    loss = build(conf)
    x = torch.randn(1, 1, DIM) * torch.tensor([1.0, -1.0, 3.0, -0.1, 1.0, 1.0])[:, None, None] * torch.ones(1, VIEWS, 1)
    x = x.to(dtype).requires_grad_()
    for parameter in loss.parameters():
        parameter.data[:] = x.detach()[0, 0].float()
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        value = loss(x, LABELS)
    value.backward()
    assert value.dtype == torch.float32 and value.isfinite() and x.grad.isfinite().all()
    assert all(p.grad.isfinite().all() for p in loss.parameters())


@pytest.mark.parametrize("conf", CASES)
def test_autocast_changes_nothing(conf):
    results = []
    for enabled in (False, True):
        loss, x = build(conf), views(torch.float32).requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            value = loss(x, LABELS)
        value.backward()
        results.append((value.detach(), x.grad))
    assert torch.equal(results[0][0], results[1][0]) and torch.equal(results[0][1], results[1][1])


@pytest.mark.parametrize("conf", CASES)
def test_order_of_utterances_and_views_and_length_of_embeddings_do_not_matter(conf):
    loss, x = build(conf).double(), views()
    value, order = loss(x, LABELS), torch.tensor([5, 2, 0, 4, 1, 3])
    torch.testing.assert_close(loss(x[order], LABELS[order]), value)
    torch.testing.assert_close(loss(x.flip(1), LABELS), value)
    torch.testing.assert_close(loss(x * torch.rand(len(x), VIEWS, 1, dtype=x.dtype).add(0.1), LABELS), value)


@pytest.mark.parametrize("conf", CASES)
@pytest.mark.parametrize("labels", [LABELS, torch.tensor([0, 1, 2, 3, 4, 4])])
def test_shares_of_several_processes_add_up_to_the_whole(conf, labels):
    """A process's result weighs by its share of the embeddings; gradients by all embeddings and parameters add up."""
    loss, total = build(conf).double(), len(labels)
    results = []
    for sizes in ([total], [3, 1, 2]):
        x = views()[:, 0].clone().requires_grad_()
        value, first = 0, 0
        for size in sizes:
            value = value + size / total * loss.rows(x, labels, first, size)
            first += size
        results.append((value.detach(), *torch.autograd.grad(value, [x, *loss.parameters()])))
    torch.testing.assert_close(results[0], results[1], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(loss(x[:, None], labels).detach(), results[0][0])


@pytest.mark.parametrize("conf", CASES)
def test_a_step_against_the_gradient_lowers_the_loss(conf):
    loss, x = build(conf).double(), views().requires_grad_()
    before = loss(x, LABELS)
    before.backward()
    assert loss(x - 1e-3 * x.grad, LABELS) < before


@pytest.mark.parametrize("conf", CASES)
def test_gradients_can_be_asked_for_twice_and_values_without(conf):
    loss, x = build(conf).double(), views().requires_grad_()
    value = loss(x, LABELS)
    first, = torch.autograd.grad(value, x, retain_graph=True)
    value.backward()
    assert torch.equal(first, x.grad)
    with torch.no_grad():
        assert torch.equal(loss(x, LABELS), value)


@pytest.mark.parametrize("conf", CASES)
def test_statistics_are_detached_scalars(conf):
    loss = build(conf)
    loss(views(torch.float32).requires_grad_(), LABELS)
    assert {"skipped", "positive_cosine", "negative_cosine"} <= loss.stats.keys()
    assert all(v.shape == () and not v.requires_grad and v.isfinite() for v in loss.stats.values())


@pytest.mark.parametrize("conf", CASES)
def test_unfit_shapes_are_refused(conf):
    loss = build(conf)
    for bad in ((6, 4), (6, 2, 3)):
        with pytest.raises(InputError, match=rf"takes embeddings \(batch, views, 4\), not \({bad[0]}, {bad[1]}"):
            loss(torch.zeros(bad), LABELS)
    with pytest.raises(InputError, match=r"takes 6 integer labels, one an utterance, not \(5,\)"):
        loss(torch.zeros(6, 2, 4), LABELS[:5])
    with pytest.raises(InputError, match="takes 12 integer labels, one an embedding, not torch.float32"):
        loss(torch.zeros(6, 2, 4), LABELS.float())
    with pytest.raises(InputError, match=r"compares two or more embeddings \(number, 4\), not \(1, 4\)"):
        loss(torch.zeros(1, 1, 4), LABELS[:1])
    with pytest.raises(InputError, match="anchors 4 to 7 do not lie within 6 embeddings"):
        loss.rows(torch.zeros(6, 4), LABELS, 4, 3)
