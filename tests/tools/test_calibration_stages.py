"""PLDA and calibration in tools/stages.sh: what is called with what, what is done again, what is refused."""

import shutil
import subprocess

import pytest

from tests.conftest import ROOT
from tests.tools.staged_recipe import Stages, as_kept, keep_copy

PLDA = ("--scoring", "plda", "--plda", "lda-dim=100 whiten=true")


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """The folder of a recipe after stage 6 with PLDA and calibration, and a copy of it."""
    folder = tmp_path_factory.mktemp("calibrated") / "a JOB"
    Stages(folder).run("--stop-stage", 6, *PLDA, "--calibrate", "dev", "--quality", "duration,cohort")
    return keep_copy(folder)


@pytest.fixture
def stages(done):
    return Stages(as_kept(done))


def test_every_score_file_of_both_kinds_is_calibrated_by_the_held_out_speakers(stages):
    written = {path.name for path in (stages.exp / "scores").iterdir()}
    kinds = ("cosine", "cosine.asnorm", "cosine.asnorm.llr", "plda", "plda.llr")
    assert written == {f"{name}.{kind}" for name in "AB" for kind in kinds}
    stages.only(6, *PLDA, "--calibrate", "dev", "--quality", "duration,cohort", "--force", "true")
    (trained, other) = stages.calls_of("train_calibration")
    assert f"--trials {stages.data}/dev/trials/dev" in trained and "calibration/cosine.asnorm " in trained
    assert "calibration/plda " in other
    measures = stages.calls_of("measure_quality")
    assert len(measures) == 3 and all("utt2dur" in line and "--feats" not in line for line in measures)
    folder = stages.exp / "calibration"
    for call, name in zip(stages.calls_of("apply_calibration")[::2], "AB"):
        assert call.endswith(f"--quality {folder}/{name}.quality/duration,{folder}/{name}.quality/cohort")
    (embedded, _) = stages.calls_of("extract_embeddings")
    assert f"--data {stages.data}/dev" in embedded and "--device cpu" in embedded


def test_training_speakers_are_parted_from_their_cohort(stages):
    stages.only(6, "--calibrate", "train")
    assert len(stages.calls_of("make_calibration_trials")) == 1
    first, *others = stages.calls_of("score_norm")[::-1]
    assert "calibration/cohort.scp" in first and all("embeddings/train/xvector.scp" in line for line in others)
    assert not stages.calls_of("extract_embeddings") and not stages.calls_of("measure_quality")


def test_speakers_of_wrong_labels_calibrate_only_beside_a_cohort_that_wrong_labels_do_not_average(stages):
    noise = ("--exp", stages.folder / "noisy", "--set", "labels.noise=uniform labels.rate=0.3 labels.seed=5")
    stages.run("--stage", 3, "--stop-stage", 5, *noise)
    words = (*noise[:2], "--calibrate", "train")
    status, _, errors = stages.only(6, *words, check=False)
    assert status == 1 and "labels.noise=uniform the cohort's averages by wrong ones" in errors
    assert "give --calibrate dev, or --cohort utterance" in errors
    stages.only(6, *words, "--cohort", "utterance")
    (made,) = stages.calls_of("make_calibration_trials")
    assert f"--utt2spk {stages.data}/train/utt2spk" in made  # by the true speakers
    assert not any("--cohort-utt2spk" in line for line in stages.calls_of("score_norm"))


def test_measures_that_were_not_made_stop_the_calibration(stages):
    words = (6, "--calibrate", "train", "--quality", "duration,snr,magnitude")
    stages.only(*words)
    assert [("--feats" in line, "--utt2dur" in line) for line in stages.calls_of("measure_quality")] == [(True, True)] * 3
    (stages.folder / "log.measure_quality.status").write_text("0")  # it says nothing and writes nothing
    shutil.rmtree(stages.exp / "calibration" / "quality")
    status, _, errors = stages.only(*words, "--force", "true", check=False)
    assert status == 1 and "calibration/quality/duration: no such file" in errors


def test_the_plda_options_reach_its_training_and_change_it(stages):
    _, said, _ = stages.only(5, "--scoring", "plda", "--plda", "lda-dim=50")
    assert "option plda" in " ".join(said)
    _, trained = stages.calls_of("train_plda")
    assert trained.endswith("--lda-dim 50") and f"--utt2spk {stages.data}/train/utt2spk" in trained
    status, _, errors = stages.only(6, *PLDA, "--calibrate", "dev", check=False)
    assert status == 1 and "stage 6 builds on stage 5, which is out of date (option plda was 'lda-dim=50', is" in errors


def test_the_report_is_of_raw_and_calibrated_scores_and_needs_both(stages):
    options = (*PLDA, "--calibrate", "dev", "--quality", "duration,cohort")
    stages.only(7, *options)
    (measured,) = stages.calls_of("compute_metrics")
    for kind in ("cosine", "cosine.asnorm", "plda", "cosine.asnorm.llr", "plda.llr"):
        assert f"scores/B.{kind}," in measured
    (told,) = stages.calls_of("make_report")
    assert "learnt from trials among the held-out speakers, with quality measures (duration,cohort), for a prior of 0.05." in told
    status, _, errors = stages.only(7, *PLDA, "--calibrate", "dev", check=False)
    assert status == 1 and "stage 7 builds on stage 6, which is out of date (option quality" in errors
    (stages.exp / "scores" / "A.plda.llr").unlink()
    status, _, errors = stages.only(7, *options, check=False)
    assert status == 1 and "A.plda.llr, which stage 6 makes" in errors


