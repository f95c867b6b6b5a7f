"""Batches of speakers x utterances: what a step holds, what an epoch visits, and that it repeats."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wespk.data.group_sampler import GroupPlan
from wespk.utils.errors import InputError


def labels_of(counts):
    """Labels in which speaker i has counts[i] items, shuffled."""
    return np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts))


def steps_of(plan, epoch):
    return [np.concatenate(plan.step(epoch, s)[0]) for s in range(plan.steps_per_epoch)]


@settings(max_examples=80, deadline=None)
@given(st.lists(st.integers(1, 30), min_size=8, max_size=40), st.integers(2, 4), st.integers(4, 12))
def test_steps_hold_m_items_of_each_speaker_and_no_item_comes_twice(counts, utterances, speakers):
    labels = labels_of(counts)
    try:
        plan = GroupPlan(labels, utterances, speakers * utterances, seed=3)
    except InputError:
        assert sum(c >= utterances for c in counts) < speakers
        return
    for epoch in (0, 5):
        steps = steps_of(plan, epoch)
        for items in steps:
            rows = labels[items].reshape(-1, utterances)
            assert (rows == rows[:, :1]).all() and len(np.unique(rows[:, 0])) == len(rows) <= speakers
        sizes = [len(items) for items in steps]
        assert max(sizes) - min(sizes) <= utterances
        seen = np.concatenate(steps)
        assert len(np.unique(seen)) == len(seen) == plan.num_items


@settings(max_examples=300, deadline=None)
@given(st.lists(st.integers(0, 40), min_size=1, max_size=30), st.integers(1, 12))
def test_there_are_as_many_steps_as_the_groups_fill_and_one_for_a_rest(counts, wanted):
    steps, given_in = 1, lambda number: sum(min(count, number) for count in counts)  # of each speaker one a step
    while steps * wanted < given_in(steps) or given_in(steps + 1) >= (steps + 1) * wanted:
        steps += 1
    assert GroupPlan._steps(np.array(counts), wanted) == steps


def test_equal_speakers_are_all_visited_in_full_steps():
    plan = GroupPlan(labels_of([10] * 12), 2, 24)
    assert plan.steps_per_epoch == 5 and plan.num_items == 120
    assert [len(items) for items in steps_of(plan, 0)] == [24] * 5
    plan = GroupPlan(labels_of([10] * 100), 2, 24)
    assert plan.num_items == 1000 and plan.steps_per_epoch == 42  # 500 groups in steps of 12


def test_items_left_out_change_from_epoch_to_epoch():
    plan = GroupPlan(labels_of([5] * 10), 2, 8)
    assert plan.num_items == 40
    missing = [set(range(50)) - set(np.concatenate(steps_of(plan, e))) for e in range(3)]
    assert all(len(m) == 10 for m in missing) and missing[0] != missing[1] != missing[2]


@pytest.mark.parametrize("world, accumulate", [(1, 2), (2, 1), (2, 2)])
def test_processes_and_micro_batches_share_out_whole_groups_of_the_same_step(world, accumulate):
    labels = labels_of([6] * 15)
    whole = GroupPlan(labels, 3, 30, seed=1)
    shared = [GroupPlan(labels, 3, 30, accumulate, 1, rank, world) for rank in range(world)]
    for step in range(whole.steps_per_epoch):
        pieces = [piece for plan in shared for piece in plan.step(4, step)[0]]
        assert np.array_equal(np.concatenate(pieces), whole.step(4, step)[0][0])
        assert len(pieces) == world * accumulate and all(len(p) % 3 == 0 and len(p) >= 6 for p in pieces)


def test_any_step_can_be_made_without_those_before_it():
    labels = labels_of([7] * 20)
    plan = GroupPlan(labels, 2, 16, accumulate=2, seed=9)
    full = [items for _, items, _ in plan.micro_batches(0, 12)]
    resumed = [items for _, items, _ in GroupPlan(labels, 2, 16, accumulate=2, seed=9).micro_batches(7, 12)]
    assert all(np.array_equal(a, b) for a, b in zip(full[14:], resumed, strict=True))
    epochs, sizes = zip(*((e, size) for e, _, size in plan.micro_batches(0, 12)))
    assert set(epochs) == {0, 1} and all(size <= 16 for size in sizes)
    other = GroupPlan(labels, 2, 16, accumulate=2, seed=10)
    assert not np.array_equal(other.order(0), plan.order(0)) and not np.array_equal(plan.order(1), plan.order(0))


@pytest.mark.parametrize("counts, batch_size, pieces, message", [
    ([4] * 5 + [1] * 9, 16, 1, ("5 speakers have 2 utterances or more, and a batch of 16 takes 8: .*"
                                r"\(loss.utterances; of the contrastive objective, objective.utterances\)")),
    ([4] * 9, 6, 2, "batch_size 6 is 3 speakers x 2 utterances, too few for two speakers in each of 2"),
    ([4] * 9, 1, 1, "batch_size 1 is 0 speakers"),
])
def test_unfit_batches_are_refused(counts, batch_size, pieces, message):
    with pytest.raises(InputError, match=message):
        GroupPlan(labels_of(counts), 2, batch_size, accumulate=pieces)
