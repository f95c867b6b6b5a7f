"""Length-aware batches."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from wespk.embedding.batching import length_batches, share

LENGTHS = st.lists(st.integers(1, 3000), max_size=200)


@given(LENGTHS, st.integers(1, 5000), st.floats(0.0, 0.9))
def test_every_utterance_is_in_one_batch_and_the_bounds_hold(lengths, max_frames, max_waste):
    batches = length_batches(lengths, max_frames, max_waste)
    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    for batch in batches:
        inside = [lengths[i] for i in batch]
        computed = len(inside) * max(inside)
        assert len(inside) == 1 or computed <= max_frames
        assert 1 - sum(inside) / computed <= max_waste + 1e-12


def test_a_batch_takes_as_many_utterances_as_the_bounds_allow():
    assert [list(b) for b in length_batches([100, 100, 95, 90, 60], 400)] == [[0, 1, 2, 3], [4]]
    assert [list(b) for b in length_batches([100, 100, 95, 90, 60], 300)] == [[0, 1, 2], [3], [4]]
    # three at 100 and one at 60: 360 of 400 frames are speech, just 10 % padding; one more frame of it is too much
    assert [len(b) for b in length_batches([100, 100, 100, 60], 1000)] == [4]
    assert [len(b) for b in length_batches([100, 100, 100, 59], 1000)] == [3, 1]


def test_long_utterances_go_first_and_alone():
    assert [list(b) for b in length_batches([10, 5000, 4000, 10], 1000)] == [[1], [2], [0, 3]]


def test_equal_lengths_keep_their_order():
    assert [list(b) for b in length_batches([7] * 5, 14)] == [[0, 1], [2, 3], [4]]


def test_no_utterances_and_empty_utterances_are_no_special_case():
    assert length_batches([], 100) == []
    assert [list(b) for b in length_batches([0, 0], 100)] == [[0, 1]]


@given(st.integers(0, 50), st.integers(1, 9))
def test_jobs_share_the_items_out_evenly_whatever_their_number(items, num_jobs):
    parts = [share(list(range(items)), job, num_jobs) for job in range(1, num_jobs + 1)]
    assert sorted(item for part in parts for item in part) == list(range(items))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_a_million_lengths_are_batched_by_array_operations():
    lengths = np.random.default_rng(0).integers(200, 2000, 1_000_000)
    batches = length_batches(lengths, 60_000)
    assert sum(map(len, batches)) == len(lengths) and len(batches) < 100_000