@pytest.mark.parametrize("words, says", [
    (("--scoring", "lda"), "--scoring takes cosine or plda"), (("--plda", "lda-dim=5"), "give --scoring plda as well"),
    (("--calibrate", "true"), "--calibrate takes none, train or dev, not 'true'"),
    (("--calibrate", "train", "--scoring", "plda"), "speakers that it was trained on"),
    (("--quality", "duration"), "give --calibrate as well"),
    (("--p-target", "0.01"), "--p-target is the prior that calibration serves: give --calibrate as well"),
    (("--quality", "duration,length", "--calibrate", "dev"), "not 'length'"),
    (("--p-target", "1.5", "--calibrate", "dev"), "--p-target takes a probability between 0 and 1, not '1.5'"),
    (("--l2", "1e-3"), "--l2 is calibration's: give --calibrate as well"),
    (("--l2", "-1", "--calibrate", "dev"), "--l2 takes a number, 0 or more, not '-1'"),
    (("--top-n", "0"), "--top-n takes a number, 1 or more, not '0'"),
    (("--top-n", "many"), "--top-n takes a number, 1 or more, not 'many'"),
    (("--top-n", "5", "--score-norm", "snorm"), "of as-norm and of the quality measure cohort: without either, leave it out"),
    (("--cohort", "speaker", "--score-norm", "none"), "--cohort is what scores are normalised with"),
    (("--quality", "snr", "--calibrate", "dev", "--set", "features.type=mfcc", "--seed", "9"), "features.type=mfcc: leave snr out"),
    (("--scoring", "plda", "--plda", "whiten"), "--plda takes words option=value"),
    (("--scoring", "plda", "--plda", "out_dir=x"), "--plda: out-dir is not to be chosen here"),
    (("--scoring", "plda", "--plda", "lda-dim=65", "--set", "model.embed_dim=64", "--seed", "9"), "at most model.embed_dim=64"),
])  # fmt: skip
def test_options_that_mean_nothing_are_refused_before_the_first_stage(stages, words, says):
    status, said, errors = stages.run(*words, check=False)
    assert status == 1 and says in errors
    assert not any("stage 1" in line for line in said)


def test_the_values_of_plda_are_looked_at_before_the_first_stage_by_its_own_entry_point(stages):
    (stages.folder / "log.train_plda.status").write_text("1")
    status, said, errors = stages.run(*PLDA, check=False)
    assert status == 1 and "--plda 'lda-dim=100 whiten=true' cannot be followed" in errors and "stage 1" not in "".join(said)
    (checked,) = stages.calls_of("train_plda")
    assert checked.endswith("--check true --lda-dim 100 --whiten true")


def test_status_without_the_options_of_plda_says_that_they_are_not_given_and_that_it_judges_by_them(stages):
    stages.only(5, "--scoring", "plda")
    bare, asked = (stages.run("--status", *words)[1] for words in ((), ("--scoring", "plda")))
    (line,) = [line for line in bare if " scoring " in f" {line}"]
    assert "stale" in line and "option plda was '', is not given now; input" in line and "no longer used" in line
    assert bare[-1].endswith("with those that it was run with)")
    (line,) = [line for line in asked if " scoring " in f" {line}"]
    assert "whole" in line


def test_an_option_of_plda_with_an_underscore_is_the_same_as_with_a_dash(stages):
    words = ("--scoring", "plda", "--plda")
    stages.only(5, *words, "lda_dim=50 length_norm=false")
    assert stages.calls_of("train_plda")[0].endswith("--check true --lda-dim 50 --length-norm false")
    assert stages.calls_of("train_plda")[-1].endswith("--lda-dim 50 --length-norm false")
    stages.only(5, *words, "lda-dim=50 length-norm=false")
    assert len(stages.calls_of("train_plda")) == 1 and not stages.calls_of("score_plda")  # looked at, and current


def test_the_penalty_reaches_calibration(stages):
    stages.only(6, "--calibrate", "train", "--l2", "1e-3")
    assert "--l2 1e-3" in stages.calls_of("train_calibration")[0]


def test_without_held_out_speakers_they_cannot_calibrate(stages):
    shutil.rmtree(stages.data / "dev" / "trials")
    status, _, errors = stages.only(6, "--calibrate", "dev", "--force", "true", check=False)
    assert status == 1 and "dev/trials/dev, which stage 1 makes" in errors


def say_of(script):
    """What a bash script says that knows the functions of tools/stages/calibration.sh."""
    words = ["bash", "-euc", f". '{ROOT}/tools/stages/calibration.sh'; {script}"]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("norm, quality, counts", [("snorm", "snr,cohort", True), ("none", "cohort", True), ("snorm", "snr", False)])
def test_how_many_cohort_scores_are_kept_decides_measures_by_the_cohort(norm, quality, counts):
    script = (f"options=(); calibrate=dev score_norm={norm} quality={quality} top_n=77 p_target=0.05 l2=0 scoring=cosine; "
              "calibration_options; echo ${options[*]}")
    assert ("top_n=77" in say_of(script).split()) == counts


def test_plda_follows_the_embeddings_that_it_is_adapted_to(tmp_path):
    """Not their scp alone, whose offsets stay as they are when the ark is written again."""
    existing = 'existing() { local -n array=$1; array+=("${@:2}"); }'
    script = (f"{existing}; found=(); plda='whiten=true adapt_embeddings={tmp_path}/x.scp'; spell_plda; "
              "adaptation_inputs found; echo ${found[*]}")  # fmt: skip
    assert say_of(script).split() == [f"{tmp_path}/x.scp", f"{tmp_path}/x.ark"]
    assert not say_of(f"{existing}; found=(); plda=whiten=true; adaptation_inputs found; echo ${{found[*]}}").split()
