"""Two experiments after calibration, fused by one command: better than either, learnt from other trials, reported."""

import json

import numpy as np
import pytest

from tests.bin.test_scoring_commands import run
from wespk.bin.apply_calibration import apply_calibration
from wespk.bin.fuse import fuse
from wespk.bin.train_calibration import train_calibration
from wespk.io.tables import Trials, read_scores, write_scores, write_table, write_trials


@pytest.fixture
def place(tmp_path):
    """Experiments a and b whose scores have independent errors, after stage 6, and the data that they were tested on."""
    draw = np.random.default_rng(2)
    speaker_of = {f"s{i % 30:02d}-{i:03d}": f"s{i % 30:02d}" for i in range(150)}
    keys = sorted(speaker_of)
    pairs = [(a, b) for i, a in enumerate(keys) for b in keys[:i] if speaker_of[a] == speaker_of[b] or (i * 7 + len(b)) % 5 == 0]
    labels = np.array([speaker_of[a] == speaker_of[b] for a, b in pairs], np.int8)
    trials = Trials(*map(list, zip(*pairs)), labels)
    write_table(tmp_path / "data/eval/utt2spk", speaker_of)
    for key in (tmp_path / "data/eval/trials/list", tmp_path / "data/dev/trials/dev"):
        write_trials(key, trials)
    for exp in "ab":
        folder = tmp_path / "exp" / exp
        for path in (folder / "calibration/cosine", folder / "scores/list.cosine"):
            write_scores(path, trials.enroll, trials.test, 0.1 * labels + 0.06 * draw.normal(size=len(labels)))
        calibrate(tmp_path, exp)
    return tmp_path


def calibrate(place, exp, kind="cosine"):
    folder = place / "exp" / exp
    assert run(train_calibration, scores=folder / "calibration" / kind, trials=place / "data/dev/trials/dev",
               out=folder / f"calibration/{kind}.json") == 0
    assert run(apply_calibration, model=folder / f"calibration/{kind}.json", scores=folder / f"scores/list.{kind}",
               out=folder / f"scores/list.{kind}.llr") == 0


def fusing(place, **changes):
    options = {"exps": f"{place}/exp/a,{place}/exp/b", "data": place / "data", "out": place / "exp/a+b", "kinds": "cosine",
               "bootstrap": 20}
    return run(fuse, **{**options, **changes})


def test_the_fusion_is_better_than_each_and_stands_beside_them(place):
    assert fusing(place) == 0
    (found,) = json.loads((place / "exp/a+b/results/metrics.json").read_text())["lists"]
    assert [system["name"] for system in found["systems"]] == ["fusion", "a", "b"]
    cllr = [system["metrics"]["cllr"]["value"] for system in found["systems"]]
    assert cllr[0] < 0.8 * min(cllr[1:])
    report = (place / "exp/a+b/results/RESULTS.md").read_text()
    assert "Fusion of a, b, learnt from the trials that calibrated them. Beside it" in report and "actDCF" in report
    weights = json.loads((place / "exp/a+b/fusion.json").read_text())["weights"]
    llr, ours = read_scores(place / "exp/a+b/scores/list.fusion.llr")[2], 0
    for exp, weight in zip("ab", weights):
        ours = ours + weight * read_scores(place / "exp" / exp / "scores/list.cosine")[2]
    assert np.ptp(llr - ours) < 1e-5


def test_kinds_of_one_experiment_may_be_fused(place):
    for name in ("calibration/{}", "scores/list.{}"):
        (place / "exp/a" / name.format("plda")).write_bytes((place / "exp/b" / name.format("cosine")).read_bytes())
    calibrate(place, "a", "plda")
    assert fusing(place, exps=place / "exp/a", kinds="cosine,plda", trials="list") == 0
    (found,) = json.loads((place / "exp/a+b/results/metrics.json").read_text())["lists"]
    assert [system["name"] for system in found["systems"]] == ["fusion", "cosine", "plda"]


def test_measures_of_quality_of_the_first_experiment_may_be_taken_into_account(place):
    keys = sorted(line.split()[0] for line in (place / "data/eval/utt2spk").read_text().splitlines())
    values = {key: f"{value:.6f}" for key, value in zip(keys, np.random.default_rng(1).normal(size=len(keys)))}
    for folder in ("quality", "list.quality"):
        write_table(place / "exp/a/calibration" / folder / "duration", values)
    assert fusing(place, quality="duration") == 0
    names = json.loads((place / "exp/a+b/fusion.json").read_text())["names"]
    assert names == ["score1", "score2", "duration.min", "duration.difference"]
    assert "with quality measures (duration)" in (place / "exp/a+b/results/RESULTS.md").read_text()


