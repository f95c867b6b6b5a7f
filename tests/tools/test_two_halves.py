"""The difference between the halves of a grid: of one pair it is that of the comparison, of several their mean."""

import importlib

import numpy as np
import pytest
import yaml

from tests.conftest import ROOT
from tests.scoring.conftest import every_pair
from wespk.io.tables import write_scores, write_table, write_trials
from wespk.metrics.comparison import compare_scores
from wespk.utils.errors import InputError
from wespk.utils.grid import read_grid

UTT2SPK = {f"s{i}-{j}": f"s{i}" for i in range(9) for j in range(4)}
SYSTEMS = ["a-x", "a-y", "b-x", "b-y"]


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "tools" / "figures"))
    return importlib.import_module("two_halves")


@pytest.fixture
def place(tmp_path):
    """A grid of two halves with two seeds, its scores, and these: system -> list over seeds."""
    trials, draw = every_pair(UTT2SPK), np.random.default_rng(0)
    write_table(tmp_path / "data/eval/utt2spk", UTT2SPK)
    write_trials(tmp_path / "data/eval/trials/all", trials)
    (tmp_path / "g.yaml").write_text(yaml.safe_dump(
        {"config": "c", "seeds": [1, 2], "baseline": "a-x", "systems": {name: {} for name in SYSTEMS}}))  # fmt: skip
    scores = {}
    for name in SYSTEMS:
        for seed in (1, 2):
            found = np.round((1 + name.startswith("b")) * trials.labels + draw.normal(size=len(trials.labels)), 6)
            write_scores(tmp_path / f"exp/{name}/seed{seed}/scores/all.cosine", trials.enroll, trials.test, found)
            scores.setdefault(name, []).append(found)
    return tmp_path, trials, scores


def test_halves_of_one_pair_differ_as_the_two_systems_do(script, place):
    folder, trials, scores = place
    grid = yaml.safe_load((folder / "g.yaml").read_text())
    grid["systems"] = {"a-x": {}, "b-x": {}}
    (folder / "g.yaml").write_text(yaml.safe_dump(grid))
    found = script.difference(read_grid(folder / "g.yaml"), folder / "exp", folder / "data/eval/trials/all", UTT2SPK, ("a", "b"))
    speakers = [np.array([int(key[1]) for key in side]) for side in (trials.enroll, trials.test)]
    expected = compare_scores({"a": scores["a-x"], "b": scores["b-x"]}, trials.labels, speakers, "a")
    assert found["b"]["eer"]["versus"]["interval"] == pytest.approx(expected["b"]["eer"]["versus"]["interval"])
    assert found["b"]["overlap"]["versus"]["p"] == expected["b"]["overlap"]["versus"]["p"]


def test_a_half_is_the_mean_of_its_systems(script, place, capsys):
    folder, trials, scores = place
    words = {"grid": str(folder / "g.yaml"), "root": str(folder / "exp"), "data": str(folder / "data")}
    script.two_halves(**words, first="a", second="b")
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("all: eer %"))
    speakers = [np.array([int(key[1]) for key in side]) for side in (trials.enroll, trials.test)]
    found = compare_scores(scores, trials.labels, speakers, "a-x", num_resamples=20)
    means = [50 * (found[f"{half}-x"]["eer"]["mean"] + found[f"{half}-y"]["eer"]["mean"]) for half in "ab"]
    assert f"{means[0]:.4g} and {means[1]:.4g}, difference {means[1] - means[0]:+.3g} [" in line


def test_halves_that_do_not_match_are_refused(script, place):
    with pytest.raises(InputError, match="has x, y behind 'a-' and nothing behind 'c-'"):
        script.pairs(read_grid(place[0] / "g.yaml"), "a", "c")
