"""A grid's folder of score files -> the comparison: what is read, what is left out and said, and what is refused."""

import json
import os

import numpy as np
import pytest
import yaml

from wespk.bin.compare_systems import compare_systems
from wespk.io.tables import Trials, write_scores, write_table, write_trials
from wespk.metrics import eer
from wespk.metrics.comparison import compare_scores
from wespk.scoring.comparison import compare_experiments, dev_measures, score_kinds
from wespk.utils.cli import main
from wespk.utils.errors import InputError
from wespk.utils.grid import read_grid

KEYS = [f"s{s:02d}-{u}" for s in range(8) for u in range(3)]
PAIRS = [(a, b) for i, a in enumerate(KEYS) for b in KEYS[:i]]
LABELS = np.array([a[:3] == b[:3] for a, b in PAIRS], np.int8)
FEW = {"num_resamples": 20}


class Folder:
    """A grid of systems a and b (b also fine-tuned) with two seeds, lists one and two, and scores of all of them."""

    def __init__(self, path):
        self.path, self.root, self.data = path, path / "exp", path / "data"
        self.define()
        write_table(self.data / "eval/utt2spk", {key: key[:3] for key in KEYS})
        for name in ("one", "two"):
            write_trials(self.data / "eval/trials" / name, Trials(*map(list, zip(*PAIRS)), LABELS))
        write_trials(self.data / "dev/trials/dev", Trials(*map(list, zip(*PAIRS)), LABELS))
        for i, folder in enumerate(f"{s}/seed{n}{lm}" for s, lm in (("a", ""), ("b", ""), ("b", "-lm")) for n in (1, 2)):
            for name in ("one", "two"):
                self.score(folder, f"{name}.cosine", i)

    def define(self, **changes):
        grid = {"config": "c", "seeds": [1, 2], "baseline": "a", "systems": {"a": {}, "b": {"stop_stage": 8}}, **changes}
        (self.path / "g.yaml").write_text(yaml.safe_dump(grid, sort_keys=False))

    def score(self, folder, name, seed):
        scores = 2 * LABELS + np.random.default_rng(seed).normal(size=len(LABELS))
        write_scores(self.root / folder / "scores" / name, *zip(*PAIRS), scores)
        self.mark(folder, "7.json")

    def mark(self, folder, name):
        (self.root / folder / ".stages").mkdir(parents=True, exist_ok=True)
        (self.root / folder / ".stages" / name).write_text("{}")

    def compare(self, **options):
        return compare_experiments(read_grid(self.path / "g.yaml"), self.root, self.data, **{**FEW, **options})

    def noted(self, folder, *weights):
        lines = [{"step": i, "epoch": i / 2, "weight": weight} for i, weight in enumerate(weights, start=1)]
        (self.root / folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))

    def validated(self, folder, *eers):
        lines = [json.dumps({"step": i, "dev_eer": e, "dev_min_dcf": 0.5}) for i, e in enumerate(eers)]
        (self.root / folder).mkdir(parents=True, exist_ok=True)
        (self.root / folder / "metrics.jsonl").write_text("\n".join(['{"step": 0, "loss": 1.0}', *lines, ""]))
        self.mark(folder, "3.json")


@pytest.fixture
def folder(tmp_path):
    return Folder(tmp_path)


def systems_of(table, level=0):
    return [system["system"] for system in table["levels"][level]["systems"]]


def test_every_list_and_kind_is_a_table_of_all_systems(folder):
    for system in ("a/seed1", "a/seed2", "b/seed1"):
        folder.score(system, "two.cosine.asnorm", 9)
    found = folder.compare()
    assert [(t["trials"], t["scores"], systems_of(t)) for t in found["tables"]] == [
        ("one", "cosine", ["a", "b", "b-lm"]), ("two", "cosine", ["a", "b", "b-lm"]), ("two", "cosine.asnorm", ["a"]),
    ]  # fmt: skip
    assert found["missing"] == [f"two.cosine.asnorm: not scored with all seeds of '{name}'" for name in ("b", "b-lm")]
    table = found["tables"][0]
    assert (table["num_targets"], table["num_nontargets"], table["num_speakers"]) == (24, 252, 8)
    scores = [2 * LABELS + np.random.default_rng(i).normal(size=len(LABELS)) for i in range(6)]
    entry = table["levels"][0]["systems"][2]["measures"]["eer"]
    assert entry["values"] == pytest.approx([eer(s, LABELS) for s in scores[4:]])
    speakers = [[int(key[1:3]) for key in side] for side in zip(*PAIRS)]
    direct = compare_scores({"a": scores[:2], "b-lm": scores[4:]}, LABELS, speakers, "a", **FEW)["b-lm"]["eer"]
    assert entry["interval"] == pytest.approx(direct["interval"])
    assert entry["versus"]["interval"] == pytest.approx(direct["versus"]["interval"])
    assert (entry["versus"]["reference"], entry["fine_tuning"]["reference"]) == ("a", "b")


