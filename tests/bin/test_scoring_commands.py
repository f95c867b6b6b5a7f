"""Stages 5 to 7 through their command lines: files in, files out, and one clear line when something is wrong."""

import json
import subprocess
import sys

import numpy as np
import pytest

from tests.scoring.conftest import every_pair, random_set, write_set
from wespk.bin.compute_metrics import compute_metrics
from wespk.bin.make_report import make_report
from wespk.bin.score_cosine import score_cosine
from wespk.bin.score_norm import score_norm
from wespk.io.tables import join_labels, read_scores, read_table, write_scores, write_table, write_trials
from wespk.metrics import eer
from wespk.utils.cli import main


@pytest.fixture
def stage(tmp_path):
    """A folder with embeddings of 8 evaluation and 15 training speakers, and a trial list `hard` of every pair."""
    evaluation, training = random_set("e", 8, 4, seed=3), random_set("t", 15, 4, seed=4)
    write_set(tmp_path / "eval", *evaluation)
    write_set(tmp_path / "train", *training)
    write_trials(tmp_path / "hard", every_pair(evaluation[1]))
    return tmp_path


def run(function, **options):
    """The command with options as words; returns its exit status."""
    words = [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    try:
        main(function, words)
    except SystemExit as stop:
        return stop.code
    return 0


def score(stage, **changes):
    options = {"trials": stage / "hard", "embeddings": stage / "eval/xvector.scp", "out": stage / "scores/hard.cosine",
               "mean_embeddings": stage / "train/xvector.scp"}  # fmt: skip
    return run(score_cosine, **{**options, **changes})


def normalise(stage, **changes):
    options = {"scores": stage / "scores/hard.cosine", "embeddings": stage / "eval/xvector.scp",
               "mean_embeddings": stage / "train/xvector.scp", "cohort_scp": stage / "train/xvector.scp",
               "cohort_utt2spk": stage / "train/utt2spk", "out": stage / "scores/hard.cosine.asnorm"}  # fmt: skip
    return run(score_norm, **{**options, **changes})


def test_a_cohort_of_another_corpus_may_hold_the_same_names(stage, capsys):
    score(stage)
    same = {"cohort_scp": stage / "eval/xvector.scp", "cohort_utt2spk": stage / "eval/utt2spk"}
    assert normalise(stage, **same) == 1 and normalise(stage, **same, other_corpus="true") == 0
    assert "--other-corpus true (run.sh: the name of the tested data's corpus in the file 'corpus' of" in capsys.readouterr().err
    assert normalise(stage, other_corpus="true", utt2spk=stage / "eval/utt2spk") == 1


def measure(stage, *systems, **changes):
    options = {"scores": ",".join(f"{stage}/scores/hard.{system}" for system in systems),
               "trials": ",".join([f"{stage}/hard"] * len(systems)),
               "out": stage / "exp/results/metrics.json", "bootstrap": 30}  # fmt: skip
    return run(compute_metrics, **{**options, **changes})


def report(stage, **changes):
    options = {"metrics": stage / "exp/results/metrics.json", "out_dir": stage / "exp/results"}
    return run(make_report, **{**options, **changes})


def test_from_embeddings_to_the_report(stage, capsys):
    assert score(stage) == 0
    assert normalise(stage, top_n=5) == 0
    assert measure(stage, "cosine", "cosine.asnorm", utt2spk=stage / "eval/utt2spk") == 0
    assert report(stage) == 0
    results = json.loads((stage / "exp/results/metrics.json").read_text())
    assert [s["name"] for s in results["lists"][0]["systems"]] == ["cosine", "cosine.asnorm"]
    for system in results["lists"][0]["systems"]:
        joined = join_labels(stage / f"scores/hard.{system['name']}", stage / "hard")
        assert system["metrics"]["eer"]["value"] == pytest.approx(eer(*joined))
    assert results["lists"][0]["num_speakers"] == 8
    written = sorted(path.name for path in (stage / "exp/results").iterdir())
    assert written == ["RESULTS.md", "det.png", "metrics.json", "report.html"]
    text = (stage / "exp/results/RESULTS.md").read_text()
    assert text.startswith("# Results: exp\n") and "from utt2spk" in text
    printed = capsys.readouterr().out
    assert "496 trials, asnorm with a cohort of 15 speakers, top 5" in printed
    assert text in printed


def test_scores_stand_in_the_order_of_the_trials_and_unlabelled_trials_do(stage):
    trials = stage / "unlabelled"
    trials.write_text("e003-s0-000 e001-s0-000\ne000-s0-000 e001-s0-000\n")
    assert score(stage, trials=trials) == 0
    enroll, test, _ = read_scores(stage / "scores/hard.cosine")
    assert (enroll, test) == (["e003-s0-000", "e000-s0-000"], ["e001-s0-000"] * 2)


@pytest.mark.parametrize("method", ["znorm", "tnorm", "snorm", "asnorm"])
def test_every_method_and_both_cohort_levels_write_scores_of_their_own(stage, method, capsys):
    score(stage)
    results = []
    for level in ({}, {"cohort_utt2spk": ""}):
        assert normalise(stage, method=method, top_n=10, **level) == 0
        results.append(read_scores(stage / "scores/hard.cosine.asnorm")[2])
    assert "cohort of 15 speakers" in capsys.readouterr().out
    assert not np.allclose(*results)


def test_top_n_above_the_cohort_uses_all_of_it_and_says_so(stage, capsys):
    score(stage)
    normalise(stage, method="snorm")
    snorm = read_scores(stage / "scores/hard.cosine.asnorm")[2]
    capsys.readouterr()
    assert normalise(stage, top_n=300) == 0
    assert read_scores(stage / "scores/hard.cosine.asnorm")[2] == pytest.approx(snorm, rel=1e-6)
    captured = capsys.readouterr()
    assert "top 15" in captured.out and "--top-n 300 is above the cohort's size: all 15 are used" in captured.err


def test_speakers_for_the_intervals_come_from_the_target_trials_if_not_given(stage):
    score(stage)
    assert measure(stage, "cosine") == 0
    (found,) = json.loads((stage / "exp/results/metrics.json").read_text())["lists"]
    assert (found["num_speakers"], found["speakers_from"]) == (8, "told apart by the target trials")


def test_scores_named_llr_or_declared_llr_get_act_dcf_and_cllr(stage):
    score(stage)
    write_scores(stage / "scores/hard.llr", *read_scores(stage / "scores/hard.cosine"))
    assert measure(stage, "cosine", "llr", p_targets="0.2") == 0
    raw, llr = json.loads((stage / "exp/results/metrics.json").read_text())["lists"][0]["systems"]
    assert "act_dcf_0.2" in llr["metrics"] and "cllr" in llr["metrics"] and "cllr" not in raw["metrics"]
    assert measure(stage, "cosine", llr="true", bootstrap=0) == 0
    assert "cllr" in json.loads((stage / "exp/results/metrics.json").read_text())["lists"][0]["systems"][0]["metrics"]


def test_expected_values_are_checked_and_fatal_only_if_strict(stage, capsys):
    score(stage)
    measure(stage, "cosine", bootstrap=0)
    expected = stage / "expected.yaml"
    expected.write_text("hard:\n  cosine: {eer: [0, 1e-3]}\n")
    assert report(stage, expected=expected) == 0
    assert "expected 0.000 to 0.100" in (stage / "exp/results/RESULTS.md").read_text()
    assert report(stage, expected=expected, strict="true") == 1
    assert "1 of the ranges" in capsys.readouterr().err


def bad_vectors(stage, folder, key, value):
    scp = stage / folder / "xvector.scp"
    vectors, utt2spk = random_set(*{"eval": ("e", 8, 4), "train": ("t", 15, 4)}[folder])
    write_set(scp.parent, {**vectors, key: np.full(8, value)}, utt2spk)


@pytest.mark.parametrize("value, says", [(0.0, "all zeros"), (np.nan, "not finite")])
@pytest.mark.parametrize("folder, key", [("eval", "e002-s1-001"), ("train", "t004-s0-002")])
def test_a_zero_or_nan_embedding_anywhere_stops_the_stage_by_name(stage, capsys, folder, key, value, says):
    score(stage)
    (stage / "scores/hard.cosine.asnorm").write_text("old")
    bad_vectors(stage, folder, key, value)
    assert score(stage, out=stage / "new") == 1
    assert not (stage / "new").exists()
    assert normalise(stage, mean_embeddings="none") == 1
    assert (stage / "scores/hard.cosine.asnorm").read_text() == "old"
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2 and all(f"'{key}' is {says}" in line for line in lines)


@pytest.mark.parametrize("work, says", [
    (lambda s: score(s, embeddings=s / "train/xvector.scp"), "no embedding of 'e000-s0-000', which the trials name"),
    (lambda s: score(s, mean_embeddings=s / "nowhere"), "nowhere: no such file"),
    (lambda s: score(s, trials=s / "nowhere"), "nowhere: no such file"),
    (lambda s: normalise(s, method="as-norm"), "--method 'as-norm' is unknown (did you mean 'asnorm'?)"),
    (lambda s: normalise(s, top_n=0), "top_n must be at least 1"),
    (lambda s: normalise(s, top_n=1), "top_n of 2 or more"),
    (lambda s: normalise(s, cohort_scp=s / "eval/xvector.scp", cohort_utt2spk=s / "eval/utt2spk"), "are one speaker"),
    (lambda s: normalise(s, cohort_utt2spk=s / "eval/utt2spk"), "no speaker for 't000-s0-000'"),
    (lambda s: measure(s, "cosine", p_targets="0.01;0.05"), "--p-targets takes numbers separated by commas"),
    (lambda s: measure(s, "cosine", p_targets="1"), "p_target must lie between 0 and 1"),
    (lambda s: measure(s, "cosine", bootstrap=-1), "must not be negative"),
    (lambda s: measure(s, "cosine", names="a,b"), "give one for each score file"),
    (lambda s: measure(s, "cosine", "cosine"), "are called 'cosine'"),
    (lambda s: measure(s, "cosine", utt2spk=s / "train/utt2spk"), "has no speaker in the --utt2spk given"),
    (lambda s: report(s), "metrics.json: cannot be read"),
    (lambda s: report(s, metrics=s / "hard"), "hard: cannot be read"),
])  # fmt: skip
def test_wrong_input_is_one_line_and_a_failure(stage, capsys, work, says):
    assert score(stage) == 0
    capsys.readouterr()
    assert work(stage) == 1
    error = capsys.readouterr().err
    assert says in error and error.count("\n") == 1


def test_one_class_lists_are_named(stage, capsys):
    trials = stage / "hard"
    trials.write_text("".join(line for line in trials.open() if not line.endswith("nontarget\n")))
    score(stage)
    assert measure(stage, "cosine") == 1
    assert f"{trials}: the trial list has no nontarget trials" in capsys.readouterr().err


def test_labels_that_contradict_utt2spk_are_named_with_the_list(stage, capsys):
    score(stage)
    table = read_table(stage / "eval/utt2spk")
    write_table(stage / "wrong", {**table, "e001-s0-000": "e000"})
    assert measure(stage, "cosine", utt2spk=stage / "wrong") == 1
    error = capsys.readouterr().err
    assert str(stage / "hard") in error and "which its speakers contradict" in error


def test_results_of_another_format_are_refused(stage, capsys):
    (stage / "other.json").write_text('{"format": 0}')
    assert report(stage, metrics=stage / "other.json") == 1
    assert "run it again" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["score_cosine", "score_norm", "compute_metrics", "make_report"])
def test_help_loads_no_numerical_library(command):
    script = f"""
import sys
sys.argv[1:] = ["--help"]
from wespk.bin.{command} import {command} as function
from wespk.utils.cli import main
try:
    main(function)
finally:
    print(sorted({{"numpy", "torch", "matplotlib", "fire"}} & set(sys.modules)))
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert run.stdout.endswith("[]\n") and "required" in run.stdout
