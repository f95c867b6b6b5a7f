"""Batches: each item once an epoch, whatever the number of processes, micro-batches and restarts."""

import threading
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wespk.data.group_sampler import GroupPlan
from wespk.data.sampler import EpochPlan
from wespk.utils.errors import InputError


def items_of(plan, epoch):
    return [np.concatenate(plan.step(epoch, s)[0]) for s in range(plan.steps_per_epoch)]


@settings(max_examples=60, deadline=None)
@given(st.integers(16, 400), st.integers(4, 64), st.integers(1, 2), st.integers(1, 2))
def test_an_epoch_visits_each_item_once(num_items, batch_size, accumulate, world):
    try:
        plans = [EpochPlan(num_items, batch_size, accumulate, 5, r, world) for r in range(world)]
    except InputError:
        sizes = num_items // -(-num_items // batch_size)
        assert sizes // (accumulate * world) < 2
        return
    for epoch in (0, 3):
        seen = np.concatenate([np.concatenate(items_of(p, epoch)) for p in plans])
        assert np.array_equal(np.sort(seen), np.arange(num_items))
    sizes = [size for _, _, size in plans[0].micro_batches(0, plans[0].steps_per_epoch)]
    assert max(sizes) <= batch_size and max(sizes) - min(sizes) <= 1


def test_ranks_share_the_very_batches_of_one_process():
    one = EpochPlan(100, 16, 1, 9)
    two = [EpochPlan(100, 16, 2, 9, r, 2) for r in range(2)]
    for step in range(one.steps_per_epoch):
        together = np.concatenate([np.concatenate(p.step(4, step)[0]) for p in two])
        assert np.array_equal(together, one.step(4, step)[0][0])


def test_order_changes_with_epoch_and_seed_and_repeats_otherwise():
    plan = EpochPlan(50, 10, 1, 1)
    assert not np.array_equal(plan.order(0), plan.order(1))
    assert not np.array_equal(plan.order(0), EpochPlan(50, 10, 1, 2).order(0))
    assert np.array_equal(plan.order(0), EpochPlan(50, 10, 1, 1).order(0))


def test_a_stream_begun_in_the_middle_goes_on_as_the_whole_would():
    plan = EpochPlan(30, 8, 2, 1)
    whole = list(plan.micro_batches(0, 12))
    rest = list(EpochPlan(30, 8, 2, 1).micro_batches(5, 12))
    assert len(rest) == len(whole[10:])
    for (e1, i1, n1), (e2, i2, n2) in zip(whole[10:], rest, strict=True):
        assert (e1, n1) == (e2, n2) and np.array_equal(i1, i2)


@pytest.mark.parametrize("make", [lambda: EpochPlan(30, 8, 2, 1), lambda: GroupPlan(np.arange(40) % 8, 2, 8, 2, 1)])
def test_the_next_epochs_order_is_drawn_beside_the_steps_of_this_one_and_none_beyond_the_last(make):
    plan, drawn = make(), []
    each, draw = plan.steps_per_epoch, plan._draw

    def noted(epoch):
        drawn.append((epoch, threading.current_thread() is threading.main_thread()))
        return draw(epoch)

    plan._draw = noted
    batches = plan.micro_batches(2, 3 * each - 1)
    found, limit = [next(batches)], time.monotonic() + 20
    while len(drawn) < 2 and time.monotonic() < limit:
        time.sleep(0.001)
    assert drawn == [(0, True), (1, False)]
    found += batches
    assert drawn == [(0, True), (1, False), (2, False)]
    alone = make()
    wanted = [(s // each, items) for s in range(2, 3 * each - 1) for items in alone.step(*divmod(s, each))[0]]
    for (epoch, items, _), (wanted_epoch, wanted_items) in zip(found, wanted, strict=True):
        assert epoch == wanted_epoch and np.array_equal(items, wanted_items)


def test_a_micro_batch_of_one_is_refused_with_the_way_out():
    with pytest.raises(InputError, match="raise train.batch_size"):
        EpochPlan(100, 4, 4)
