import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wespk.features.framing import num_frames, num_samples, reflect_index, window_function
from wespk.utils.errors import InputError


@given(st.integers(0, 3000), st.integers(2, 500), st.integers(1, 200))
def test_snipped_frames_are_those_that_fit(samples, length, shift):
    starts = [s for s in range(0, samples, shift) if s + length <= samples]
    assert num_frames(samples, length, shift) == len(starts)


@given(st.integers(1, 300), st.integers(2, 500), st.integers(1, 200), st.booleans())
def test_num_samples_is_the_fewest_that_make_the_frames(frames, length, shift, snip):
    least = num_samples(frames, length, shift, snip)
    assert num_frames(least, length, shift, snip) == frames
    assert num_frames(least - 1, length, shift, snip) == frames - 1


def test_reflection_repeats_the_edge_sample_and_turns_back_as_often_as_needed():
    index = reflect_index(3, length=12, shift=2)  # first frame starts at sample 1 - 6 = -5
    assert index[:8].tolist() == [1, 2, 2, 1, 0, 0, 1, 2]
    assert index.max() == 2 and len(index) == (2 - 1) * 2 + 12


def test_povey_window_is_zero_at_the_edges_and_hamming_is_not():
    assert window_function("povey", 400)[0] == 0
    assert window_function("hamming", 400)[0] == np.float32(0.08)


def test_unknown_window_is_refused_by_name():
    with pytest.raises(InputError, match="'gauss'.*povey"):
        window_function("gauss", 400)
