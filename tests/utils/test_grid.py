"""The definition of a grid: where experiments lie, what decides them, and what is refused by name."""

import pytest
import yaml

from tests.conftest import ROOT
from wespk.utils import config
from wespk.utils.errors import InputError
from wespk.utils.grid import read_grid

PLAIN = {"config": "conf/x.yaml", "seeds": [3], "baseline": "a", "systems": {"a": None, "b": {"set": "p.q=1"}}}
SHIPPED = sorted((ROOT / "egs").rglob("grids/*.yaml"))


@pytest.fixture
def grid_of(tmp_path):
    def read(**changes):
        path = tmp_path / "noise.yaml"
        path.write_text(yaml.safe_dump({**PLAIN, **changes}, sort_keys=False))
        return read_grid(path)

    return read


def test_a_plain_grid_is_systems_times_seeds_ending_at_stage_seven(grid_of):
    grid = grid_of(seeds=[3, 1])
    assert (grid.name, grid.title, grid.axis, grid.levels) == ("noise", "noise", "", {None: ""})
    assert [run.folder for run in grid.runs] == ["a/seed3", "b/seed3", "a/seed1", "b/seed1"]
    assert {run.stop_stage for run in grid.runs} == {7} and grid.judged_by_scores and grid.validations == 2
    assert [run.set for run in grid.runs[:2]] == ["", "p.q=1"]


def test_what_a_system_says_goes_before_what_the_grid_says(grid_of):
    grid = grid_of(set="t.u=1", options={"score-norm": "none", "top-n": 5, "check-audio": False}, stop_stage=7,
                   systems={"a": {"config": "conf/y.yaml", "overlay": "conf/z.yaml"},
                            "b": {"set": "p.q=1", "options": {"top-n": 9}, "stop_stage": 8, "label": "B!"}},
                   vary={"name": "rate", "levels": {0: {}, "uniform 10": {"set": "r.s=2", "label": "10 %"}}})  # fmt: skip
    a, b, _, b_noisy = grid.runs
    assert (a.config, a.overlay, b.config, b.overlay) == ("conf/y.yaml", "conf/z.yaml", "conf/x.yaml", "")
    assert (b.set, b_noisy.set, b_noisy.folder) == ("t.u=1 p.q=1", "t.u=1 p.q=1 r.s=2", "b/uniform_10/seed3")
    assert dict(b.options) == {"score-norm": "none", "top-n": "9", "check-audio": "false"}
    assert grid.levels == {"0": "0", "uniform 10": "10 %"}
    assert [(row.name, row.label) for row in grid.rows] == [("a", "a"), ("b", "B!"), ("b-lm", "B!, fine-tuned")]
    assert grid.folder(grid.rows[2], "uniform 10", 3) == "b/uniform_10/seed3-lm"


def test_notes_are_kept_as_lines(grid_of):
    assert grid_of(notes=["One\nline."]).notes == ("One line.",)


def test_a_fine_tuned_system_may_be_the_baseline(grid_of):
    assert grid_of(stop_stage=8, baseline="a-lm").baseline == "a-lm"


@pytest.mark.parametrize("changes, says", [
    ({"system": {}}, "the grid: unknown key 'system' (did you mean 'systems'?)"),
    ({"systems": {}}, "systems: must hold"),
    ({"systems": {"a": {"sets": "x"}}}, "system 'a': unknown key 'sets' (did you mean 'set'?)"),
    ({"systems": {"a": {"set": ["x"]}}}, "'set' must be text"),
    ({"systems": {"a": {}, "A": {}}}, "the systems 'a' and 'A' would share a folder"),
    ({"systems": {"a": {}, "../b": {}}}, "system '../b' has characters that are not safe"),
    ({"systems": {"a": {}, "b c": {}}}, "system 'b c' has characters that are not safe"),
    ({"systems": {"a": {"stop_stage": 8}, "a-lm": {}}}, "'a-lm' is a system and the fine-tuned 'a' too"),
    ({"systems": {"a": {"stop_stage": 3}, "b": {}}}, "make two grids"),
    ({"systems": {"a": {"options": {"seed": 3}}}}, "'seed' is for the grid itself to say"),
    ({"options": {"exp": "x"}}, "give it on the command line, behind --"),
    ({"options": {"top-n": [1]}}, "'top-n' takes a single value"),
    ({"options": {"lm-set": "x=1"}}, "options: 'lm-set' is of stage 8, which is not asked for"),
    ({"systems": {"a": {"options": {"lm-set": "x=1"}}, "b": {"stop_stage": 8}}}, "system 'a': options: 'lm-set' is of"),
    ({"baseline": "c"}, "there is no system 'c'"),
    ({"seeds": []}, "seeds must be a list of whole numbers"),
    ({"seeds": [1, True]}, "seeds must be a list of whole numbers"),
    ({"seeds": [1, 1]}, "names a seed twice"),
    ({"curves": "loss"}, "curves must be a list of figures"),
    ({"curves": ["loss", 3]}, "curves must be a list of figures"),
    ({"notes": "text"}, "notes must be a list of sentences"),
    ({"options": {"force": True}}, "to do a run again remove its folder"),
    ({"validations": 0}, "validations must be a whole number of 1 or more"),
    ({"stop_stage": 6}, "stop_stage is 3, 5, 7 or 8"),
    ({"vary": {"name": "rate", "levels": {}}}, "vary: levels: must hold"),
    ({"vary": {"levels": {"u 1": {}, "u_1": {}}}}, "the levels 'u 1' and 'u_1' would share a folder"),
    ({"vary": {"levels": {"u/1": {}}}}, "level 'u/1' has characters that are not safe"),
    ({"vary": {"levels": {"u": {"overlay": "x"}}}}, "level 'u': unknown key 'overlay'"),
])  # fmt: skip
def test_a_wrong_grid_is_refused_with_the_file_and_the_key(grid_of, changes, says):
    with pytest.raises(InputError) as caught:
        grid_of(**changes)
    assert says in str(caught.value) and "noise.yaml: " in str(caught.value)


@pytest.mark.parametrize("key", ["config", "seeds", "baseline", "systems"])
def test_what_a_grid_needs_is_asked_for(tmp_path, key):
    path = tmp_path / "g.yaml"
    path.write_text(yaml.safe_dump({name: value for name, value in PLAIN.items() if name != key}))
    with pytest.raises(InputError, match=f"'{key}' is missing"):
        read_grid(path)


def test_a_system_given_twice_is_refused(tmp_path):
    path = tmp_path / "g.yaml"
    path.write_text("config: c\nseeds: [1]\nbaseline: a\nsystems:\n  a: {}\n  a: {}\n")
    with pytest.raises(InputError, match=r"g.yaml:6: key 'a' is given twice"):
        read_grid(path)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_configuration_of_a_recipes_grid_merges(path):
    recipe = path.parent.parent
    for config_file, overlay, sets in {(run.config, run.overlay, run.set) for run in read_grid(path).runs}:
        config.load(recipe / config_file, ",".join(str(recipe / name) for name in overlay.split(",") if name), sets)
