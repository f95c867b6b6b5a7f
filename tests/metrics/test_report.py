"""What is reported about systems: numbers, table, notes, expectation, charts and page."""

import json
import re

import numpy as np
import pytest

from wespk.metrics import act_dcf, cllr, eer, min_cllr, min_dcf, overlap, report
from wespk.metrics.det import det_curve, split
from wespk.metrics.evaluate import DET_POINTS, evaluate, histogram
from wespk.metrics.page import det_of, page
from wespk.metrics.plots import det_png
from wespk.utils.errors import InputError


@pytest.fixture(scope="module")
def trials():
    """(labels, speakers, {name: scores}) of a list of 24 speakers."""
    draw = np.random.default_rng(0)
    enroll, other = draw.integers(24, size=(2, 900))
    test = np.where(draw.random(900) < 0.4, enroll, other)
    labels = (enroll == test).astype(int)
    first = 2.5 * labels + draw.normal(size=900)
    return labels, (enroll, test), {"cosine": first, "llr": first * 2 - 3 + draw.normal(size=900)}


@pytest.fixture(scope="module")
def results(trials):
    labels, speakers, scores = trials
    systems = [("cosine", scores["cosine"], False), ("<fused>.llr", scores["llr"], True)]
    found = evaluate(systems, labels, speakers, (0.01, 0.1), num_resamples=50, seed=1)
    bootstrap = {"resamples": 50, "seed": 1, "level": 0.95}
    lists = [{"name": "O & E", "speakers_from": "from utt2spk", **found}]
    return {"format": 1, "p_targets": [0.01, 0.1], "bootstrap": bootstrap, "lists": lists}


def test_evaluation_holds_the_plain_measures_with_intervals_around_them(trials, results):
    labels, _, scores = trials
    raw, fused = ({k: m["value"] for k, m in s["metrics"].items()} for s in results["lists"][0]["systems"])
    assert raw == pytest.approx({
        "eer": eer(scores["cosine"], labels), "min_cllr": min_cllr(scores["cosine"], labels),
        "min_dcf_0.01": min_dcf(scores["cosine"], labels, 0.01), "min_dcf_0.1": min_dcf(scores["cosine"], labels, 0.1),
        "overlap": overlap(scores["cosine"], labels),
    })  # fmt: skip
    assert fused["act_dcf_0.1"] == pytest.approx(act_dcf(scores["llr"], labels, 0.1))
    assert fused["cllr"] == pytest.approx(cllr(scores["llr"], labels))
    for system in results["lists"][0]["systems"]:
        for measured in system["metrics"].values():
            for kind in ("interval", "trial_interval"):
                assert measured[kind][0] < measured["value"] < measured[kind][1]


def test_scores_not_declared_llr_get_neither_act_dcf_nor_cllr(results):
    raw = results["lists"][0]["systems"][0]["metrics"]
    assert not any(name.startswith("act_dcf") or name == "cllr" for name in raw)


def test_systems_are_compared_in_what_both_have(results):
    (pair,) = results["lists"][0]["comparisons"]
    first, second = results["lists"][0]["systems"]
    assert (pair["first"], pair["second"]) == ("cosine", "<fused>.llr")
    assert set(pair["metrics"]) == set(first["metrics"])
    for name, found in pair["metrics"].items():
        assert found["difference"] == second["metrics"][name]["value"] - first["metrics"][name]["value"]
        assert found["interval"][0] <= found["interval"][1] and 0 < found["p"] <= 1


def test_equal_systems_differ_by_nothing_in_any_metric_that_both_have(trials):
    labels, speakers, scores = trials
    systems = [("llr", scores["llr"], True), ("raw", scores["llr"], False), ("declared", scores["llr"], True)]
    raw, declared = evaluate(systems, labels, speakers, (0.1,), num_resamples=20)["comparisons"]
    assert list(raw["metrics"]) == ["eer", "min_dcf_0.1", "overlap", "min_cllr"]
    assert list(declared["metrics"]) == ["eer", "min_dcf_0.1", "overlap", "min_cllr", "act_dcf_0.1", "cllr"]
    nothing = {"difference": 0, "interval": [0, 0], "p": 1}
    assert all(found == nothing for pair in (raw, declared) for found in pair["metrics"].values())


def test_results_survive_json(results):
    assert json.loads(json.dumps(results, allow_nan=False)) == results


def test_without_resamples_there_are_no_intervals_comparisons_or_speakers(trials):
    labels, _, scores = trials
    found = evaluate([("a", scores["cosine"], False), ("b", scores["llr"], False)], labels, None, num_resamples=0)
    assert found["comparisons"] == [] and found["num_speakers"] is None
    assert {m["interval"] for s in found["systems"] for m in s["metrics"].values()} == {None}


def test_the_stored_curve_and_histogram_are_those_of_the_scores(trials, results):
    labels, _, scores = trials
    stored = results["lists"][0]["systems"][0]
    assert len(stored["det"]["miss"]) <= DET_POINTS + 2
    assert stored["det"]["false_alarm"] == pytest.approx(det_curve(scores["cosine"], labels, DET_POINTS)[0], rel=1e-5)
    edges, heights = np.array(stored["histogram"]["edges"]), np.array(stored["histogram"]["target"])
    assert (heights * np.diff(edges)).sum() == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("scores", [[1.0, 1.0, 1.0], [np.inf, -np.inf, 0.0], [np.inf, -np.inf, -np.inf]])
