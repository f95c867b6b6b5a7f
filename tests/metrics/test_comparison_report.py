"""The comparison as text and charts: no bold without proof, every figure once, charts by kind of level."""

import pytest

from wespk.metrics.comparison_report import COLUMNS, charts, level_kinds, markdown, tsv


def entry(mean, difference=None, p_holm=1.0):
    versus = difference and {"reference": "a", "difference": difference, "interval": [difference - 0.01, difference + 0.01],
                             "p": p_holm / 2, "p_holm": p_holm}  # fmt: skip
    return {"values": [mean - 0.01, mean + 0.01], "mean": mean, "sd": 0.0141, "interval": [mean / 2, 2 * mean],
            "versus": versus, "fine_tuning": None}  # fmt: skip


def level(name, **means):
    """A level of systems with (EER, difference, corrected p)."""
    systems = [{"system": k, "label": k.upper(), "measures": {"eer": entry(*v)}} for k, v in means.items()]
    return {"level": name, "label": name or "", "systems": systems}


def comparison(*levels, axis="", seeds=(1, 2), judged="scores", **changes):
    table = {"trials": "hard", "scores": "cosine", "num_targets": 10, "num_nontargets": 20, "num_speakers": 30,
             "measures": ["eer"], "levels": list(levels)}  # fmt: skip
    return {"title": "T", "baseline": "a", "seeds": list(seeds), "axis": axis, "judged": judged, "missing": [],
            "bootstrap": {"resamples": 100, "seed": 42, "level": 0.95}, "tables": [{**table, **changes}]}  # fmt: skip


def test_bold_is_what_the_corrected_test_supports_and_nothing_else():
    text = markdown(comparison(level(None, a=(0.10,), b=(0.05, -0.05, 0.04), c=(0.04, -0.06, 0.06), d=(0.2, 0.1, 0.01))))
    assert "| B      | **5.000** ± 1.410 [2.500, 10.000] |" in text
    assert "| C      | 4.000 ± 1.410" in text  # the lowest, but it might be luck
    assert "| D      | 20.000 ±" in text  # proven to be worse: bold among the differences alone
    assert "| **-5.000 [-6.000, -4.000], p 0.020 (0.040)**" in text
    assert "| **+10.000 [+9.000, +11.000], p 0.005 (0.010)**" in text
    assert "| -6.000 [-7.000, -5.000], p 0.030 (0.060)" in text
    assert text.count("| A ") == 1  # the baseline has no difference


def test_what_fine_tuning_did_is_a_table_of_its_own_with_the_reference_in_each_row():
    only = level(None, a=(0.10,), tuned=(0.05, -0.05, 0.04))
    measures = only["systems"][1]["measures"]["eer"]
    measures["versus"]["reference"] = "a-lm"
    assert "What fine-tuning did" not in markdown(comparison(only))
    measures["fine_tuning"] = entry(0.05, -0.02, 0.3)["versus"]
    text = markdown(comparison(only))
    assert text.index("| minus a-lm") < text.index("What fine-tuning did:") < text.index("| minus a ")
    found = dict(zip(COLUMNS, tsv(comparison(only)).splitlines()[2].split("\t")))
    assert (found["reference"], found["difference"], found["p_holm"]) == ("a-lm", "-0.05", "0.04")
    assert (found["tuned_from"], found["tuned_difference"], found["tuned_p_holm"]) == ("a", "-0.02", "0.3")


def test_levels_are_columns_and_a_gap_is_a_dash():
    text = markdown(comparison(level("0", a=(0.1,), b=(0.2, 0.1, 0.5)), level("uniform 10", b=(0.3,)), axis="rate"))
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|")]
    assert rows[0] == ["system", "0", "uniform 10"]
    assert rows[2][0] == "A" and rows[2][2] == "-" and rows[3][2].startswith("30.000")
    assert rows[4][:3] == ["system", "reference", "rate"] and rows[6][:3] == ["B", "minus a", "0"] and len(rows) == 7


def test_what_the_figures_do_not_say_is_said():
    few = markdown(comparison(level(None, a=(0.1,)), num_speakers=12))
    assert "fewer than 20 speakers" in few and "allow for which speakers the list holds and which seeds" in few
    assert "one seed" in markdown(comparison(level(None, a=(0.1,)), seeds=[1]))
    dev = markdown(comparison(level(None, a=(0.1,)), judged="mean of the last 2 validations", num_speakers=None))
    assert "mean of the last 2 validations" in dev and "not for which speakers were held out" in dev
    many = level(None, a=(0.1,), b=(0.2, 0.1, 0.5), c=(0.2, 0.1, 0.5), d=(0.2, 0.1, 0.5))
    assert "With 100 draws none of 3 corrected p values" in markdown(comparison(many))
    many["systems"].pop()
    assert "With 100 draws" not in markdown(comparison(many))
    assert "\n- Labels drawn once.\n" in markdown({**comparison(many), "notes": ["Labels drawn once."]})
    missing = {**comparison(level(None, a=(0.1,))), "missing": ["b/seed1: not whole"]}
    assert "**Not complete:**\n\n- b/seed1: not whole\n" in markdown(missing)


def test_the_table_for_programs_has_a_line_for_every_figure():
    text = tsv(comparison(level("0", a=(0.1,), b=(0.2, 0.1, 0.5)), axis="rate"))
    rows = [line.split("\t") for line in text.splitlines()]
    assert rows[0] == list(COLUMNS) and [len(row) for row in rows] == [len(COLUMNS)] * 3
    found = dict(zip(COLUMNS, rows[2]))
    assert (found["system"], found["level"], found["mean"], found["p_holm"]) == ("b", "0", "0.2", "0.5")
    assert found["seed_values"] == "0.19,0.21"
    assert dict(zip(COLUMNS, rows[1]))["p"] == ""


def test_kinds_of_levels_share_the_level_without_a_kind():
    levels = [level(name) for name in ("uniform 30", "0", "uniform 5", "pairs 10")]
    found = {kind: [x for x, _ in points] for kind, points in level_kinds(levels).items()}
    assert found == {"uniform": [0, 5, 30], "pairs": [0, 10]}
    assert [x for x, _ in level_kinds([level("10"), level("2")])[""]] == [2, 10]
    assert [x for x, _ in level_kinds([level("clean"), level("0")])[""]] == ["clean", "0"]


@pytest.mark.parametrize("names", [("0", "uniform 10"), ("clean", "loud")])
def test_a_chart_is_drawn_for_each_list_and_none_without_levels(names):
    levels = [level(name, a=(0.1,), b=(0.2, 0.1, 0.5)) for name in names]
    levels[1]["systems"].pop()  # a system may lack a level
    (png,) = charts(comparison(*levels, axis="rate")).values()
    assert png.startswith(b"\x89PNG") and png == next(iter(charts(comparison(*levels, axis="rate")).values()))
    assert charts(comparison(levels[0])) == {}