def test_what_cannot_be_fused_is_named(place, capsys):
    def refused(text, **changes):
        assert fusing(place, **changes) == 1 and text in capsys.readouterr().err

    refused("one system cannot be fused", exps=place / "exp/a")
    refused("is there twice", exps=f"{place}/exp/a,{place}/exp/../exp/a")
    refused("exp/a/calibration/plda.json: no such file; --kinds there: cosine; for others run stages 5 and 6 with --calibrate there and "
            "--scoring plda",
            kinds="cosine,plda")  # fmt: skip
    refused("a/calibration/cosin.json: no such file; --kinds there: cosine (did you mean 'cosine'?); for others run stages 5 and 6",
            kinds="cosine,cosin")  # fmt: skip
    refused("there are no trial lists", data=place)
    refused("calibration/quality/snr: no such file; run stage 6 with --calibrate and --quality snr there", quality="snr")
    refused("list.other.cosine: no such file", trials="list.other")
    lines = (place / "exp/b/calibration/cosine").read_text().splitlines(keepends=True)
    (place / "exp/b/calibration/cosine").write_text("".join(lines[::-1]))
    refused("exp/b/calibration/cosine:1: not the trial that", trials="list")


def test_scores_of_another_time_than_their_calibration_are_not_fused(place, capsys):
    """The experiment was trained and scored again, without --calibrate."""
    path = place / "exp/b/scores/list.cosine"
    enroll, test, scores = read_scores(path)
    write_scores(path, enroll, test, scores + 0.01)
    assert fusing(place) == 1 and "list.cosine.llr: not what" in (error := capsys.readouterr().err)
    assert "run stages 5 and 6 with --calibrate there again" in error
    (place / "exp/b/scores/list.cosine.llr").unlink()
    assert fusing(place) == 1 and "b/scores/list.cosine.llr: no such file; score list with all" in capsys.readouterr().err
    assert not (place / "exp/a+b").exists()


def test_the_systems_own_calibration_with_measures_is_known_again(place, capsys):
    folder, keys = place / "exp/a", sorted(line.split()[0] for line in (place / "data/eval/utt2spk").open())
    draw = np.random.default_rng(1)
    for name in ("quality", "list.quality"):
        write_table(folder / "calibration" / name / "duration", {key: f"{draw.normal():.6f}" for key in keys})
    learnt, scored = folder / "calibration/quality/duration", folder / "calibration/list.quality/duration"
    assert run(train_calibration, scores=folder / "calibration/cosine", trials=place / "data/dev/trials/dev", quality=learnt,
               out=folder / "calibration/cosine.json") == 0
    assert run(apply_calibration, model=folder / "calibration/cosine.json", scores=folder / "scores/list.cosine",
               out=folder / "scores/list.cosine.llr", quality=scored) == 0
    capsys.readouterr()
    assert fusing(place, quality="duration") == 0
    assert "fusion.json: " in (error := capsys.readouterr().err) and "are too few to learn from measures" in error
    assert fusing(place) == 0 and not capsys.readouterr().err


def test_an_experiment_is_not_written_over_and_its_kind_of_averages_not_mistaken(place, capsys):
    def refused(text, **changes):
        assert fusing(place, **changes) == 1 and text in capsys.readouterr().err

    refused("is one of the experiments, whose results would be lost", out=f"{place}/exp/../exp/b")
    refused("--enroll-mean plain is about enrolments that are averages", enroll_mean="plain")
    (place / "exp/b/results").mkdir()
    averaged = [{"name": "list", "averaged": {"mean": "plain"}}, {"name": "other", "averaged": None}]
    (place / "exp/b/results/metrics.json").write_text(json.dumps({"lists": averaged}))
    refused("says that enrolments of list are averages of the kind plain: give --enroll-mean plain")


def test_a_calibration_that_cannot_be_read_is_named(place, capsys):
    for text, says in (("{", "cannot be read"), ("[]", "does not say which trials")):
        (place / "exp/a/calibration/cosine.json").write_text(text)
        assert fusing(place) == 1 and f"a/calibration/cosine.json: {says}" in capsys.readouterr().err