def test_a_system_lacking_a_seed_is_left_out_and_said_to_be(folder):
    found = folder.compare(without=["b/seed2"])
    assert found["tables"][0]["levels"][0]["systems"][1]["measures"]["eer"]["fine_tuning"] is None
    assert systems_of(found["tables"][0]) == ["a", "b-lm"]
    assert found["missing"] == ["b/seed2: not whole, so 'b' is left out"]
    (folder.root / "a/seed1").rename(folder.root / "gone")
    found = folder.compare()
    assert systems_of(found["tables"][0]) == ["b", "b-lm"] and "a/seed1: not whole" in found["missing"][0]
    assert {s["measures"]["eer"]["versus"] for s in found["tables"][0]["levels"][0]["systems"]} == {None}


@pytest.mark.parametrize("name, there", [("3.json.begun", True), ("7.json", False)])
def test_a_system_at_work_is_left_out(folder, name, there):
    folder.mark("b/seed1", name)
    if not there:
        (folder.root / "b/seed1/.stages" / name).unlink()
    assert systems_of(folder.compare()["tables"][0]) == ["a", "b-lm"]


def test_scores_of_an_earlier_training_are_left_out(folder):
    marks = folder.root / "b/seed1/.stages"
    (marks / "4.json").write_text('{"inputs": {"x.pt": "1"}, "outputs": {"x.ark": "2"}}')
    (marks / "7.json").write_text('{"inputs": {"x.ark": "2", "other": "3"}, "outputs": {}}')
    assert systems_of(folder.compare()["tables"][0]) == ["a", "b", "b-lm"]
    (marks / "3.json").write_text('{"inputs": {}, "outputs": {"x.pt": "4"}}')
    assert systems_of(folder.compare()["tables"][0]) == ["a", "b-lm"]


def test_lists_of_other_data_make_tables_of_the_systems_evaluated_there(folder):
    far = folder.path / "far"
    write_table(far / "eval/utt2spk", {key: key[:3] for key in KEYS})
    write_trials(far / "eval/trials/one", Trials(*map(list, zip(*PAIRS)), LABELS))
    for i, system in enumerate(f"{s}/seed{n}/on/cn" for s in ("a", "b", "b") for n in (1, 2)):
        folder.score(system, "one.cosine", 10 + i)
    found = folder.compare(elsewhere={"cn": far})
    assert [(t["trials"], systems_of(t)) for t in found["tables"]] == [
        ("one", ["a", "b", "b-lm"]), ("two", ["a", "b", "b-lm"]), ("cn/one", ["a", "b"])]  # fmt: skip
    assert found["missing"] == ["b/seed1-lm/on/cn, b/seed2-lm/on/cn: not whole, so 'b-lm' is left out of 'cn'"]
    values = found["tables"][2]["levels"][0]["systems"][0]["measures"]["eer"]["values"]
    scores = [2 * LABELS + np.random.default_rng(10 + i).normal(size=len(LABELS)) for i in range(2)]
    assert values == pytest.approx([eer(s, LABELS) for s in scores]) and found["notes"][-1].startswith("cn/LIST: ")
    folder.mark("b/seed1", "4.json")
    (folder.root / "b/seed1/.stages/4.json").write_text('{"inputs": {}, "outputs": {"x.pt": "4"}}')
    (folder.root / "b/seed1/on/cn/.stages/4.json").write_text('{"inputs": {"x.pt": "1"}}')  # of an earlier average
    assert systems_of(folder.compare(elsewhere={"cn": far})["tables"][2]) == ["a"]
    with pytest.raises(SystemExit):
        main(compare_systems, ["--grid", f"{folder.path}/g.yaml", "--root", "x", "--data", "y", "--evaluate", "cn"])


def test_normalised_scores_older_than_the_raw_ones_are_another_trainings(folder):
    scores = folder.root / "a/seed1/scores"
    folder.score("a/seed1", "one.cosine.asnorm", 0)
    folder.score("a/seed1", "one.cosine.llr", 0)
    assert score_kinds(scores, "one") == ["cosine", "cosine.asnorm"]
    os.utime(scores / "one.cosine.asnorm", (1, 1))
    assert score_kinds(scores, "one") == ["cosine"]
    assert score_kinds(scores, "on") == []


