"""What every registered loss promises: gradients, precision, checked input, state that survives."""

import pytest
import torch

from wespk.losses import build_loss, load_all
from wespk.losses.base import ClassHead
from wespk.utils.errors import InputError

DIM, CLASSES = 4, 5
LABELS = torch.tensor([3, 1, 0, 3, 1, 0])
NAMES = load_all().names()
# options without which a loss cannot be built or would have kinks where gradients are compared
VARIANTS = {name: [{}] for name in NAMES}
for name in ("am_softmax", "aam_softmax"):
    VARIANTS[name].append({"block_size": 2})
CASES = [pytest.param({"name": n, **options}, id=f"{n}{options or ''}") for n in NAMES for options in VARIANTS[n]]


def build(conf, seed=0, embed_dim=DIM):
    torch.manual_seed(seed)
    return build_loss(conf, embed_dim, CLASSES)


HEADS = [c for c in CASES if isinstance(build(c.values[0]), ClassHead)]


def embeddings(dtype=torch.float64, seed=0):
    return torch.randn(len(LABELS), DIM, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


@pytest.mark.parametrize("conf", CASES)
def test_gradients_equal_finite_differences(conf):
    loss = build(conf).double()
    parameters = list(loss.parameters())

    def function(x, *values):
        return torch.func.functional_call(loss, dict(zip(dict(loss.named_parameters()), values)), (x, LABELS))

    x = embeddings().requires_grad_()
    assert torch.autograd.gradcheck(function, (x, *parameters), eps=1e-6, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("conf", CASES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("margin", [0.0, 0.3])
def test_finite_at_cosines_of_plus_and_minus_one(conf, dtype, margin):
    loss = build(conf)
    if loss.has_margin and conf.get("margin_type") != "M":
        loss.set_margin(margin)
    direction = torch.randn(DIM)
    x = (direction * torch.tensor([1.0, -1.0, 3.0, -0.1, 1.0, -5.0])[:, None]).to(dtype).requires_grad_()
    for parameter in loss.parameters():
        if parameter.shape[-1] == DIM:
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
        good = loss.weight.detach().flatten(1)[LABELS, :DIM] * 9
    else:
        good = torch.eye(DIM)[LABELS] + 0.01 * embeddings(torch.float32)
    small = loss(good, LABELS)
    assert loss.stats["accuracy"] == 1
    assert small < loss(good[torch.tensor([1, 2, 3, 4, 5, 0])], LABELS)
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
    first, second = build(conf), build(conf, seed=1)
    for loss in (first, second):
        if loss.has_margin and conf.get("margin_type") != "M":
            loss.set_margin(0.1)
    for _ in range(3):
        first(embeddings(torch.float32), LABELS)
    second.load_state_dict(first.state_dict())
    assert torch.equal(first(embeddings(torch.float32), LABELS), second(embeddings(torch.float32), LABELS))


@pytest.mark.parametrize("conf", HEADS)
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
