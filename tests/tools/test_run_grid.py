"""tools/run_grid.py with a stand-in for run.sh: what is started, what is skipped, what a failure or a signal leaves."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT
from wespk.data.stored import write_stamp
from wespk.utils import config

FAKE = Path(__file__).with_name("fake_run.py")
GRID = {
    "title": "Two losses",
    "config": "conf/plain.yaml",
    "seeds": [1, 2],
    "baseline": "aam",
    "systems": {"aam": {"label": "AAM"}, "sf2": {"set": "loss.name=sphereface2"}},
}
RUNS = ["aam/seed1", "sf2/seed1", "aam/seed2", "sf2/seed2"]


class Recipe:
    """A recipe with a blank in its path, the stand-in as its run.sh, and a grid called small."""

    def __init__(self, folder):
        self.folder, self.root = folder, folder / "exp" / "small"
        (folder / "conf").mkdir(parents=True)
        (folder / "conf" / "plain.yaml").write_text("train: {num_epochs: 30}\n")
        (folder / "run.sh").write_text(f"exec '{sys.executable}' '{FAKE}' '{folder}' \"$@\"\n")
        self.define()
        self.env = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
        self.env.pop("OMP_NUM_THREADS", None)

    def define(self, **changes):
        (self.folder / "small.yaml").write_text(yaml.safe_dump({**GRID, **changes}, sort_keys=False))

    def line(self, *words):
        grid = [str(self.folder / "small.yaml"), "--recipe", str(self.folder)]
        return [sys.executable, str(ROOT / "tools" / "run_grid.py"), *grid, *map(str, words)]

    def run(self, *words, status=0):
        """(output, errors, calls of run.sh for stage 3 and later by experiment) of a call of run_grid.py."""
        (self.folder / "log").unlink(missing_ok=True)
        line = self.line(*words)
        done = subprocess.run(line, capture_output=True, text=True, env=self.env, check=False, timeout=120)
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout, done.stderr, {self.name(call): call for call in self.calls() if call["stage"] != "1"}

    def to_do(self, *words):
        """The runs that a call would start."""
        said = self.run("--dry-run", *words)[0]
        return re.findall(r"^# (.*): to do$", said, re.MULTILINE)

    def name(self, call):
        return str(Path(call["exp"]).relative_to(self.root))

    def calls(self):
        log = self.folder / "log"
        return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


@pytest.fixture
def recipe(tmp_path):
    return Recipe(tmp_path / "a recipe")


def wait_for(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_every_run_is_made_once_and_then_no_more(recipe):
    said, _, made = recipe.run("--", "--nj", 3, "--voxceleb1", "vox")
    calls = recipe.calls()
    assert [call["stage"] for call in calls] == ["1", "3", "3", "3", "3"] and list(made) == RUNS
    assert calls[0]["stop-stage"] == "2" and {"seed", "set", "exp"}.isdisjoint(calls[0])
    assert {call["voxceleb1"] for call in calls} == {"vox"} and {call["nj"] for call in calls} == {"3"}
    one = made["sf2/seed2"]
    assert (one["seed"], one["set"], one["stop-stage"]) == ("2", "loss.name=sphereface2", "7")
    assert one["config"] == str(recipe.folder / "conf/plain.yaml") and one["data"] == str(recipe.folder / "data")
    assert said.count(" starts; ") == said.count(" done after ") == 4 and "0 remain" in said
    text = (recipe.root / "COMPARISON.md").read_text()
    assert text in said and "# Two losses" in text and "AAM" in text and "Not complete" not in text
    said, _, made = recipe.run("--jobs", 2, "--", "--voxceleb1", "vox")
    assert made == {} and "4 of 4 runs are done already" in said
    assert (recipe.root / "COMPARISON.md").read_text() == text


def test_the_data_are_made_for_every_list_whichever_the_runs_score(recipe):
    recipe.define(options={"trials": "hard", "score-norm": "none"})
    recipe.run("--", "--top-n", 200, "--voxceleb1", "vox")
    data, *runs = recipe.calls()
    assert {"trials", "score-norm", "top-n"}.isdisjoint(data) and data["voxceleb1"] == "vox"
    assert all((run["trials"], run["score-norm"], run["top-n"]) == ("hard", "none", "200") for run in runs)


def test_what_is_no_longer_as_it_was_is_run_again_and_nothing_else(recipe):
    recipe.run()
    assert recipe.to_do() == []
    os.utime(recipe.root / "aam/seed2/scores/hard.cosine")  # its content is what counts
    assert recipe.to_do() == []
    (recipe.root / "aam/seed2/scores/hard.cosine").unlink()
    (recipe.root / "sf2/seed1/.stages/7.json.begun").touch()
    assert recipe.to_do() == ["sf2/seed1", "aam/seed2"]
    assert list(recipe.run()[2]) == ["sf2/seed1", "aam/seed2"]
    assert recipe.to_do("--", "--top-n", 200) == RUNS
    assert recipe.to_do("--", "--nj", 7) == []
    recipe.define(systems={**GRID["systems"], "sf2": {"set": "loss.name=sphereface2 loss.scale=30"}})
    assert recipe.to_do() == ["sf2/seed1", "sf2/seed2"]
    recipe.define()
    (recipe.folder / "conf/plain.yaml").write_text("train: {num_epochs: 31}\n")
    assert recipe.to_do() == RUNS
    (recipe.folder / "conf/plain.yaml").write_text("train: {num_epochs: 30} # the same\n")
    assert recipe.to_do() == []
    with open(recipe.folder / "data/eval/utt2spk", "a") as file:  # which all of them have read
        file.write("t t\n")
    assert recipe.to_do() == RUNS


def test_a_failed_run_leaves_the_others_going_and_is_named(recipe):
    (recipe.folder / "fail").write_text("sf2/seed1")
    said, errors, made = recipe.run(status=1)
    assert list(made) == RUNS and "sf2/seed1 FAILED with exit status 3" in said
    assert "1 run(s) failed" in errors and "sf2/seed1: exit status 3" in errors and "the reason of the failure" in errors
    text = (recipe.root / "COMPARISON.md").read_text()
    assert "sf2/seed1: not whole, so 'sf2' is left out" in text and "| AAM " in text
    (recipe.folder / "fail").unlink()
    assert list(recipe.run()[2]) == ["sf2/seed1"]
    assert "Not complete" not in (recipe.root / "COMPARISON.md").read_text()
    log = (recipe.root / "sf2/seed1/RUN.log").read_text()
    assert log.count("run.sh' --stage=3") == 2 and "the reason of the failure" in log


def test_a_failed_second_training_is_not_compared_by_the_scores_of_the_first(recipe):
    recipe.run()
    recipe.define(systems={**GRID["systems"], "sf2": {"set": "loss.name=sphereface2 loss.scale=30"}})
    (recipe.folder / "fail").write_text("sf2/seed1")
    recipe.run(status=1)
    assert "so 'sf2' is left out" in (recipe.root / "COMPARISON.md").read_text()
    recipe.define()
    assert recipe.to_do() == ["sf2/seed2"]  # what the failed run has not touched still is what it was


def test_data_that_cannot_be_made_stop_everything(recipe):
    (recipe.folder / "data").write_text("in the way")
    _, errors, made = recipe.run(status=1)
    assert "stages 1 and 2 failed; end of" in errors and "Error" in errors and made == {}
    assert "compare_systems" not in errors


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_the_runs_and_the_same_command_goes_on(recipe, number):
    hold = recipe.folder / "hold"
    hold.touch()
    with subprocess.Popen(recipe.line("--jobs", 2), env=recipe.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True) as process:  # fmt: skip
        try:
            wait_for(lambda: len(recipe.calls()) == 3)
            time.sleep(0.2)  # a third run would start now
            assert len(recipe.calls()) == 3
            process.send_signal(number)
            wait_for(lambda: process.poll() is not None)
        finally:
            hold.unlink()  # whatever is still at work ends by itself
        said, errors = process.communicate()
    assert process.returncode == 128 + number
    assert f"stopped by {number.name}; the same command goes on" in errors
    assert said.count(" stopped with exit status 85 after ") == 2 and not (recipe.root / "COMPARISON.md").exists()
    assert recipe.to_do() == RUNS


def test_an_error_of_its_own_stops_the_runs_at_work_and_is_told(recipe):
    hold = recipe.folder / "hold"
    hold.touch()
    (recipe.root / "sf2").mkdir(parents=True)
    (recipe.root / "sf2" / "seed1").write_text("in the way")
    try:
        errors = recipe.run("--jobs", 2, status=1)[1]  # returns, so the first run was stopped although held
    finally:
        hold.unlink()
    assert "run_grid.py: error: " in errors and "seed1" in errors and "were stopped" in errors and "Trace" not in errors


def test_jobs_share_cores_and_take_gpus_in_turn(recipe):
    cores = len(os.sched_getaffinity(0))
    made = recipe.run("--jobs", 2)[2]
    assert {call["OMP_NUM_THREADS"] for call in made.values()} == {str(max(1, cores // 2))}
    assert {call["nj"] for call in made.values()} == {str(max(1, cores // 2))}
    assert {call["CUDA_VISIBLE_DEVICES"] for call in made.values()} == {""}
    recipe.env.update(OMP_NUM_THREADS="7", CUDA_VISIBLE_DEVICES="a,b,c")
    shutil.rmtree(recipe.root)
    made = recipe.run("--jobs", 2, "--gpus-per-job", 2, "--only", "*/seed1", status=1)[2]
    assert {call["OMP_NUM_THREADS"] for call in made.values()} == {"7"}
    assert {call["CUDA_VISIBLE_DEVICES"] for call in made.values()} == {"a,b", "c,a"}
    assert "this machine shows 3" in recipe.run("--gpus-per-job", 4, status=1)[1]


def test_a_dry_run_starts_nothing_and_only_picks_runs(recipe):
    said = recipe.run("--dry-run", "--only", "*/seed2", "--", "--exp", recipe.folder / "else")[0]
    assert recipe.calls() == [] and not recipe.root.exists()
    assert "# aam/seed2: to do\nbash" in said and "seed1" not in said and f"{recipe.folder}/else/small/sf2" in said
    assert list(recipe.run("--only", "*/seed2", status=1)[2]) == ["aam/seed2", "sf2/seed2"]  # nothing to compare yet
    assert recipe.to_do() == ["aam/seed1", "sf2/seed1"]


def test_fine_tuned_systems_and_levels_have_rows_and_columns_of_their_own(recipe):
    levels = {"0": {}, "uniform 10": {"set": "data.min_frames=90"}}
    (recipe.folder / "conf" / "lm.yaml").write_text("margin: {final: 0.5}")
    recipe.define(seeds=[4], vary={"name": "rate", "levels": levels}, options={"lm-overlay": "conf/lm.yaml"},
                  systems={"aam": {}, "sf2": {"set": "loss.name=sphereface2", "stop_stage": 8}})  # fmt: skip
    made = recipe.run()[2]
    assert list(made) == ["aam/0/seed4", "sf2/0/seed4", "aam/uniform_10/seed4", "sf2/uniform_10/seed4"]
    assert made["sf2/uniform_10/seed4"]["set"] == "loss.name=sphereface2 data.min_frames=90"
    assert made["sf2/0/seed4"]["lm-overlay"] == str(recipe.folder / "conf/lm.yaml")
    assert all("lm-overlay" not in call for call in recipe.calls() if call["stop-stage"] != "8")
    text = (recipe.root / "COMPARISON.md").read_text()
    assert "sf2, fine-tuned" in text and "uniform 10" in text and "Not complete" not in text
    assert (recipe.root / "eer-hard-cosine-uniform.png").read_bytes()[:4] == b"\x89PNG"
    (recipe.root / "sf2/0/seed4-lm/scores/hard.cosine").unlink()
    assert recipe.to_do() == ["sf2/0/seed4"]
    (recipe.folder / "conf" / "lm.yaml").write_text("margin: {final: 0.4}")
    assert recipe.to_do() == ["sf2/0/seed4", "sf2/uniform_10/seed4"]


def fine_tuned_grid(recipe):
    (recipe.folder / "conf" / "small.yaml").write_text("margin: {initial: 0.5, final: 0.5}")
    (recipe.folder / "conf" / "lm.yaml").write_text("include: [small.yaml]")
    recipe.define(seeds=[4], options={"lm-overlay": "conf/lm.yaml"}, stop_stage=8)


def test_a_file_that_the_overlay_of_fine_tuning_includes_counts_as_it_was_at_the_start(recipe):
    fine_tuned_grid(recipe)
    recipe.run()
    assert recipe.to_do() == []
    (recipe.folder / "conf" / "small.yaml").write_text("margin: {initial: 0.5, final: 0.4}")
    assert recipe.to_do() == ["aam/seed4", "sf2/seed4"]
    (recipe.folder / "hold").touch()
    with subprocess.Popen(recipe.line(), env=recipe.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            wait_for(lambda: len(recipe.calls()) == 2)
            (recipe.folder / "conf" / "small.yaml").write_text("margin: {initial: 0.5, final: 0.3}")
        finally:
            (recipe.folder / "hold").unlink()
        process.wait()
    assert recipe.to_do() == ["aam/seed4"]  # the other one started after the change
    assert "'aam/seed4': --set: unknown option 'train.epochs'" in recipe.run("--", "--lm-set", "train.epochs=3", status=1)[1]


def test_a_run_whose_fine_tuning_failed_or_changed_is_compared_as_it_was_trained(recipe):
    fine_tuned_grid(recipe)
    (recipe.folder / "fail-lm").touch()
    recipe.run(status=1)
    text = (recipe.root / "COMPARISON.md").read_text()
    assert "aam/seed4-lm: not whole, so 'aam-lm' is left out" in text and "aam/seed4:" not in text
    assert "minus aam " in text and recipe.to_do() == ["aam/seed4", "sf2/seed4"]
    (recipe.folder / "fail-lm").unlink()
    recipe.run()
    assert "Not complete" not in (recipe.root / "COMPARISON.md").read_text()
    (recipe.folder / "conf" / "small.yaml").write_text("margin: {initial: 0.4, final: 0.4}")
    recipe.run("--only", "sf2/*")
    text = (recipe.root / "COMPARISON.md").read_text()
    assert "aam/seed4-lm: not whole" in text and text.count("not whole") == 1 and "minus aam " in text


def test_a_sweep_is_judged_by_the_last_validations(recipe):
    recipe.define(stop_stage=3)
    recipe.run()
    (found,) = json.loads((recipe.root / "comparison.json").read_text())["tables"]
    entry = found["levels"][0]["systems"][0]["measures"]["eer"]
    assert entry["values"] == pytest.approx([0.25, 0.25])  # mean of 0.3 and 0.2; 0.4 came before
    assert found["scores"] == "held-out training speakers"


@pytest.fixture
def away(recipe):
    """``--evaluate`` words for another data folder with a list called far."""
    recipe.run("--", "--data", recipe.folder / "away")
    shutil.rmtree(recipe.root)
    (recipe.folder / "away/eval/trials/hard").rename(recipe.folder / "away/eval/trials/far")
    return ("--evaluate", f"cn={recipe.folder}/away")


def stages_of(calls):
    return [(call["exp"].rpartition("small/")[2], call["stage"], call["stop-stage"]) for call in calls if call["stage"] != "1"]


def test_every_run_and_its_fine_tuning_is_evaluated_on_further_data_too(recipe, away):
    (recipe.folder / "conf" / "lm.yaml").write_text("margin: {final: 0.5}")
    recipe.define(seeds=[4], options={"lm-overlay": "conf/lm.yaml", "trials": "hard", "score-norm": "none"},
                  systems={"aam": {}, "sf2": {"set": "loss.name=sphereface2", "stop_stage": 8}})  # fmt: skip
    recipe.run(*away, "--", "--musan", "m", "--cohort", "utterance")
    calls = recipe.calls()
    assert stages_of(calls) == [("aam/seed4", "3", "7"), ("aam/seed4", "4", "7"), ("sf2/seed4", "3", "8"),
                                ("sf2/seed4", "4", "7"), ("sf2/seed4-lm", "4", "7")]  # fmt: skip
    there = {name: value for name, value in calls[2].items() if name.islower()}
    assert there == {"stage": "4", "stop-stage": "7", "data": f"{recipe.folder}/data", "exp": f"{recipe.root}/aam/seed4",
                     "nj": there["nj"], "eval-data": f"{recipe.folder}/away", "eval-name": "cn", "score-norm": "none",
                     "cohort": "utterance"}  # fmt: skip
    text = (recipe.root / "COMPARISON.md").read_text()
    assert text.index("## hard: cosine") < text.index("## cn/far: cosine") and text.count("sf2, fine-tuned |") == 6
    assert "Not complete" not in text and "cn/LIST: lists of other data" in text
    assert recipe.to_do(*away, "--", "--musan", "m", "--cohort", "utterance") == []


def test_further_data_need_no_second_training_and_are_done_once(recipe, away):
    recipe.run()
    recipe.run(*away)
    assert stages_of(recipe.calls()) == [(run, "4", "7") for run in RUNS]
    assert recipe.to_do(*away) == [] and recipe.to_do() == []
    (recipe.root / "sf2/seed1/on/cn/scores/far.cosine").unlink()
    assert recipe.to_do(*away) == ["sf2/seed1"] and recipe.to_do() == []
    (recipe.folder / "fail").write_text("sf2/seed1")
    recipe.run(*away, status=1)
    text = (recipe.root / "COMPARISON.md").read_text()
    assert "sf2/seed1/on/cn: not whole, so 'sf2' is left out of 'cn'" in text and text.count("not whole") == 1
    shutil.rmtree(recipe.root / "aam/seed2")
    (recipe.folder / "fail").unlink()
    recipe.run(*away)
    assert stages_of(recipe.calls()) == [("sf2/seed1", "4", "7"), ("aam/seed2", "3", "7"), ("aam/seed2", "4", "7")]


def test_a_later_call_without_further_data_goes_on_comparing_by_them_and_says_what_it_leaves_out(recipe, away):
    recipe.run(*away)
    text = (recipe.root / "COMPARISON.md").read_text()
    said, _, made = recipe.run()
    assert made == {} and (recipe.root / "COMPARISON.md").read_text() == text and "## cn/far: cosine" in text
    assert f"cn was evaluated earlier (--evaluate {away[1]}) and stays in the comparison" in said
    (recipe.root / "sf2/seed1/on/cn/scores/far.cosine").unlink()
    recipe.run()
    text = (recipe.root / "COMPARISON.md").read_text()
    assert "sf2/seed1/on/cn: not whole, so 'sf2' is left out of 'cn'" in text and text.count("not whole") == 1
    shutil.rmtree(recipe.folder / "away")
    said = recipe.run()[0]
    assert "cn was evaluated earlier and is left out of the comparison: --evaluate cn=" in said
    assert "cn/far" not in (recipe.root / "COMPARISON.md").read_text()
    (recipe.root / "evaluated.json").write_text("[]")
    assert "evaluated.json: not the note" in recipe.run(status=1)[1] and recipe.calls() == []


def test_features_that_the_systems_cannot_read_are_told_before_any_training(recipe, away):
    features = config.load(recipe.folder / "conf/plain.yaml")["features"]
    write_stamp(recipe.folder / "away/eval", features)
    assert recipe.to_do(*away) == RUNS
    write_stamp(recipe.folder / "away/eval", {**features, "num_mel_bins": 40})
    errors = recipe.run(*away, status=1)[1]
    assert f"--evaluate {away[1]}: 'aam/seed1': " in errors and "num_mel_bins 40 (now 80)" in errors
    recipe.define(systems={"aam": {}, "sf2": {"set": "features.num_mel_bins=40"}})
    assert "'aam/seed1': " in recipe.run(*away, status=1)[1] and recipe.calls() == []
    assert recipe.to_do(*away, "--only", "sf2/*") == ["sf2/seed1", "sf2/seed2"]
    (recipe.folder / "away/eval/feats.scp").unlink()
    errors = recipe.run(*away, status=1)[1]
    assert f"there is no {recipe.folder}/away/eval/feats.scp; run stage 2" in errors and recipe.calls() == []


def test_further_data_that_cannot_be_used_are_refused(recipe, away):
    for words, says in ((away[:1] + ("cn",), "--evaluate takes NAME=DIR"), (away[:1] + ("a/b=/tmp",), "takes NAME=DIR"),
                        (away + away, "each name once"), (away[:1] + ("cn=/no/such",), "not another data folder with eval"),
                        (away + ("--", f"--data={away[1][3:]}"), "not another data folder")):  # fmt: skip
        assert says in recipe.run(*words, status=1)[1] and recipe.calls() == []
    recipe.define(stop_stage=3)
    assert "this grid ends at stage 3" in recipe.run(*away, status=1)[1]


@pytest.mark.parametrize("words, status, says", [
    (["--jobs", "0"], 2, "takes a number of 1 or more"),
    (["--only", "x*"], 1, "--only 'x*' fits no run; there is: aam/seed1"),
    (["--", "--force", "true"], 1, "--force: a grid does what is not done"),
    (["--", "--seed", "3"], 1, "--seed is for the grid to say"),
    (["--", "--top-m", "3"], 1, "has no option '--top-m' (did you mean 'top-n'?)"),
    (["--", "--nj"], 1, "option --nj needs a value"),
    (["--", "--lm-set", "a=1"], 1, "behind --: 'lm-set' is of stage 8"),
    (["--", "--recipe", "/"], 1, "--recipe is for the grid to say"),
])  # fmt: skip
def test_a_wrong_command_line_starts_nothing(recipe, words, status, says):
    assert says in recipe.run(*words, status=status)[1]
    assert recipe.calls() == []


@pytest.mark.parametrize("changes, says", [
    ({"config": "conf/gone.yaml"}, "'aam/seed1': no such configuration file"),
    ({"systems": {**GRID["systems"], "sf2": {"set": "train.epochs=3"}}}, "'sf2/seed1': --set: unknown option 'train.epochs'"),
    ({"options": {"score-nrm": "none"}}, "run.sh has no --score-nrm (did you mean 'score-norm'?)"),
    ({"baseline": "amm"}, "there is no system 'amm' (did you mean 'aam'?)"),
])  # fmt: skip
def test_a_wrong_grid_starts_nothing(recipe, changes, says):
    recipe.define(**changes)
    errors = recipe.run(status=1)[1]
    assert says in errors and errors.count("\n") == 1
    assert recipe.calls() == []
