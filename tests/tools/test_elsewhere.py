"""Stages 4 to 7 on another data folder's evaluation set (--eval-data); entry points are fakes."""

import json
import subprocess
import sys

import pytest

from tests.conftest import ROOT
from tests.tools.staged_recipe import CURRENT, Stages, as_kept, keep_copy, words_of


class TwoCorpora(Stages):
    """A recipe with a trained experiment, and beside it the data of a recipe for another corpus."""

    def __init__(self, folder):
        super().__init__(folder / "egs" / "home" / "supervised")
        self.other = Stages(folder / "egs" / "away" / "supervised")
        self.on = self.exp / "on" / "away"

    def away(self, *words, stage=4, **options):
        return self.run("--stage", stage, "--exp", self.exp, "--eval-data", self.other.data, *words, **options)


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A folder with the experiment after stage 3, evaluated elsewhere; a copy of it; what the evaluation said and did."""
    folder = tmp_path_factory.mktemp("kept") / "a JOB"
    corpora = TwoCorpora(folder)
    corpora.run("--stop-stage", 3)
    corpora.other.run("--stop-stage", 2, text="away")
    (corpora.other.data / "eval" / "trials" / "B").rename(corpora.other.data / "eval" / "trials" / "C")
    _, said, _ = corpora.away()
    return keep_copy(folder), said, corpora.calls()


@pytest.fixture
def corpora(kept):
    return TwoCorpora(as_kept(kept[0]))


def test_embeddings_scores_and_results_of_the_other_corpus_lie_by_themselves(kept, corpora):
    _, said, calls = kept
    assert [line for line in said if " runs: " in line] == [f"stage {n} runs: not done yet" for n in (4, 4, 5, 6, 7)]
    read = f"{corpora.on}/embeddings, {corpora.exp}/embeddings/train, {corpora.other.data}/eval/trials"
    assert f"stage 5, scoring: {read} -> {corpora.on}/scores/LIST.cosine" in said
    scores = {f"{name}.cosine{norm}" for name in "AC" for norm in ("", ".asnorm")}
    assert {path.name for path in (corpora.on / "scores").iterdir()} == scores
    assert (corpora.on / "embeddings/eval/xvector.scp").is_file() and (corpora.on / "results/RESULTS.md").is_file()
    assert not (corpora.on / "embeddings/train").exists()
    assert not (corpora.exp / "scores").exists() and not (corpora.exp / "results").exists()
    own = f"{corpora.exp}/embeddings/train/xvector.scp"
    assert words_of(calls, "score_cosine", "--embeddings") == [f"{corpora.on}/embeddings/eval/xvector.scp"] * 2
    assert words_of(calls, "score_cosine", "--mean-embeddings") == [own] * 2
    assert words_of(calls, "score_norm", "--cohort-scp") == [own] * 2
    assert words_of(calls, "score_norm", "--cohort-utt2spk") == [f"{corpora.data}/train/utt2spk"] * 2
    assert words_of(calls, "score_norm", "--utt2spk") == [f"{corpora.other.data}/eval/utt2spk"] * 2
    assert words_of(calls, "compute_metrics", "--utt2spk") == [f"{corpora.other.data}/eval/utt2spk"]
    assert words_of(calls, "make_report", "--title") == ["plain on away"]
    (about,) = words_of(calls, "make_report", "--about")
    assert f"Trained on {corpora.data}/train; tested on {corpora.other.data}/eval." in about


def test_genres_of_the_tested_set_are_reported_when_there_are_any(kept, corpora):
    assert "--categories" not in kept[2]
    genres = corpora.other.data / "eval" / "utt2genre"
    genres.write_text("u speech\n")
    (corpora.other.data / "eval" / "enroll_maps").mkdir()
    _, said, _ = corpora.away(stage=7)
    assert f"stage 7 runs: input {genres} was not there before" in said
    assert words_of(corpora.calls(), "compute_metrics", "--categories") == [str(genres)]
    assert words_of(corpora.calls(), "compute_metrics", "--models") == [f"{corpora.other.data}/eval/enroll_maps"]


def test_what_does_not_depend_on_the_tested_set_is_made_once(corpora):
    words = ("--scoring", "plda", "--plda", "lda-dim=50", "--calibrate", "dev", "--stop-stage", 6)
    for expected in (1, 0):
        (corpora.other.data / "eval" / "trials" / "A").write_text(f"u v{expected} target\n")  # so that both are redone
        _, said, _ = corpora.away(*words, stage=5)
        trained = [line for line in words_of(corpora.calls(), "train_plda", "--out-dir") if line != "-"]
        assert trained == [f"{corpora.exp}/plda"] * expected
        assert words_of(corpora.calls(), "score_plda", "--backend") == [f"{corpora.exp}/plda"] * 3
        embedded = words_of(corpora.calls(), "extract_embeddings", "--out")
        assert embedded == [f"{corpora.exp}/calibration/dev"] * 2 * expected
        assert any("stage 6 runs" in line for line in said)


@pytest.mark.parametrize("changes, again", [
    ("", 0), ("step_options=(b=2);", 1), ('printf other >"$exp/input";', 1), ('printf other >"$exp/made";', 1),
    ('rm "$exp/made";', 1), ("force=true;", 1), ("force=true home=$exp/on/x;", 0), ("force=true made_here=' thing ';", 0),
])  # fmt: skip
def test_a_step_is_made_again_only_for_other_options_inputs_or_outputs_or_by_force(tmp_path, changes, again):
    """``once`` of tools/stages/calibration.sh, its ``make_thing`` noting each call and leaving a file."""
    (tmp_path / "input").write_text("input")
    script = (f"set -eu; WESPK_ROOT='{ROOT}'; . '{ROOT}/tools/run_stage.sh'; "
              f". '{ROOT}/tools/stages/calibration.sh'; python() {{ '{sys.executable}' \"$@\"; }}; say() {{ :; }}; "
              'existing() { local -n array=$1; array+=("${@:2}"); }; lock() { printf "%s " "$1" >>"$exp/locks"; }; '
              f"exp='{tmp_path}' home='{tmp_path}' force=false current=5 step_options=(a=1) step_inputs=('{tmp_path}/input') "
              f"step_outputs=('{tmp_path}/made'); make_thing() {{ printf x >>\"$exp/calls\"; printf made >\"$exp/made\"; }}; "
              f"once thing; made_here=' '; {changes} once thing; cat \"$exp/calls\"; current=")  # fmt: skip
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout == "x" * (1 + again), done.stderr
    assert (tmp_path / "locks").read_text() == "exclusive " * (1 + again)


def test_names_are_compared_with_the_cohorts_only_within_a_corpus(kept, corpora):
    assert "--other-corpus" not in kept[2]
    mark = corpora.other.data / ".stages" / "1.json"
    mark.write_text(mark.read_text().replace('"corpus": "voxceleb"', '"corpus": "cnceleb"'))
    corpora.away("--top-n", 100, stage=6)
    assert words_of(corpora.calls(), "score_norm", "--other-corpus") == ["true"] * 2
    assert "--utt2spk" not in "".join(line for line in corpora.calls().splitlines() if "score_norm" in line)


def test_a_folder_that_was_brought_along_says_its_corpus_in_a_file(corpora):
    (corpora.other.data / ".stages" / "1.json").unlink()
    (corpora.other.data / "corpus").write_text("cnceleb\n")
    corpora.away("--top-n", 100, stage=6)
    assert words_of(corpora.calls(), "score_norm", "--other-corpus") == ["true"] * 2


SAME, OTHER = 1, 0


@pytest.mark.parametrize("noted, named, found", [
    (None, None, SAME), (None, "home", SAME), (None, "away", OTHER), (None, "two words", "does not hold one word"),
    ("home", None, SAME), ("away", None, OTHER), ("away", "away\n", OTHER),
    ("away", "home", "corpus says home, but stage 1 noted there: option corpus was 'away', is 'home'; remove the file"),
])  # fmt: skip
def test_a_corpus_is_another_by_what_stage_1_noted_or_a_file_says(tmp_path, noted, named, found):
    if noted:
        (tmp_path / ".stages").mkdir()
        (tmp_path / ".stages/1.json").write_text(json.dumps({"options": {"corpus": noted}, "inputs": {}, "outputs": {}}))
    if named:
        (tmp_path / "corpus").write_text(named)
    script = (f"set -eu; WESPK_ROOT='{ROOT}'; . '{ROOT}/tools/run_stage.sh'; . '{ROOT}/tools/stages/elsewhere.sh'; "
              f"python() {{ '{sys.executable}' \"$@\"; }}; data=/d exp=/e home=/e/on/x tested='{tmp_path}' corpus=home; "
              "if is_other_corpus; then exit 10; else exit 11; fi")  # fmt: skip
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    if isinstance(found, int):
        assert done.returncode == 10 + found, done.stderr
    else:
        assert done.returncode == 1 and found in done.stderr


def test_what_is_current_is_skipped_and_what_is_not_is_done_again(corpora):
    assert sum("is done already and current" in line for line in corpora.away()[1]) == 5
    (corpora.other.data / "eval" / "wav.scp").write_text("u another\n")
    status, _, errors = corpora.away(check=False)
    assert status == 1 and "stage 4 builds on stage 2, which is out of date" in errors
    corpora.other.only(2, text="other features")
    _, said, _ = corpora.away()
    assert CURRENT.format(4) in said  # the experiment's own
    assert f"stage 4 runs: input {corpora.other.data}/eval/feats/feats.1.ark has changed" in said
    (corpora.exp / "embeddings" / "train" / "xvector.ark").write_text("someone else's\n")
    status, _, errors = corpora.away(stage=5, check=False)
    assert status == 1 and f"(its output {corpora.exp}/embeddings/train/xvector.ark has changed): run --stage 4" in errors
    _, said, _ = corpora.away("--stop-stage", 5)
    assert f"stage 4 runs: output {corpora.exp}/embeddings/train/xvector.ark has changed" in said


def test_another_training_is_evaluated_again(corpora):
    corpora.only(3, "--force", "true", text="another training")
    status, _, errors = corpora.away(stage=5, check=False)
    assert status == 1 and "stage 5 builds on stage 4, which is out of date" in errors
    _, said, _ = corpora.away(text="another average")
    assert f"stage 4 runs: input {corpora.exp}/checkpoints/average.pt has changed" in said


def test_by_force_only_the_evaluation_is_done_again(corpora):
    _, said, _ = corpora.away("--force", "true")
    assert said[2] == CURRENT.format(4)
    assert [line for line in said if " runs: " in line] == [f"stage {n} runs: current, but --force" for n in (4, 5, 6, 7)]


def test_features_with_other_options_are_refused(corpora):
    corpora.other.only(2, "--set", "features.num_mel_bins=40")
    status, _, errors = corpora.away(check=False)
    assert status == 1 and "(option features.num_mel_bins was '40', is '80' in " in errors
    assert f"{corpora.other.data}): run --stage 2 there, with the 'features' section of {corpora.exp}/config.yaml" in errors
    (corpora.other.data / "eval" / "feats.scp").unlink()
    status, _, errors = corpora.away(check=False)
    assert status == 1 and f"{corpora.other.data}/eval/feats.scp, which stage 2 makes" in errors


def test_a_corpus_is_no_data_folder(corpora):
    status, _, errors = corpora.run("--stage", 5, "--eval-data", corpora.other.folder / "vox", check=False)
    assert status == 1 and "--eval-data takes a data folder that stages 1 and 2 of that corpus's recipe made" in errors


def test_a_run_elsewhere_is_kept_out_of_the_way_of_a_training(corpora):
    with corpora.waiting_in("train", "--stage", 3, "--stop-stage", 3, "--exp", corpora.exp, "--force", "true"):
        status, _, errors = corpora.away("--stage", 7, "--force", "true", check=False)
        assert status == 1 and f"another run is at work in {corpora.exp}:" in errors


@pytest.mark.parametrize("folder, name", [("x/some data", "some data"), ("x/mini/data", "mini"), ("egs/mini/data", "mini"),
                                          ("x/celeb", "celeb"), ("egs/cn/selfsup/data", "cn")])
def test_the_name_is_taken_from_the_folder(folder, name):
    script = f". '{ROOT}/tools/stages/elsewhere.sh'; eval_name= eval_data='/{folder}'; name_elsewhere; echo \"$eval_name\""
    assert subprocess.run(["bash", "-uc", script], capture_output=True, text=True, check=True).stdout == f"{name}\n"


@pytest.mark.parametrize("words, says", [
    (("--eval-data", "."), "--eval-data is for stages 4 to 7"),
    (("--stage", 3, "--eval-data", "."), "--eval-data is for stages 4 to 7"),
    (("--stage", 4, "--stop-stage", 8, "--eval-data", "."), "--eval-data is for stages 4 to 7"),
    (("--stage", 4, "--eval-data", "/no/such,/or/such"), "no such folder: /no/such,/or/such (it takes one data folder"),
    (("--stage", 4, "--data", "/tmp", "--eval-data", "/tmp/"), "/tmp is the experiment's own data folder"),
    (("--stage", 4, "--eval-data", "/", "--eval-name", "a/b"), "'a/b' cannot name a folder"),
    (("--stage", 4, "--eval-data", "/tmp", "--eval-name", "some data"), "give --eval-name, of letters"),
    (("--stage", 4, "--eval-name", "a"), "--eval-name names what --eval-data is tested on"),
])  # fmt: skip
def test_what_cannot_be_evaluated_elsewhere_is_refused_at_once(tmp_path, words, says):
    status, _, errors = Stages(tmp_path).run(*words, check=False)
    assert status == 1 and says in errors
