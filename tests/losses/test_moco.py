"""MoCo's loss against a loop, and its queue."""

import pytest
import torch

from tests.losses.loss_oracles import cosine_rows, cross_entropy
from wespk.losses.moco import MoCoLoss
from wespk.utils.errors import InputError

BATCH, DIM, QUEUE = 3, 4, 7


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def build(**options):
    loss = MoCoLoss(DIM, QUEUE, **options).double()
    loss.queue.copy_(torch.nn.functional.normalize(draw(QUEUE, DIM, seed=9)))
    return loss


def test_value_equals_a_loop():
    loss, queries, keys = build(temperature=0.2), draw(2, BATCH, DIM), draw(BATCH, DIM, seed=1)
    rows = []
    for view in queries:
        own, others = cosine_rows(view, keys), cosine_rows(view, loss.queue)
        rows += [[c / 0.2 for c in [own[i][i], *others[i]]] for i in range(BATCH)]
    assert loss(queries, keys).item() == pytest.approx(cross_entropy(rows, [0] * len(rows)), rel=1e-12)
    assert loss.stats["accuracy"].item() == pytest.approx(sum(row[0] == max(row) for row in rows) / len(rows))


def test_gradients_equal_finite_differences_and_none_reach_the_keys():
    loss, keys = build(temperature=0.5).eval(), draw(BATCH, DIM, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda q: loss(q, keys.detach()), draw(BATCH, DIM).requires_grad_())
    queries = draw(BATCH, DIM).requires_grad_()
    assert torch.autograd.grad(loss(queries, keys), [queries, keys], allow_unused=True)[1] is None


def test_the_queue_takes_keys_of_length_1_in_place_of_the_oldest():
    loss = build()
    keys = [draw(BATCH, DIM, seed=s) for s in range(3)]
    start = loss.queue.clone()
    for each in keys[:2]:
        loss(draw(BATCH, DIM), each)
    units = torch.nn.functional.normalize(torch.cat(keys), dim=1)
    torch.testing.assert_close(loss.queue, torch.cat([units[:6], start[6:]]))
    loss(draw(BATCH, DIM), keys[2])
    torch.testing.assert_close(loss.queue, torch.cat([units[7:], units[2:7]]))  # 9 keys in 7 places
    assert loss.place == 2


def test_a_batchs_own_keys_are_not_yet_in_its_queue_and_backward_sees_the_old_one():
    queries = draw(BATCH, DIM)
    results = []
    for training in (True, False):
        loss, x = build().train(training), queries.clone().requires_grad_()
        value = loss(x, queries)
        value.backward()
        results.append((value.detach(), x.grad))
        assert loss.place == (BATCH if training else 0)
    torch.testing.assert_close(results[0], results[1])


def test_the_state_dict_carries_the_queue():
    first, second = build(), MoCoLoss(DIM, QUEUE).double()
    first(draw(BATCH, DIM), draw(BATCH, DIM, seed=1))
    second.load_state_dict(first.state_dict())
    for loss in (first, second):
        loss(draw(BATCH, DIM), draw(BATCH, DIM, seed=3))
    assert torch.equal(first.queue, second.queue) and first.place == second.place == 6


def test_keys_of_all_processes_go_into_the_queue():
    whole, part, keys = build(), build(), draw(5, DIM, seed=1)
    whole(draw(5, DIM), keys)
    rest = torch.nn.functional.normalize(keys[2:], dim=1)
    part(draw(2, DIM), keys[:2], lambda mine: torch.cat([mine, rest]))
    torch.testing.assert_close(part.queue, whole.queue)


def test_autocast_changes_nothing_and_unfit_input_is_refused():
    queries, keys = draw(BATCH, DIM).float(), draw(BATCH, DIM, seed=1).float()
    with torch.autocast("cpu", torch.bfloat16):
        value = build().float()(queries, keys)
    assert torch.equal(value, build().float()(queries, keys))
    with pytest.raises(InputError, match=r"not \(3, 4\) and \(2, 4\)"):
        build()(draw(BATCH, DIM), draw(2, DIM))
    with pytest.raises(InputError, match="9 keys do not fit into a queue of 7: set a larger queue_size"):
        build()(draw(9, DIM), draw(9, DIM))
