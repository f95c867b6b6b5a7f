"""From tables utt2CATEGORY to the categories of trials, and to the report, through the commands of stage 7."""

import json
import re

import numpy as np
import pytest

from tests.bin.test_scoring_commands import run
from wespk.bin.compute_metrics import compute_metrics
from wespk.bin.make_report import make_report
from wespk.io.tables import Trials, write_scores, write_table, write_trials
from wespk.metrics import eer
from wespk.metrics.categories import SEVERAL

GENRES = {"s1-enroll": "play", "s2-enroll": "play+vlog", "t1": "play", "t2": "vlog"}


@pytest.fixture
def folder(tmp_path):
    """A folder with a list of 480 trials, its scores, utt2genre, and a model s3 that is an average over t1 and s3-a."""
    draw, test = np.random.default_rng(3), [f"t{i % 2 + 1}-{i:03d}" for i in range(160)]
    trials = Trials([f"s{n}-enroll" for n in (1, 2, 3) for _ in test], test * 3, draw.integers(0, 2, 480).astype(np.int8))
    write_trials(tmp_path / "trials" / "list", trials)
    write_scores(tmp_path / "list.cosine", trials.enroll, trials.test, trials.labels + draw.normal(size=480))
    genres = {"s1-enroll": "play", "s2-enroll": "play+vlog", "s3-a": "vlog", **{t: GENRES[t[:2]] for t in test}}
    write_table(tmp_path / "utt2genre", genres)
    write_table(tmp_path / "maps" / "list", {"s3-enroll": "t2-001 s3-a"})
    return tmp_path


def measure(folder, **changes):
    options = {"scores": folder / "list.cosine", "trials": folder / "trials" / "list", "bootstrap": 0,
               "out": folder / "results" / "metrics.json", "categories": folder / "utt2genre", "models": folder / "maps"}
    return run(compute_metrics, **{**options, **changes})


def test_enrolments_of_one_genre_of_several_and_of_those_that_they_average_are_told_apart(folder):
    assert measure(folder) == 0
    found = json.loads((folder / "results/metrics.json").read_text())["lists"][0]
    table, rates = found["categories"]["genre"], found["systems"][0]["eer_by"]["genre"]
    assert table["enroll"] == ["play", "vlog", SEVERAL, "(all)"] and table["test"] == ["play", "vlog", "(all)"]
    assert [row[2] + other[2] for row, other in zip(table["targets"], table["nontargets"])] == [160, 160, 160, 480]
    lines = [line.split() for line in (folder / "list.cosine").read_text().splitlines()]
    labels = [line.split()[2] == "target" for line in (folder / "trials/list").read_text().splitlines()]
    chosen = [i for i, (a, b, _) in enumerate(lines) if a == "s3-enroll" and b.startswith("t1")]
    expected = eer(np.array([float(lines[i][2]) for i in chosen]), np.array([labels[i] for i in chosen]))
    assert rates[1][0] == pytest.approx(expected)


def test_the_report_leaves_a_picture_and_removes_one_that_is_no_longer_of_it(folder):
    measure(folder)
    out = folder / "results"
    (out / "eer_by_mood.png").write_text("of an earlier run")
    assert run(make_report, metrics=out / "metrics.json", out_dir=out) == 0
    assert sorted(p.name for p in out.glob("*.png")) == ["det.png", "eer_by_genre.png"]
    assert "## EER by genre" in (out / "RESULTS.md").read_text()


def test_any_table_of_categories_will_do_several_at_once(folder):
    (folder / "utt2mood").write_text((folder / "utt2genre").read_text())
    assert measure(folder, categories=f"{folder}/utt2genre,{folder}/utt2mood") == 0
    found = json.loads((folder / "results/metrics.json").read_text())["lists"][0]
    assert found["categories"]["genre"] == found["categories"]["mood"]


@pytest.mark.parametrize(
    "changes, message",
    [({"models": ""}, "/list: 's3-enroll' is not in .*utt2genre; complete it, or leave --categories out"),
     ({"categories": "{}/list.cosine"}, "list.cosine: a table of categories is named after them, such as utt2genre"),
     ({"categories": "{0}/utt2genre,{0}/utt2genre"}, "are two tables of one name; give one")],
)  # fmt: skip
def test_what_cannot_be_told_apart_is_refused_by_name(folder, capsys, changes, message):
    assert measure(folder, **{name: value.format(folder) for name, value in changes.items()}) == 1
    assert re.search(message, capsys.readouterr().err)


@pytest.mark.parametrize("kind, words", [("normalised", "centred, length-normalised embeddings"), ("plain", "embeddings as they are")])
def test_the_report_states_how_enrolments_were_averaged(folder, kind, words):
    assert measure(folder, enroll_mean=kind) == 0
    averaged = json.loads((folder / "results/metrics.json").read_text())["lists"][0]["averaged"]
    assert averaged == {"enrolments": 1, "least": 2, "most": 2, "mean": kind}
    assert run(make_report, metrics=folder / "results/metrics.json", out_dir=folder / "results") == 0
    line = f"list: 1 enrolment is an average over 2 utterances: the mean of their {words}.\n"
    assert line in (folder / "results/RESULTS.md").read_text()
