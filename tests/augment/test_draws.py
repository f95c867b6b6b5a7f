import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from wespk.augment.draws import below, between, distinct


@given(st.integers(1, 50), st.integers(0, 10**6))
def test_below_stays_below_and_reaches_both_ends(count, seed):
    drawn = below(np.arange(3000), count, seed)
    assert drawn.min() == 0 and drawn.max() == count - 1


def test_below_takes_a_count_for_each_item():
    counts = np.array([1, 5, 1000])
    assert (below(np.arange(3), counts, "x") < counts).all()


@settings(max_examples=20)
@given(st.integers(1, 12), st.integers(0, 10**6))
def test_distinct_numbers_are_distinct_and_even(number, seed):
    drawn = distinct(np.arange(2000), 12, number, seed)
    assert all(len(set(row)) == number for row in drawn.tolist())
    counts = np.bincount(drawn.ravel(), minlength=12)
    assert counts.min() > 0.6 * counts.mean() and len(counts) == 12


def test_between_covers_the_span():
    drawn = between(np.arange(5000), (-3, 15), 1)
    assert -3 <= drawn.min() < -2.9 and 14.9 < drawn.max() < 15


def test_a_draw_depends_on_index_and_key_not_on_its_neighbours():
    assert distinct(np.arange(9), 20, 3, 5, "a")[4].tolist() == distinct([4], 20, 3, 5, "a")[0].tolist()
    assert distinct([4], 20, 3, 5, "a").tolist() != distinct([4], 20, 3, 5, "b").tolist()
