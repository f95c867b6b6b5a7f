"""DINO's loss against a loop, its centre, and what is refused."""

import math

import pytest
import torch

from tests.losses.sdpn_oracles import softmax
from wespk.losses.dino import DINOLoss
from wespk.utils.errors import InputError

BATCH, OUTPUTS = 3, 6


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def build(**options):
    loss = DINOLoss(OUTPUTS, **options).double()
    loss.centre.copy_(draw(1, OUTPUTS, seed=5))
    return loss


@pytest.mark.parametrize("views, globals_, shared", [(4, 2, 2), (4, 1, 0), (2, 3, 1), (2, 2, 2)])
def test_value_equals_a_loop_over_pairs_of_different_views(views, globals_, shared):
    loss, student, teacher = build(teacher_temperature=0.3), draw(views, BATCH, OUTPUTS), draw(globals_, BATCH, OUTPUTS, seed=1)
    centre, terms = loss.centre[0].tolist(), []
    for v in range(views):
        for g in range(globals_):
            if v == g and v < shared:
                continue
            for s, t in zip(student[v].tolist(), teacher[g].tolist()):
                target = softmax([(x - c) / 0.3 for x, c in zip(t, centre)])
                terms.append(-sum(q * math.log(p) for q, p in zip(target, softmax([x / 0.1 for x in s]))))
    assert loss(student, teacher, shared).item() == pytest.approx(sum(terms) / len(terms), rel=1e-12)


def test_gradients_equal_finite_differences_and_none_reach_the_teacher():
    loss, teacher = build().eval(), draw(2, BATCH, OUTPUTS, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda s: loss(s, teacher.detach(), 2), draw(3, BATCH, OUTPUTS).requires_grad_())
    student = draw(3, BATCH, OUTPUTS).requires_grad_()
    assert torch.autograd.grad(loss(student, teacher, 2), [student, teacher], allow_unused=True)[1] is None


def test_the_centre_follows_after_the_loss_and_in_training_only():
    loss, student, teacher = build(), draw(2, BATCH, OUTPUTS), draw(2, BATCH, OUTPUTS, seed=1)
    before = loss.centre.clone()
    value = loss(student, teacher)
    mean = teacher.flatten(0, 1).mean(0)
    torch.testing.assert_close(loss.centre, 0.9 * before + 0.1 * mean[None])
    moved = loss.centre.clone()
    loss.eval()
    assert loss(student, teacher) != value and torch.equal(loss.centre, moved)
    assert list(loss.state_dict()) == ["centre"]


def test_the_centre_is_that_of_all_processes():
    whole, part, teacher = build(), build(), draw(2, BATCH, OUTPUTS, seed=1)
    whole(draw(2, BATCH, OUTPUTS), teacher)
    rest = {(): torch.tensor(4.0), (1, OUTPUTS): teacher[:, 1:].sum((0, 1))[None]}
    part(draw(2, 1, OUTPUTS), teacher[:, :1], reduce=lambda mine: mine + rest[tuple(mine.shape)])
    torch.testing.assert_close(part.centre, whole.centre)


def test_centring_takes_away_what_all_outputs_share():
    loss, student, teacher = build(), draw(2, BATCH, OUTPUTS), draw(2, BATCH, OUTPUTS, seed=1)
    shift = draw(1, OUTPUTS, seed=2)
    value = loss.eval()(student, teacher)
    loss.centre += shift
    torch.testing.assert_close(loss(student, teacher + shift), value)


def test_autocast_changes_nothing():
    student, teacher = draw(2, BATCH, OUTPUTS).float(), draw(2, BATCH, OUTPUTS, seed=1).float()
    with torch.autocast("cpu", torch.bfloat16):
        value = build().float()(student, teacher)
    assert torch.equal(value, build().float()(student, teacher)) and value.dtype == torch.float32


def test_unfit_shapes_and_views_are_refused():
    loss = build()
    with pytest.raises(InputError, match=r"student's outputs \(views, batch, 6\).* not \(2, 3, 5\)"):
        loss(draw(2, BATCH, 5), draw(2, BATCH, OUTPUTS))
    with pytest.raises(InputError, match=r"teacher's outputs .* not \(2, 4, 6\)"):
        loss(draw(2, BATCH, OUTPUTS), draw(2, 4, OUTPUTS))
    with pytest.raises(InputError, match="with 1 of the student's 1 and the teacher's 1 views shared there are none"):
        loss(draw(1, BATCH, OUTPUTS), draw(1, BATCH, OUTPUTS), 1)
    with pytest.raises(InputError, match="centre_momentum must be a number >= 0 and <= 1, not 2"):
        DINOLoss(OUTPUTS, centre_momentum=2)