def test_histogram_takes_constant_and_infinite_scores(scores):
    made = histogram(split(scores, [1, 0, 0]), bins=4)
    widths = np.diff(made["edges"])
    assert [(np.array(made[kind]) * widths).sum() for kind in ("target", "nontarget")] == pytest.approx([1, 1])


def test_table_prints_values_with_intervals_and_dashes_where_nothing_was_measured(results):
    text = report.markdown(results, "demo")
    header, _, raw, fused = [[c.strip() for c in line.strip("|").split("|")] for line in text.splitlines()[2:6]]
    assert header[:4] == ["trials", "system", "EER %", "minDCF(0.01)"]
    assert header[4:] == ["minDCF(0.1)", "overlap", "min-Cllr", "actDCF(0.01)", "actDCF(0.1)", "Cllr"]
    value = results["lists"][0]["systems"][0]["metrics"]["eer"]
    low, high = value["interval"]
    assert raw[2] == f"{100 * value['value']:.3f} [{100 * low:.3f}, {100 * high:.3f}]"
    assert raw[7:] == ["-"] * 3 and "-" not in fused
    assert "of raw cosines these would mean nothing" in text
    assert "50 bootstrap resamples of the speakers" in text
    assert "24 speakers (from utt2spk)." in text


def test_few_speakers_are_said_to_be_few(results):
    few = {**results, "lists": [{**results["lists"][0], "num_speakers": 9}]}
    assert "fewer than 20 speakers the intervals are not to be trusted" in report.markdown(few, "demo")


def test_the_overlap_of_a_list_with_few_trials_for_its_bins_is_said_to_be_too_low(results):
    told = {}
    for name, number in (("many", 1000), ("few", 999)):
        entry = {**results["lists"][0], "name": name, "num_targets": number, "num_nontargets": 5000}
        told[name] = report.markdown({**results, "lists": [entry]}, "demo")
    assert "too low with fewer than 1000 targets or nontargets (few); its interval" in told["few"]
    assert "too low" not in told["many"]


def test_values_outside_their_expected_range_are_flagged(results):
    value = results["lists"][0]["systems"][0]["metrics"]["eer"]["value"]
    expected = {"O & E": {"cosine": {"eer": [0, value / 2], "min_cllr": [0, 1]}, "plda": {"eer": [0, 1]}}}
    deviations = report.check_expected(results, expected)
    found = [(d["system"], d["metric"], d["value"]) for d in deviations]
    assert found == [("cosine", "eer", value), ("plda", "eer", None)]
    text = report.markdown(results, "demo", deviations)
    assert f"| {100 * value:.3f}! [" in text
    assert f"O & E cosine: EER %: {100 * value:.3f}; expected 0.000 to {50 * value:.3f}." in text
    assert "O & E plda: EER %: not measured; expected 0.000 to 100.000." in text
    assert 'class="flag">' + f"{100 * value:.3f}!" in page(results, "demo", deviations, b"")


def test_met_expectations_are_said_to_be_met(results):
    assert report.check_expected(results, {"O & E": {"cosine": {"eer": [0, 1]}}}) == []
    assert report.ALL_MET in report.markdown(results, "demo", [])
    assert "Expected" not in report.markdown(results, "demo", None)


@pytest.mark.parametrize("expected", [
    {"O": 3}, {"O": {"cosine": 3}}, {"O": {"cosine": {"eer": 0.1}}}, {"O": {"cosine": {"eer": [0.2, 0.1]}}},
    {"O": {"cosine": {"eer": [0.1]}}}, {"O": {"cosine": {"eer": ["a", "b"]}}},
    {"O": {"cosine": {"err": [0, 1]}}}, {"O": {"cosine": {"min_dcf": [0, 1]}}},
])  # fmt: skip
def test_expectations_of_another_form_are_refused(results, expected):
    with pytest.raises(InputError, match="'O"):
        report.check_expected(results, expected)


def test_page_stands_alone_and_escapes_names(results):
    html = page(results, "a < b", None, det_of(results))
    assert html.count("data:image/png;base64,iVBOR") == 2
    assert not re.search(r"(src|href)=.?(http|/|\w+\.)", html)
    assert "<fused>" not in html and "&lt;fused&gt;.llr" in html
    assert "a &lt; b" in html and "O &amp; E" in html


@pytest.mark.parametrize("rate", [0.0, 0.003, 0.5, 0.97])
@pytest.mark.parametrize("number", [1, 12])
def test_det_chart_is_drawn_for_any_error_rate(rate, number):
    curve = {"trials": "O", "eer": rate, "false_alarm": [1, rate, 0], "miss": [0, rate, 1], "num_targets": 10,
             "num_nontargets": 10}  # fmt: skip
    curves = [{**curve, "system": f"s{i}"} for i in range(number)]
    assert det_png(curves).startswith(b"\x89PNG")
