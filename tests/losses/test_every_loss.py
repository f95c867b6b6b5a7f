"""What every registered loss on (B, D) embeddings promises: gradients, precision, checked input, state that survives."""

import pytest
import torch

from wespk.losses import build_loss, load_all
from wespk.losses.base import ClassHead
from wespk.utils.errors import InputError

DIM, CLASSES = 4, 5
LABELS = torch.tensor([3, 1, 0, 3, 1, 0])
NAMES = [name for name in load_all().names() if not load_all().find(name).views]  # those: test_contrastive.py
# besides its defaults, options under which a loss is a different function; five classes are too few for some defaults
SMALL = {"subcenter": {"top_k": 2}}
VARIANTS = {
    "am_softmax": [{"block_size": 2}],
    "aam_softmax": [{"block_size": 2}, {"easy_margin": True}],
    "a_softmax": [{"anneal_base": 0.0, "anneal_min": 0.0}],
    "subcenter": [{"top_k": 0}],
    "ge2e": [{"variant": "contrast"}],
    "sphereface2": [{"margin_type": "A"}, {"margin_type": "A", "two_sided": False}, {"margin_type": "M", "margin": 1.4},
                    {"t": 2}, {"t": 1}, {"t": 2.5}, {"bias_init": "balanced"}, {"block_size": 2},
                    {"block_size": 2, "margin_type": "A"}],
    "spherespeaker": [{"reading": "alternate"}, {"reading": "alternate", "alternate_by": "part", "two_sided": True},
                      {"m3_on": "similarity", "t": 2}, {"two_sided": True}, {"top_k": 2, "block_size": 2},
                      {"positive_power": 1.0, "gradient_ratio": 1.0}],
}
CASES = [pytest.param({"name": n, **SMALL.get(n, {}), **options}, id=f"{n}{options or ''}")
         for n in NAMES for options in [{}, *VARIANTS.get(n, [])]]


def build(conf, seed=0):
    torch.manual_seed(seed)
    loss = build_loss(conf, DIM, CLASSES)
    if hasattr(loss, "set_step"):
        loss.set_step(4)
    return loss


def with_margin(loss, margin):
    """``loss`` with this margin, if it has one; type M's is a factor, 1 where others are 0."""
    if loss.has_margin:
        loss.set_margin(margin + (getattr(loss, "margin_type", "") == "M"))
    return loss


HEADS = [c for c in CASES if isinstance(build(c.values[0]), ClassHead)]


