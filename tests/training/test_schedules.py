"""Learning-rate and margin schedules against the published recipe's formulas."""

import itertools
import math

import numpy as np
import pytest

from wespk.training.schedules import learning_rate, margin, teacher_momentum, teacher_temperature


def test_exponential_schedule_runs_from_first_to_last_rate():
    assert learning_rate(0, 100, "exponential", 0.1, 5e-5) == pytest.approx(0.1)
    assert learning_rate(100, 100, "exponential", 0.1, 5e-5) == pytest.approx(5e-5)
    assert learning_rate(50, 100, "exponential", 0.1, 5e-5) == pytest.approx(math.sqrt(0.1 * 5e-5))


def test_cosine_schedule_is_half_way_at_half_time():
    assert learning_rate(0, 100, "cosine", 0.2, 0.0) == pytest.approx(0.2)
    assert learning_rate(50, 100, "cosine", 0.2, 0.1) == pytest.approx(0.15)
    assert learning_rate(100, 100, "cosine", 0.2, 0.1) == pytest.approx(0.1)


def test_warm_up_is_linear_never_zero_and_ends():
    rates = [learning_rate(s, 1000, "constant", 1.0, 0.0, 10) for s in range(12)]
    assert rates == pytest.approx([*(s / 10 for s in range(1, 11)), 1.0, 1.0])


def test_a_cosine_after_the_warm_up_is_that_of_dino_and_sdpn():
    """numpy.linspace(0, lr, warm-up) and then half a cosine over the steps that are left."""
    total, warm, lr, final = 60, 7, 0.6, 1e-5
    left = total - warm
    published = [*np.linspace(0, lr, warm), *(final + 0.5 * (lr - final) * (1 + np.cos(np.pi * np.arange(left) / left)))]
    ours = [learning_rate(step, total, "cosine_after_warmup", lr, final, warm) for step in range(total)]
    assert ours == pytest.approx(published, rel=1e-12) and (ours[0], ours[warm - 1], ours[warm]) == (0, lr, lr)
    assert learning_rate(total, total, "cosine_after_warmup", lr, final, warm) == pytest.approx(final)
    assert learning_rate(0, total, "cosine_after_warmup", lr, final) == lr  # without a warm-up there is none


def test_exponential_margin_follows_the_published_formula():
    start, end, first, last = 20, 40, 0.0, 0.2
    for step in (20, 25, 39):
        k = step - start
        expected = first + (last - first) * (1 - math.exp(k / (end - start) * math.log(1e-3 / (1 + 1e-6))))
        assert margin(step, first, last, start, end) == pytest.approx(expected, abs=1e-6)
    assert margin(19, first, last, start, end) == first
    assert margin(40, first, last, start, end) == last


def test_linear_margin_and_a_margin_without_a_ramp():
    assert margin(30, 0.0, 0.2, 20, 40, "linear") == pytest.approx(0.1)
    assert margin(0, 0.1, 0.5, 0, 0) == 0.5


def test_an_unknown_schedule_is_refused():
    with pytest.raises(ValueError, match="unknown schedule"):
        learning_rate(0, 1, "step", 0.1, 0.01)


def test_teacher_momentum_is_the_published_cosine():
    total = 1000
    published = [1 - 0.5 * (1 - 0.996) * (1 + math.cos(math.pi * i / total)) for i in range(total)]
    ours = [teacher_momentum(step, total) for step in range(total)]
    assert ours == pytest.approx(published, abs=1e-15)
    assert (ours[0], teacher_momentum(total, total)) == (0.996, 1.0)
    assert all(0.996 <= a < b <= 1 for a, b in itertools.pairwise(ours))
    assert teacher_momentum(3, 10, 0.99, 0.99) == pytest.approx(0.99)


def test_teacher_temperature_grows_linearly_and_stays():
    assert [teacher_temperature(s, 4) for s in range(6)] == pytest.approx([0.04, 0.0475, 0.055, 0.0625, 0.07, 0.07])
    assert teacher_temperature(0, 0, 0.05, 0.06) == 0.06
