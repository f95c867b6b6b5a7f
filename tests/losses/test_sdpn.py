"""SDPN's losses against the formulas in plain Python, the properties of its assignments, and where gradients go."""

import math

import pytest
import torch

from tests.losses import sdpn_oracles as oracle
from wespk.losses import build_loss
from wespk.losses.sdpn import SDPNLoss, sinkhorn
from wespk.utils.errors import InputError

VIEWS, BATCH, DIM, COUNT = 3, 5, 4, 7


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def build(count=COUNT, dim=DIM, **options):
    torch.manual_seed(1)
    return SDPNLoss(dim, count, **options).double()


@pytest.mark.parametrize("options", [{}, {"temperature": 0.3, "sharpen": 0.5, "sinkhorn_iters": 1}, {"sharpen": 1},
                                     {"sinkhorn_iters": 0}])
def test_value_and_gradients_equal_the_formulas(options):
    loss, student, teacher = build(**options), draw(VIEWS, BATCH, DIM), draw(BATCH, DIM, seed=1)
    temperature = options.get("temperature", 0.1)
    prototypes = loss.prototypes.tolist()
    targets = oracle.targets(teacher.tolist(), prototypes, temperature, options.get("sharpen", 0.25),
                             options.get("sinkhorn_iters", 3))
    torch.testing.assert_close(loss.targets(teacher), torch.tensor(targets, dtype=torch.float64), rtol=1e-11, atol=1e-14)
    values = loss(student.requires_grad_(), teacher)
    expected = oracle.losses(student.tolist(), targets, prototypes, temperature)
    assert [v.item() for v in values] == pytest.approx(expected, rel=1e-11, abs=1e-13)

    def change(tensor, place, step):
        """Both formulas after one number is moved; the targets stay."""
        moved = tensor.detach().clone()
        moved[place] += step
        x, q = (moved, loss.prototypes) if tensor is student else (student, moved)
        return oracle.losses(x.tolist(), targets, q.tolist(), temperature)

    for i, value in enumerate(values):
        for tensor, place in ((student, (2, 3, 1)), (student, (0, 0, 0)), (loss.prototypes, (5, 2)), (loss.prototypes, (0, 3))):
            gradient, = torch.autograd.grad(value, tensor, retain_graph=True)
            slope = (change(tensor, place, 1e-6)[i] - change(tensor, place, -1e-6)[i]) / 2e-6
            assert gradient[place].item() == pytest.approx(slope, rel=1e-6, abs=1e-8)


