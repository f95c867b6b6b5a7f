"""The gradients that losses with classes note, of target and other positions, against autograd."""

import pytest
import torch

from tests.losses.loss_oracles import inputs
from wespk.losses import build_loss, load_all
from wespk.losses.base import ClassHead
from wespk.losses.blocks import BlockHead

SOFTMAX = [{"name": "softmax"}, {"name": "am_softmax"}, {"name": "aam_softmax"}, {"name": "aam_softmax", "easy_margin": True},
           {"name": "a_softmax"}, {"name": "subcenter", "top_k": 2}, {"name": "circle", "scale": 8.0}]
BINARY = [{"name": "sphereface2", **options} for options in (
    {}, {"margin_type": "A"}, {"margin_type": "A", "two_sided": False}, {"margin_type": "M", "margin": 1.4}, {"detach_g": True})]
BINARY += [{"name": "spherespeaker", **options} for options in (
    {}, {"two_sided": True, "m3_on": "similarity"}, {"positive_power": 1.0}, {"top_k": 2}, {"gradient_ratio": 2.0})]
BLOCKED = [{"name": "am_softmax"}, {"name": "aam_softmax"}, *BINARY]


def build(conf, num_classes=5):
    torch.manual_seed(0)
    return build_loss({"scale": 5.0, **conf} if "scale" in options_of(conf) else conf, 4, num_classes).double()


def options_of(conf):
    return load_all().find(conf["name"]).__init__.__code__.co_varnames


def noted(loss):
    return [loss.stats[f"{kind}_gradient"].item() for kind in ("positive", "negative")]


def kept_logits(loss, name, which):
    """Calls of the method ``name`` of ``loss`` leave the tensor that ``which`` finds among arguments and result in a list."""
    plain, kept = getattr(loss, name), []

    def keep(*arguments):
        if name == "cross_entropy":
            arguments[0].retain_grad()
        value = plain(*arguments)
        kept.append(which(arguments, value))
        kept[-1].retain_grad()
        return value

    setattr(loss, name, keep)
    return kept


@pytest.mark.parametrize("conf", SOFTMAX, ids=str)
def test_a_softmax_notes_those_of_its_logits_and_they_are_equal(conf):
    embeddings, labels = inputs(batch=12)
    loss = build(conf)
    kept = kept_logits(loss, "cross_entropy", lambda arguments, _: arguments[0])
    loss(embeddings, labels).backward()
    pull, push = noted(loss)
    gradient = kept[0].grad
    own = gradient.gather(1, labels[:, None])
    assert -own.sum().item() == pytest.approx(pull, rel=1e-12)
    assert (gradient.abs().sum() - own.abs().sum()).item() == pytest.approx(push, rel=1e-9)
    assert pull == push > 0.01


@pytest.mark.parametrize("conf", BINARY, ids=str)
def test_a_binary_loss_notes_those_of_its_logits(conf):
    embeddings, labels = inputs(batch=12)
    loss = build(conf)
    kept = kept_logits(loss, "logit", lambda _, value: value)
    loss(embeddings, labels).backward()
    target, others = sorted((logits.grad for logits in kept), key=lambda gradient: gradient.shape[1])
    pull, push = noted(loss)
    assert target.shape == (12, 1) and -target.sum().item() == pytest.approx(pull, rel=1e-9)
    assert others.sum().item() == pytest.approx(push, rel=1e-9) and push != pytest.approx(pull, rel=0.01)


@pytest.mark.parametrize("block_size", [1, 3])
@pytest.mark.parametrize("conf", BLOCKED, ids=str)
def test_blocks_note_what_the_whole_notes(conf, block_size):
    embeddings, labels = inputs(batch=12, num_classes=7)
    whole, blocked = build(conf, 7), build({**conf, "block_size": block_size}, 7)
    for loss in (whole, blocked):
        loss(embeddings, labels)
    assert noted(blocked) == pytest.approx(noted(whole), rel=1e-10)


def test_parts_of_the_classes_put_together_note_what_the_whole_notes():
    embeddings, labels = inputs(batch=12, num_classes=7)
    for conf in BLOCKED:
        whole, first, second = (build(conf, 7) for _ in range(3))
        first.weight.data, second.weight.data = whole.weight.data[:3], whole.weight.data[3:]
        whole(embeddings, labels)
        parts = [part.partial(embeddings, labels, at)[0] for part, at in ((first, 0), (second, 3))]
        first.losses(first.merge(torch.stack(parts)))
        assert noted(first) == pytest.approx(noted(whole), rel=1e-10)


def test_every_loss_with_classes_is_looked_at_here():
    every = {name for name in load_all().names() if issubclass(load_all().find(name), ClassHead)}
    assert every == {conf["name"] for conf in SOFTMAX + BINARY}
    assert {name for name in every if issubclass(load_all().find(name), BlockHead)} == {conf["name"] for conf in BLOCKED}


@pytest.mark.parametrize("conf", [SOFTMAX[1], BINARY[0], BINARY[-2]], ids=str)
def test_a_target_beyond_doubt_pulls_no_more_without_a_nan(conf):
    loss = build({**conf, "scale": 900.0}, 4).float()
    loss.weight.data = torch.eye(4)
    loss(torch.eye(4), torch.arange(4))
    assert noted(loss)[0] == 0
