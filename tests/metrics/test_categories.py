"""EERs by categories of enrolment and test: each cell is the list of its own trials, and what has too few stays empty."""

import json

import numpy as np
import pytest

from wespk.metrics import category_report, eer, report
from wespk.metrics.categories import ALL, LEAST, SEVERAL, by_category, category
from wespk.metrics.evaluate import evaluate
from wespk.metrics.page import page
from wespk.metrics.plots import heat_png

NAMES = ["b", "a", SEVERAL, "Z"]


@pytest.fixture(scope="module")
def trials():
    """(labels, enrolments' categories, tests', two systems' scores) of 2000 trials; category Z is rare in enrolments."""
    draw = np.random.default_rng(5)
    enroll = [NAMES[i] for i in draw.choice(4, 2000, p=[0.4, 0.4, 0.18, 0.02])]
    test = [NAMES[i] for i in draw.choice([0, 1, 3], 2000)]
    labels = (draw.random(2000) < 0.25).astype(np.int8)
    ease = 1.0 + 1.5 * (np.array(enroll) == np.array(test))
    return labels, enroll, test, [labels * ease + draw.normal(size=2000) for _ in range(2)]


@pytest.fixture(scope="module")
def results(trials):
    labels, enroll, test, systems = trials
    named = [(name, scores, False) for name, scores in zip(("cosine", "cosine.asnorm"), systems)]
    found = {"name": "E & H", "speakers_from": None, **evaluate(named, labels, None, num_resamples=0)}
    about, rates = by_category(systems, labels, enroll, test)
    found["categories"] = {"genre": about}
    for system, rate in zip(found["systems"], rates):
        system["eer_by"] = {"genre": rate}
    return {"format": 1, "p_targets": [0.01, 0.05], "bootstrap": None, "lists": [found]}


def test_each_cell_is_the_eer_of_its_trials_alone_and_sums_are_those_of_all(trials):
    labels, enroll, test, systems = trials
    about, found = by_category(systems, labels, enroll, test)
    assert about["enroll"] == ["Z", "a", "b", SEVERAL, ALL] and about["test"] == ["Z", "a", "b", ALL]
    empty = 0
    for i, row in enumerate(about["enroll"]):
        for j, column in enumerate(about["test"]):
            chosen = np.array([row in (ALL, e) and column in (ALL, t) for e, t in zip(enroll, test)])
            counts = [int((labels[chosen] == kind).sum()) for kind in (1, 0)]
            assert [about["targets"][i][j], about["nontargets"][i][j]] == counts
            for scores, rates in zip(systems, found):
                few = min(counts) < LEAST
                assert rates[i][j] == (None if few else eer(scores[chosen], labels[chosen]))
            empty += few
    assert empty == 4  # of the rare enrolments, also all together
    assert found[0][-1][-1] == eer(systems[0], labels)


def test_a_cell_with_just_enough_trials_has_a_value_and_with_one_less_has_none():
    labels = np.repeat([1, 0], [LEAST, 500])
    scores = labels + np.arange(len(labels)) / 1e4
    for less, expected in ((0, 0.0), (1, None)):
        kinds = ["x"] * (len(labels) - less)
        about, [rates] = by_category([scores[less:]], labels[less:], kinds, kinds)
        assert rates == [[expected] * 2] * 2 and about["targets"] == [[LEAST - less] * 2] * 2


@pytest.mark.parametrize("value, kind", [("singing", "singing"), ("singing+vlog", SEVERAL), ("vlog+vlog", "vlog")])
def test_what_joins_different_categories_is_of_none_of_them(value, kind):
    assert category(value) == kind


def test_tables_counts_and_reasons_stand_in_both_reports_and_all_is_json(results):
    assert json.loads(json.dumps(results)) == results
    text = report.markdown(results, "t")
    first = results["lists"][0]["systems"][0]["eer_by"]["genre"]
    counts = results["lists"][0]["categories"]["genre"]
    assert "## EER by genre" in text
    row = next(line for line in text.split("\n") if line.startswith("| a "))
    assert [cell.strip() for cell in row.split("|")[2:-1]] == [f"{100 * rate:.2f}" for rate in first[1]]
    assert f"{counts['targets'][2][1]} / {counts['nontargets'][2][1]}" in text
    assert "fewer than 20 target or 20 nontarget trials is left empty: 3 of 12 in these lists, 0 of them without" in text
    assert f"{SEVERAL}: made of utterances of different genres; these count there and in {ALL} alone." in text
    shown = page(results, "t", None, b"det", maps=category_report.heat_maps(results))
    assert "<h2>EER by genre</h2>" in shown and "E &amp; H cosine.asnorm" in shown
    assert shown.count("data:image/png") == 3 and f"<td>{100 * first[1][1]:.2f}</td>" in shown


def test_a_report_without_categories_has_no_such_section(results):
    plain = {**results, "lists": [{k: v for k, v in results["lists"][0].items() if k != "categories"}]}
    assert "EER by" not in report.markdown(plain, "t") and category_report.heat_maps(plain) == {}


def test_the_heat_map_is_one_scale_with_figures_in_percent_and_grey_where_there_is_none(monkeypatch):
    seen = []
    monkeypatch.setattr("wespk.metrics.plots._png", seen.append)
    panel = {"title": "one", "rows": ["x", ALL], "columns": ["y", "z", ALL], "values": [[0.1, None, 0.2], [0.3, 0.0, 0.25]]}
    heat_png([panel, {**panel, "title": "two", "values": [[0.4, 0.1, 0.1]] * 2}], "genre of the enrolment", "of the test")
    first, second = seen[0].axes[:2]
    assert [text.get_text() for text in first.texts] == ["10.0", "20.0", "30.0", "0.0", "25.0"]
    assert first.images[0].get_clim() == second.images[0].get_clim() == (0, 40)
    assert [label.get_text() for label in first.get_yticklabels()] == ["x", ALL] and first.get_ylim()[0] > first.get_ylim()[1]


def test_a_heat_map_of_nothing_but_empty_cells_or_errorless_ones_can_be_drawn():
    for value in (None, 0.0):
        panel = {"title": "one", "rows": ["x", ALL], "columns": ["x", ALL], "values": [[value] * 2] * 2}
        assert heat_png([panel], "a", "b").startswith(b"\x89PNG")