def test_a_system_that_ends_with_its_scores_is_whole_without_a_report(folder):
    folder.define(systems={"a": {"stop_stage": 5}, "b": {}})
    for seed in (1, 2):
        marks = folder.root / f"a/seed{seed}/.stages"
        (marks / "7.json").rename(marks / "5.json")
    found = folder.compare()
    assert systems_of(found["tables"][0], 0) == ["a", "b"] and not found["missing"]
    folder.define(systems={"a": {}, "b": {}}, baseline="b")
    assert systems_of(folder.compare()["tables"][0], 0) == ["b"]


def test_levels_keep_their_order_and_have_tests_of_their_own(folder):
    folder.define(systems={"a": {}, "b": {}}, vary={"name": "rate", "levels": {"u 10": {}, "0": {"label": "none"}}})
    for i, system in enumerate(["a/u_10", "a/0", "b/0"]):
        for seed in (1, 2):
            folder.score(f"{system}/seed{seed}", "one.cosine", i)
    found = folder.compare()
    (table,) = found["tables"]
    assert [(level["level"], level["label"]) for level in table["levels"]] == [("u 10", "u 10"), ("0", "none")]
    assert [systems_of(table, i) for i in (0, 1)] == [["a"], ["a", "b"]]
    assert table["levels"][1]["systems"][1]["measures"]["eer"]["versus"]["p_holm"] <= 1
    assert found["missing"] == ["b/u_10/seed1, b/u_10/seed2: not whole, so 'b' at 'u 10' is left out"]


def test_the_last_validations_are_averaged_and_a_repeated_step_counts_once(folder):
    folder.validated("x", 0.1, 0.4, 0.2)
    path = folder.root / "x/metrics.jsonl"
    assert dev_measures(path, 2) == pytest.approx([0.3, 0.5])
    with open(path, "a") as file:
        file.write('{"step": 2, "dev_eer": 0.2, "dev_min_dcf": 0.5}\n')
    assert dev_measures(path, 2) == pytest.approx([0.3, 0.5])
    with pytest.raises(InputError, match="has 3 validations where the mean of 4 is asked for"):
        dev_measures(path, 4)
    path.write_text('{"step": 1}\n{"step"')
    with pytest.raises(InputError, match=r"metrics.jsonl:2: not a line of JSON"):
        dev_measures(path, 1)


def test_a_sweep_is_compared_by_seeds_alone(folder):
    folder.define(stop_stage=3, systems={"a": {}, "b": {}})
    for system, base in (("a", 0.2), ("b", 0.1)):
        for seed in (1, 2):
            folder.validated(f"{system}/seed{seed}", 0.5, base, base + 0.02 * seed)
    found = folder.compare()
    (table,) = found["tables"]
    folder.define(stop_stage=3, systems={"a": {}, "b": {}}, validations=3)
    (longer,) = folder.compare()["tables"]
    values = longer["levels"][0]["systems"][1]["measures"]["eer"]["values"]
    assert values == pytest.approx([(0.5 + 0.1 + 0.12) / 3, (0.5 + 0.1 + 0.14) / 3])
    entry = table["levels"][0]["systems"][1]["measures"]["eer"]
    assert entry["values"] == pytest.approx([0.11, 0.12]) and entry["versus"]["difference"] == pytest.approx(-0.1)
    assert found["judged"] == "mean of the last 2 validations" and table["scores"] == "held-out training speakers"


def test_nothing_to_compare_and_no_lists_are_errors(folder):
    with pytest.raises(InputError, match="no system of 'g' has all of its seeds"):
        folder.compare(without=["a/seed1", "b/seed1", "b/seed1-lm"])
    for path in (folder.data / "eval/trials").iterdir():
        path.unlink()
    with pytest.raises(InputError, match="there are no trial lists"):
        folder.compare()


def test_a_list_that_does_not_fit_is_named(folder):
    (folder.root / "a/seed2/scores/one.cosine").write_text("x y 1\n")
    with pytest.raises(InputError, match=r"one.cosine:1: 'x y' is not in .*trials/one"):
        folder.compare()