def embeddings(dtype=torch.float64, seed=0):
    return torch.randn(len(LABELS), DIM, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


# these weigh by factors that carry no gradient by definition; test_circle.py and test_spherespeaker.py look at it
@pytest.mark.parametrize("conf", [c for c in CASES if c.id != "circle" and "positive_power" not in c.id])
def test_gradients_equal_finite_differences(conf):
    loss = build(conf).double().eval()
    parameters = list(loss.parameters())

    def function(x, *values):
        return torch.func.functional_call(loss, dict(zip(dict(loss.named_parameters()), values)), (x, LABELS))

    x = embeddings().requires_grad_()
    assert torch.autograd.gradcheck(function, (x, *parameters), eps=1e-6, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("conf", CASES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("margin", [0.0, 0.3])
def test_finite_at_cosines_of_plus_and_minus_one(conf, dtype, margin):
    loss = with_margin(build(conf), margin)
    direction = torch.randn(DIM)
    x = (direction * torch.tensor([1.0, -1.0, 3.0, -0.1, 1.0, -5.0])[:, None]).to(dtype).requires_grad_()
    for parameter in loss.parameters():
        if parameter.shape[-1:] == (DIM,):
            signs = torch.tensor([1.0, -1.0, -2.0, 0.5, 1.0]).view(CLASSES, *[1] * (parameter.dim() - 1))
            parameter.data = (signs * direction).expand_as(parameter).clone()
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        value = loss(x, LABELS)
    value.backward()
    assert value.dtype == torch.float32 and value.isfinite()
    assert x.grad.isfinite().all() and all(p.grad.isfinite().all() for p in loss.parameters())


@pytest.mark.parametrize("conf", CASES)
def test_autocast_changes_nothing(conf):
    results = []
    for enabled in (False, True):
        loss, x = build(conf), embeddings(torch.float32).requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            value = loss(x, LABELS)
        value.backward()
        results.append((value.detach(), x.grad))
    assert torch.equal(results[0][0], results[1][0]) and torch.equal(results[0][1], results[1][1])


@pytest.mark.parametrize("conf", CASES)
def test_statistics_are_detached_scalars(conf):
    loss = build(conf)
    loss(embeddings(torch.float32).requires_grad_(), LABELS)
    accuracy = loss.stats["accuracy"]
    assert accuracy.shape == () and not accuracy.requires_grad and 0 <= accuracy <= 1


@pytest.mark.parametrize("conf", CASES)
def test_embeddings_of_the_right_class_give_full_accuracy_and_a_smaller_loss(conf):
    loss = build(conf)
    if isinstance(loss, ClassHead):
        good = loss.weight.detach().flatten(1)[LABELS, :DIM] * 9  # the first sub-centre, where there are several
    else:
        good = torch.eye(DIM)[LABELS] + 0.01 * embeddings(torch.float32)
    small = loss(good, LABELS)
    assert loss.stats["accuracy"] == 1
    assert small < loss(good[torch.tensor([1, 2, 0, 5, 3, 4])], LABELS)
    assert loss.stats["accuracy"] < 0.5


@pytest.mark.parametrize("conf", HEADS)
def test_a_label_out_of_range_is_refused(conf):
    for bad in (-1, CLASSES):
        labels = LABELS.clone()
        labels[2] = bad
        with pytest.raises(InputError, match=f"label {bad} is out of range: the loss has 5 classes, labels are 0 to 4"):
            build(conf)(embeddings(torch.float32), labels)


@pytest.mark.parametrize("conf", CASES)
def test_unfit_shapes_are_refused(conf):
    loss = build(conf)
    with pytest.raises(InputError, match=r"takes embeddings \(batch, 4\), not \(6, 3\)"):
        loss(torch.zeros(6, 3), LABELS)
    with pytest.raises(InputError, match="takes 6 integer labels"):
        loss(torch.zeros(6, 4), LABELS[:5])
    with pytest.raises(InputError, match="takes 6 integer labels"):
        loss(torch.zeros(6, 4), LABELS.float())


@pytest.mark.parametrize("conf", HEADS)
def test_one_class_is_refused(conf):
    with pytest.raises(InputError, match="at least two classes, not 1"):
        build_loss(conf, DIM, 1)


@pytest.mark.parametrize("conf", CASES)
def test_a_state_dict_carries_everything_but_the_margin(conf):
    first, second = (with_margin(build(conf, seed), 0.1) for seed in (0, 1))
    for _ in range(3):
        first(embeddings(torch.float32), LABELS)
    second.load_state_dict(first.state_dict())
    assert torch.equal(first(embeddings(torch.float32), LABELS), second(embeddings(torch.float32), LABELS))


# by part, a label says which margin an utterance has
@pytest.mark.parametrize("conf", [c for c in HEADS if "'part'" not in c.id])
def test_permuting_the_classes_changes_nothing(conf):
    first = build(conf).double()
    order = torch.tensor([2, 0, 4, 1, 3])  # class c becomes class order[c]
    second = build(conf, seed=1).double()
    with torch.no_grad():
        for a, b in zip(first.parameters(), second.parameters()):
            if len(a) == CLASSES:
                b[order] = a
            else:
                b.copy_(a)
    torch.testing.assert_close(first(embeddings(), LABELS), second(embeddings(), order[LABELS]))


def test_unknown_names_and_options_are_refused_with_the_nearest():
    with pytest.raises(InputError, match="unknown loss 'am_sofmax'.*did you mean 'am_softmax'"):
        build_loss({"name": "am_sofmax"}, DIM, CLASSES)
    with pytest.raises(InputError, match="loss 'aam_softmax' has no option 'margn'.*did you mean 'margin'"):
        build_loss({"name": "aam_softmax", "margn": 0.2}, DIM, CLASSES)
