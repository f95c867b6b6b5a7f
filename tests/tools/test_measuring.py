"""What benchmarks measure with: growth, sizes, rows, and processes of their own whose time and memory are told."""

import math
import multiprocessing
import sys
import time
from pathlib import Path

import pytest

from wespk.utils.errors import InputError

needs_proc = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peak memory is read from Linux's /proc")


@pytest.fixture
def measuring(bench):
    return bench("measuring")


def fill(megabytes):
    return len(bytearray(b"x" * (megabytes << 20))) >> 20


def sleep(seconds):
    time.sleep(seconds)


def start_method():
    return multiprocessing.get_start_method()


def fail():
    raise ValueError("a piece that fails")


def test_the_exponent_is_the_power_of_the_size(measuring):
    sizes = [10, 30, 100]
    assert measuring.growth(sizes, [3 * n**1.5 for n in sizes]) == pytest.approx(1.5)
    assert measuring.growth(sizes, [2.0, 2.0, 2.0]) == pytest.approx(0)
    # least squares, not the ends alone: log-sizes -1, 0, 2 and log-seconds 0, 1, 1
    assert measuring.growth([math.exp(x) for x in (-1, 0, 2)], [math.exp(y) for y in (0, 1, 1)]) == pytest.approx(2 / 7)
    assert math.isnan(measuring.growth([10], [1.0]))


def test_beyond_the_largest_size_the_power_between_the_two_largest_goes_on(measuring):
    assert measuring.extrapolate([10, 20, 40], [1, 4, 16], 20) == (4, False)
    assert measuring.extrapolate([10, 20, 40], [9, 4, 16], 80) == (pytest.approx(64), True)
    assert measuring.extrapolate([10, 20], [4, 4], 40) == (pytest.approx(4 * 2**0.9), True)


def test_sizes_rise_and_are_numbers(measuring):
    assert measuring.sizes("1e3,2000") == [1000, 2000]
    for text in ("3,2", "5,5", "0,1", "many"):
        with pytest.raises(InputError, match=text):
            measuring.sizes(text)


@needs_proc
def test_memory_and_answer_of_a_process_of_its_own(measuring):
    small, large = (measuring.apart(fill, megabytes) for megabytes in (1, 60))
    assert (small.found, large.found) == (1, 60)
    assert small.peak < 30 << 20 and 60 << 20 <= large.peak < 200 << 20
    waiting = measuring.apart(sleep, 0.3)
    assert waiting.wall >= 0.3 > waiting.cpu


@needs_proc
def test_a_piece_starts_processes_of_its_own_as_a_command_would(measuring):
    assert measuring.apart(start_method).found == start_method() != "spawn"


@needs_proc
def test_a_piece_that_fails_is_an_error_that_names_it(measuring, capfd):
    with pytest.raises(InputError, match="fail ended with status 1"):
        measuring.apart(fail)
    assert "a piece that fails" in capfd.readouterr().err


def test_a_command_does_not_count_the_memory_of_who_measures_it(measuring):
    ballast = bytearray(b"x" * (150 << 20))
    measured = measuring.command([sys.executable, "-S", "-c", "print('one'); print('two')"])
    assert measured.found == "one\ntwo" and measured.peak < len(ballast) / 3
    with pytest.raises(InputError, match="status 3"):
        measuring.command([sys.executable, "-S", "-c", "raise SystemExit(3)"])


@needs_proc
def test_sides_take_turns_after_a_call_that_does_not_count(measuring):
    calls = []
    spent = measuring.turns({"a": lambda: calls.append("a") or len(calls), "b": lambda: calls.append("b")}, rounds=2)
    assert "".join(calls) == "ababab" and spent["a"].found == 1
    assert measuring.turns({"a": lambda: fill(60)}, rounds=0)["a"].peak >= 60 << 20
    assert [len(x) for side in spent.values() for x in side[:2]] == [2, 2, 2, 2]


def test_rows_compare_with_the_first_side_and_tell_the_growth_of_each(measuring, capsys):
    rows = measuring.Rows("trials")
    for size in (10, 20, 40):
        rows.add(size, "plain", measuring.Spent([9.0, 9.0], [size**2 / 1000, 9.0], None), peak=5_000_000)
        rows.add(size, "ours", measuring.Measured(9.0, size / 1000, 7_000_000), note="equal")
    head, *lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert head[0] == "trials" and head[-1] == "exponent"
    assert lines[0][-1] == "-" and lines[0][6] == "5" and lines[1][6:] == ["7", "-", "equal"]
    assert lines[4][:2] == ["40", "plain"] and lines[4][-1] == "2.00" and lines[5][-2:] == ["1.00", "equal"]
    assert [line[5] for line in lines] == ["1.00", "10.00", "1.00", "20.00", "1.00", "40.00"]
