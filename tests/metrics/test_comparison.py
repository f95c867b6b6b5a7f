"""Comparison of systems over seeds: against slow versions, known differences, none, and coverage of the intervals."""

import numpy as np
import pytest

from tests.metrics.test_bootstrap import list_of_speakers
from wespk.metrics import eer, min_dcf
from wespk.metrics.bootstrap import SpeakerDraw, interval, link, paired_test, resample, unlink
from wespk.metrics.comparison import compare_scores, compare_values, holm
from wespk.metrics.measures import Measure
from wespk.utils.errors import InputError
from wespk.utils.seed import generator

NAMES = ["eer", "min_dcf_0.01", "min_dcf_0.05", "overlap"]


def seeds_of(scores, labels, draw, shift=0.0, spread=0.3, seeds=3):
    """Score vectors of so many trainings of one system: noise of their own, targets moved by ``shift``."""
    return [scores + shift * labels + spread * draw.normal(size=len(labels)) for _ in range(seeds)]


def test_figures_are_those_of_a_slow_version():
    draw = np.random.default_rng(0)
    scores, labels, *speakers = list_of_speakers(draw, 20, 500)
    systems = {"a": seeds_of(scores, labels, draw), "b": seeds_of(scores, labels, draw, 0.5)}
    found = compare_scores(systems, labels, speakers, "a", num_resamples=60, seed=5)
    noise = generator(5, "seeds").standard_t(2, 60)
    offset = 0.5 / min(labels.sum(), (1 - labels).sum())
    resampled, values = {}, {}
    for name, of_seeds in systems.items():
        values[name] = np.array([eer(s, labels) for s in of_seeds])
        measures = [Measure(s, labels) for s in of_seeds]
        drawn = [r[:, 0] for r in resample(measures, SpeakerDraw(*speakers, labels), 60, 5)]
        resampled[name] = np.mean(drawn, axis=0)
        entry = found[name]["eer"]
        assert entry["values"] == pytest.approx(values[name])
        assert (entry["mean"], entry["sd"]) == pytest.approx((values[name].mean(), values[name].std(ddof=1)))
        error = link(values[name], offset).std(ddof=1) / np.sqrt(3)
        moved = unlink(link(resampled[name], offset) + noise * error, offset)
        assert entry["interval"] == pytest.approx(interval(entry["mean"], moved, 2 * offset))
    differences = values["b"] - values["a"]
    moved = resampled["b"] - resampled["a"] + noise * differences.std(ddof=1) / np.sqrt(3)
    versus = found["b"]["eer"]["versus"]
    low, high, p = paired_test(np.zeros(60), moved)
    assert (*versus["interval"], versus["p"]) == pytest.approx((low, high, p))
    assert versus["difference"] == pytest.approx(differences.mean())
    assert found["b"]["min_dcf_0.01"]["values"] == pytest.approx([min_dcf(s, labels) for s in systems["b"]])
    assert list(found["a"]) == NAMES and found["a"]["eer"]["versus"] is None


def test_one_seed_is_the_plain_bootstrap():
    scores, labels, *speakers = list_of_speakers(np.random.default_rng(2), 20, 500)
    entry = compare_scores({"a": [scores]}, labels, speakers, "a", num_resamples=50, seed=42)["a"]["eer"]
    (resampled,) = resample([Measure(scores, labels)], SpeakerDraw(*speakers, labels), 50, 42)
    ends = interval(eer(scores, labels), resampled[:, 0], 1 / min(labels.sum(), (1 - labels).sum()))
    assert entry["interval"] == pytest.approx(ends) and entry["sd"] is None


def test_identical_systems_differ_by_nothing_with_p_one():
    draw = np.random.default_rng(3)
    scores, labels, *speakers = list_of_speakers(draw, 20, 500)
    one = seeds_of(scores, labels, draw)
    found = compare_scores({"a": one, "same": list(one)}, labels, speakers, "a", num_resamples=50)
    for name in NAMES:
        assert found["same"][name]["versus"] == {
            "reference": "a", "difference": 0, "interval": [0, 0], "p": 1, "p_holm": 1}  # fmt: skip


def test_a_known_shift_is_found_and_another_training_is_not():
    draw = np.random.default_rng(4)
    scores, labels, *speakers = list_of_speakers(draw, 60, 3000)
    systems = {"base": seeds_of(scores, labels, draw), "again": seeds_of(scores, labels, draw),
               "better": seeds_of(scores, labels, draw, 0.8), "worse": seeds_of(scores, labels, draw, -0.8)}  # fmt: skip
    found = {name: entry["eer"] for name, entry in
             compare_scores(systems, labels, speakers, "base", num_resamples=300).items()}  # fmt: skip
    assert found["better"]["versus"]["interval"][1] < 0 < found["worse"]["versus"]["interval"][0]
    assert max(found[name]["versus"]["p_holm"] for name in ("better", "worse")) < 0.05
    assert found["again"]["versus"]["p"] > 0.05
    assert found["base"]["mean"] == pytest.approx(np.mean([eer(s, labels) for s in systems["base"]]))