def test_curves_that_cannot_be_drawn_are_missing_and_the_tables_are_not(folder):
    folder.define(curves=["weight"])
    for system in ("a", "b"):
        folder.noted(f"{system}/seed1", 1, 2)
        folder.noted(f"{system}/seed2", 3, 4)
    (folder.root / "a/seed2/metrics.jsonl").unlink()
    (folder.root / "b/seed2/metrics.jsonl").write_text('{"step": 9, "epoch": 9, "weight": 1}\n')
    for seed in (1, 2):
        folder.noted(f"b/seed{seed}-lm", 5, 6)
    found = folder.compare()
    assert len(found["tables"]) == 2 and [line["system"] for line in found["curves"][0]["lines"]] == ["b-lm"]
    absent, apart = found["missing"]
    assert absent.startswith(f"curves: 'a' has none: {folder.root}/a/seed2/metrics.jsonl: there is no such file")
    assert apart.startswith(f"curves: 'weight' of {folder.root}/b/seed1, ") and "no epoch in common" in apart
    for seed in (1, 2):
        (folder.root / f"b/seed{seed}-lm/metrics.jsonl").write_text("null\n")
    found = folder.compare()
    assert "curves" not in found and len(found["tables"]) == 2 and "seed1-lm/metrics.jsonl:1: not what" in found["missing"][2]


def test_a_part_of_the_grid_against_another_baseline_is_what_a_grid_of_it_would_tell(folder, capsys):
    line = ["--grid", f"{folder.path}/g.yaml", "--root", f"{folder.root}", "--data", f"{folder.data}", "--bootstrap", "20"]
    main(compare_systems, [*line, "--systems", "b,b-lm", "--baseline", "b", "--out", str(folder.path / "part")])
    folder.define(baseline="b", systems={"b": {"stop_stage": 8}})
    main(compare_systems, [*line, "--out", str(folder.path / "whole")])
    part, whole = (json.loads((folder.path / out / "comparison.json").read_text()) for out in ("part", "whole"))
    assert part == whole and systems_of(part["tables"][0]) == ["b", "b-lm"]
    folder.define()
    for words, says in ((["--systems", "b"], "the baseline 'a' is not among the systems b: name it"),
                        (["--systems", "a,bb"], "the grid 'g' has no system 'bb'"), (["--baseline", "c"], "has no system 'c'"),
                        (["--systems", "a"], "give --out"), (["--baseline", "b"], "give --out")):
        with pytest.raises(SystemExit):
            main(compare_systems, [*line, *words])
        assert says in capsys.readouterr().err
    assert not (folder.root / "COMPARISON.md").exists()  # where the comparison of the whole grid lies


def test_the_command_writes_the_same_files_every_time(folder, capsys):
    line = ["--grid", f"{folder.path}/g.yaml", "--root", f"{folder.root}", "--data", f"{folder.data}", "--bootstrap", "20"]
    written = []
    for out in ("first", "second"):
        main(compare_systems, [*line, "--out", str(folder.path / out)])
        written.append({path.name: path.read_bytes() for path in (folder.path / out).iterdir()})
    assert written[0] == written[1] and set(written[0]) == {"COMPARISON.md", "comparison.json", "comparison.tsv"}
    assert json.loads(written[0]["comparison.json"])["bootstrap"]["resamples"] == 20
    assert written[0]["COMPARISON.md"].decode() in capsys.readouterr().out
    (folder.path / "second/eer-gone-cosine.png").touch()
    main(compare_systems, [*line, "--out", str(folder.path / "second")])
    assert not (folder.path / "second/eer-gone-cosine.png").exists()
    folder.define(systems={"a": {}, "b": {}}, curves=["weight", "wait"])
    folder.noted("a/seed1", 1, 2)
    folder.noted("a/seed2", 3, 4)
    for seed in (1, 2):
        folder.validated(f"b/seed{seed}", 0.1)
        folder.mark(f"b/seed{seed}", "7.json")
    main(compare_systems, [*line, "--out", str(folder.path / "second")])
    text = (folder.path / "second/COMPARISON.md").read_text()
    assert "![weight](curves.png)" in text and "of those systems that have them; the mean over seeds" in text
    assert "- curves: no system has the figure 'wait' (did you mean 'weight'?); there is: weight\n" in text
    assert (folder.path / "second/curves.png").read_bytes()[:4] == b"\x89PNG"
    (panel,) = json.loads((folder.path / "second/comparison.json").read_text())["curves"]
    (drawn,) = panel["lines"]
    assert (drawn["system"], drawn["epochs"], drawn["mean"]) == ("a", [0.5, 1.0], [2, 3])
    folder.define(systems={"a": {}, "b": {}})
    main(compare_systems, [*line, "--out", str(folder.path / "second")])
    assert not (folder.path / "second/curves.png").exists()
    for words in (["--bootstrap", "-1"], ["--p-targets", "x"]):
        with pytest.raises(SystemExit):
            main(compare_systems, [*line[:6], *words])