def test_float32_at_the_published_size_is_within_a_millionth_of_float64():
    wide = build(1024, 256)
    base = draw(96, 256)  # views of an utterance lie near each other, and near its global view
    student, teacher = (base + 0.5 * draw(4, 96, 256, seed=1)), base + 0.5 * draw(96, 256, seed=2)
    results = []
    for dtype in (torch.float64, torch.float32):
        loss, x = build(1024, 256).to(dtype), student.to(dtype, copy=True).requires_grad_()
        loss.load_state_dict({"prototypes": wide.prototypes.detach()})
        values = loss(x, teacher.to(dtype))
        sum(values).backward()
        results.append((*(v.detach().double() for v in values), x.grad.double(), loss.prototypes.grad.double()))
    torch.testing.assert_close(results[1][:2], results[0][:2], rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(results[1][2:], results[0][2:], rtol=1e-4, atol=1e-8)


def test_sharpening_is_a_softmax_of_lower_temperature():
    u = torch.softmax(draw(COUNT) / 0.1, 0).tolist()
    assert oracle.sharpen(u, 0.25) == pytest.approx(torch.softmax(draw(COUNT) / 0.025, 0).tolist(), rel=1e-10)
    teacher = draw(BATCH, DIM)
    sharp, low = build(temperature=0.4, sharpen=0.25), build(temperature=0.1, sharpen=1)
    torch.testing.assert_close(sharp.targets(teacher), low.targets(teacher))


@pytest.mark.parametrize("batch", [2, 5, 7, 40])
def test_sinkhorn_rows_sum_to_1_and_columns_come_near_to_equal_shares(batch):
    scores = torch.softmax(draw(batch, COUNT), 1)
    few, many = sinkhorn(scores), sinkhorn(scores, 200)
    for assigned in (few, many):
        torch.testing.assert_close(assigned.sum(1), torch.ones(batch, dtype=torch.float64), rtol=1e-14, atol=0)
    torch.testing.assert_close(many.sum(0), torch.full((COUNT,), batch / COUNT, dtype=torch.float64), rtol=1e-6, atol=0)
    assert (few.sum(0) - batch / COUNT).abs().max() < (scores.sum(0) - batch / COUNT).abs().max()


def test_sinkhorn_keeps_what_is_balanced_and_makes_one_row_uniform():
    uniform = torch.full((BATCH, COUNT), 1 / COUNT, dtype=torch.float64)
    torch.testing.assert_close(sinkhorn(uniform), uniform)
    torch.testing.assert_close(sinkhorn(torch.eye(4)), torch.eye(4, dtype=torch.float64))
    torch.testing.assert_close(sinkhorn(draw(1, COUNT).exp()), uniform[:1])


def test_sinkhorn_stays_finite_with_a_prototype_out_of_reach():
    scores = torch.softmax(draw(BATCH, COUNT), 1)
    scores[:, 2] = 0
    assigned = sinkhorn(scores)
    assert (assigned[:, 2] == 0).all() and assigned.isfinite().all()
    torch.testing.assert_close(assigned.sum(1), torch.ones(BATCH, dtype=torch.float64))


def test_me_max_is_0_of_a_uniform_mean_and_log_k_of_one_prototype():
    loss = SDPNLoss(COUNT, COUNT, temperature=0.01).double()
    loss.prototypes.data = torch.eye(COUNT, dtype=torch.float64)
    everyone = torch.eye(COUNT, dtype=torch.float64)[None]
    assert loss(everyone, everyone[0])[1].item() == pytest.approx(0, abs=1e-12)
    same = everyone[:, :1].expand(-1, COUNT, -1)
    assert loss(same, everyone[0])[1].item() == pytest.approx(math.log(COUNT), rel=1e-12)


def test_cross_entropy_is_0_of_equal_certain_assignments_and_log_k_of_uniform_ones():
    loss = SDPNLoss(COUNT, COUNT, temperature=0.01).double()
    loss.prototypes.data = torch.eye(COUNT, dtype=torch.float64)
    everyone = torch.eye(COUNT, dtype=torch.float64)
    assert loss(everyone.expand(2, -1, -1), everyone)[0].item() == pytest.approx(0, abs=1e-12)
    assert loss(torch.ones(2, COUNT, COUNT, dtype=torch.float64), everyone)[0].item() == pytest.approx(math.log(COUNT), rel=1e-12)
    assert math.log(1024) == pytest.approx(6.931, abs=1e-3)


def test_the_teacher_gives_no_gradient_to_prototypes_or_itself():
    loss, teacher = build(), draw(BATCH, DIM, seed=1).requires_grad_()
    assert not loss.targets(teacher).requires_grad
    student = draw(VIEWS, BATCH, DIM)
    value = loss(student, teacher)[0]
    by_prototypes, by_teacher = torch.autograd.grad(value, [loss.prototypes, teacher], allow_unused=True)
    assert by_teacher is None
    fixed = loss.targets(teacher)
    copy = loss.prototypes.detach().clone().requires_grad_()
    units = torch.nn.functional.normalize(student, dim=-1) @ torch.nn.functional.normalize(copy).T
    by_student_alone, = torch.autograd.grad(-(fixed * (units / 0.1).log_softmax(-1)).sum(-1).mean(), copy)
    torch.testing.assert_close(by_prototypes, by_student_alone)


def test_several_global_views_count_as_the_mean_over_pairs_of_views():
    loss, student, teacher = build(), draw(VIEWS, BATCH, DIM), draw(2, BATCH, DIM, seed=1)
    pairs = [loss(view[None], one)[0] for view in student for one in teacher]
    torch.testing.assert_close(loss(student, teacher)[0], sum(pairs) / len(pairs))
    torch.testing.assert_close(loss(student, teacher[:1]), loss(student, teacher[0]))


def test_neither_length_of_outputs_nor_of_prototypes_matters():
    loss, student, teacher = build(), draw(VIEWS, BATCH, DIM), draw(BATCH, DIM, seed=1)
    before = loss(student, teacher)
    loss.prototypes.data *= 3
    torch.testing.assert_close(loss(student * 0.1, teacher * 7), before)


def test_extreme_temperatures_keep_values_and_gradients_finite():
    """A prototype's probability is 0 in float32 for every row: log(p ** -t) and -p log p would be NaN."""
    loss = SDPNLoss(DIM, COUNT, temperature=1e-3)
    student = draw(VIEWS, BATCH, DIM).float().requires_grad_()
    values = loss(student, draw(BATCH, DIM, seed=1).float())
    sum(values).backward()
    assert all(v.isfinite() for v in values) and student.grad.isfinite().all() and loss.prototypes.grad.isfinite().all()


def test_autocast_changes_nothing():
    loss, student, teacher = build().float(), draw(VIEWS, BATCH, DIM).float(), draw(BATCH, DIM, seed=1).float()
    with torch.autocast("cpu", torch.bfloat16):
        values = loss(student, teacher)
    assert values == loss(student, teacher) and values[0].dtype == torch.float32


def test_prototypes_start_uniform_and_are_never_decayed():
    torch.manual_seed(0)
    loss = SDPNLoss(256, 1024)
    assert loss.prototypes.abs().max() <= 1 / 16 and loss.prototypes.std().item() == pytest.approx(1 / 16 / 3**0.5, rel=0.01)
    assert loss.undecayed == ("prototypes",) and list(loss.state_dict()) == ["prototypes"]


def test_statistics_are_those_of_the_targets():
    loss, teacher = build(), draw(BATCH, DIM, seed=1)
    loss(draw(VIEWS, BATCH, DIM), teacher)
    targets = loss.targets(teacher).tolist()
    assert loss.stats["prototypes_used"] == len({row.index(max(row)) for row in targets})
    assert loss.stats["max_target"].item() == pytest.approx(sum(map(max, targets)) / BATCH)
    entropies = [-sum(t * math.log(t) for t in row) for row in targets]
    assert loss.stats["target_entropy"].item() == pytest.approx(sum(entropies) / BATCH)


def test_options_out_of_range_and_unfit_shapes_are_refused():
    for options, message in (({"num_prototypes": 1}, "num_prototypes must be an integer >= 2, not 1"),
                             ({"temperature": 0}, "temperature must be a number > 0, not 0"),
                             ({"sharpen": 1.5}, "sharpen must be at most 1"),
                             ({"sinkhorn_iters": -1}, "sinkhorn_iters must be an integer >= 0, not -1")):
        with pytest.raises(InputError, match=message):
            SDPNLoss(**{"dim": DIM, "num_prototypes": COUNT, **options})
    loss = build()
    with pytest.raises(InputError, match=r"student's outputs \(views, batch, 4\), not \(5, 4\)"):
        loss(draw(BATCH, DIM), draw(BATCH, DIM))
    with pytest.raises(InputError, match=r"teacher's outputs \(5, 4\) of the same utterances.* not \(6, 4\)"):
        loss(draw(VIEWS, BATCH, DIM), draw(6, DIM))


def test_it_is_found_by_name_with_its_own_arguments():
    torch.manual_seed(1)
    loss = build_loss({"name": "sdpn", "num_prototypes": COUNT, "temperature": 0.2, "sharpen": 0.5, "sinkhorn_iters": 1}, DIM, 99)
    same = build(temperature=0.2, sharpen=0.5, sinkhorn_iters=1).float()
    student, teacher = draw(VIEWS, BATCH, DIM).float(), draw(BATCH, DIM, seed=1).float()
    assert loss(student, teacher) == same(student, teacher) and loss.prototypes.shape == (COUNT, DIM)
    assert build_loss({"name": "sdpn"}, DIM, None).num_prototypes == 1024
    with pytest.raises(InputError, match="loss 'sdpn' has no option 'prototypes'"):
        build_loss({"name": "sdpn", "prototypes": 3}, DIM, None)