def test_intervals_cover_and_tests_keep_their_level_where_speakers_and_seeds_vary():
    draw = np.random.default_rng(6)

    def trained(scores, labels):  # three seeds, which move the targets
        return [scores + labels * draw.normal(0, 0.3) for _ in range(3)]

    big = [list_of_speakers(draw, 400, 20_000)[:2] for _ in range(25)]
    truth = np.mean([eer(s, labels) for scores, labels in big for s in trained(scores, labels)])
    covered = excluded = 0
    for seed in range(60):
        scores, labels, *speakers = list_of_speakers(draw, 60, 1500)
        systems = {name: trained(scores, labels) for name in "ab"}
        found = compare_scores(systems, labels, speakers, "a", (), 150, seed)
        low, high = found["a"]["eer"]["interval"]
        covered += low <= truth <= high
        excluded += found["b"]["eer"]["versus"]["p"] < 0.05
    assert covered >= 54  # of 60; 57 expected at least
    assert excluded <= 7  # 3 expected at most


@pytest.mark.parametrize("num_seeds", [2, 3, 5])
def test_where_seeds_alone_vary_intervals_cover_and_tests_keep_their_level(num_seeds):
    draw = np.random.default_rng(7)
    covered = excluded = 0
    for seed in range(400):
        values = {name: draw.normal(0.2, 0.02, (num_seeds, 1)) for name in "ab"}
        found = compare_values(values, "a", ["eer"], 1e-3, num_resamples=200, seed=seed)
        low, high = found["a"]["eer"]["interval"]
        covered += low <= 0.2 <= high
        excluded += found["b"]["eer"]["versus"]["p"] < 0.05
    assert covered >= 364  # of 400; 380 expected, standard deviation 4.4; drawing three seeds again gives about 300
    assert excluded <= 36  # 20 expected


def test_fine_tuned_systems_are_judged_seed_by_seed():
    """A steady gain over a baseline whose own seeds spread far more is seen."""
    base = np.array([[0.10], [0.14], [0.18]])
    values = {"base": base, "tuned": base - [[0.010], [0.011], [0.012]]}
    versus = compare_values(values, "base", ["eer"], 1e-3)["tuned"]["eer"]["versus"]
    assert versus["difference"] == pytest.approx(-0.011) and versus["p"] < 0.01 and versus["interval"][1] < 0


def test_fine_tuned_systems_are_compared_with_the_fine_tuned_baseline_and_with_themselves_before():
    draw = np.random.default_rng(9)
    values = {name: draw.normal(0.2, 0.02, (3, 1)) for name in ("a", "a-lm", "b", "b-lm")}
    tuned = {"a-lm": "a", "b-lm": "b"}
    found = {name: entry["eer"] for name, entry in compare_values(values, "a", ["eer"], 1e-3, tuned=tuned).items()}
    references = {family: {name: entry[family] and entry[family]["reference"] for name, entry in found.items()}
                  for family in ("versus", "fine_tuning")}  # fmt: skip
    assert references["versus"] == {"a": None, "a-lm": None, "b": "a", "b-lm": "a-lm"}
    assert references["fine_tuning"] == {"a": None, "a-lm": "a", "b": None, "b-lm": "b"}
    for family, reference in (("versus", "a-lm"), ("fine_tuning", "b")):
        gain = np.mean(values["b-lm"] - values[reference])
        assert found["b-lm"][family]["difference"] == pytest.approx(gain)
        tests = [entry[family] for entry in found.values() if entry[family]]
        assert [test["p_holm"] for test in tests] == pytest.approx(holm([test["p"] for test in tests]))
    values.pop("a-lm")
    assert compare_values(values, "a", ["eer"], 1e-3, tuned=tuned)["b-lm"]["eer"]["versus"]["reference"] == "a"
    values["a-lm"] = values.pop("a")
    versus = compare_values(values, "a-lm", ["eer"], 1e-3, tuned=tuned)["b"]["eer"]["versus"]
    assert versus["reference"] == "a-lm"


def test_one_seed_and_no_draws_of_speakers_tell_neither_interval_nor_p():
    found = compare_values({"a": np.array([[0.1]]), "b": np.array([[0.2]])}, "a", ["eer"], 1e-3)
    assert found["b"]["eer"] == {"values": [0.2], "mean": 0.2, "sd": None, "interval": None, "versus": None,
                               "fine_tuning": None}  # fmt: skip


def test_without_the_baseline_there_are_figures_and_no_tests():
    found = compare_values({"b": np.array([[0.1], [0.2]])}, "a", ["eer"], 1e-3)
    assert found["b"]["eer"]["versus"] is None and found["b"]["eer"]["interval"]


def test_the_result_depends_on_the_seed_alone_and_not_on_the_other_systems():
    draw = np.random.default_rng(8)
    scores, labels, *speakers = list_of_speakers(draw, 20, 400)
    systems = {name: seeds_of(scores, labels, draw) for name in "abc"}

    def result(names, seed):
        found = compare_scores({n: systems[n] for n in names}, labels, speakers, "a", num_resamples=40, seed=seed)
        return found["b"]["eer"]["interval"], found["b"]["eer"]["versus"]["interval"]

    assert result("abc", 1) == result("ab", 1) == result("ba", 1) != result("ab", 2)


def test_holm_corrects_step_by_step():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9, 0.001]) == pytest.approx([1.0, 1.0, 0.003])
    assert holm([]) == []


def test_systems_of_different_numbers_of_seeds_are_refused():
    with pytest.raises(InputError, match="different numbers of seeds"):
        compare_values({"a": np.ones((2, 1)), "b": np.ones((3, 1))}, "a", ["eer"], 1e-3)


def test_values_at_the_ends_and_two_wild_seeds_stay_in_range():
    found = compare_values({"a": np.array([[0.0], [1.0]]), "b": np.zeros((2, 1))}, "a", ["eer"], 1e-3)
    low, high = found["a"]["eer"]["interval"]
    assert 0 <= low < high <= 1 and found["b"]["eer"]["interval"] is None
