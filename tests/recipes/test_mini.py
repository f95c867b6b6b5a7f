"""The mini recipe, stages 1 to 7, through its own run.sh on a much smaller synthetic corpus, from another folder."""

import json
import os
import subprocess
import sys

import pytest
import torch

from tests.conftest import ROOT

pytestmark = pytest.mark.slow
RUN = ROOT / "egs" / "mini" / "run.sh"
TINY = (
    "train.num_epochs=1 train.average=1 train.batch_size=16 model.channels=16 model.aggregate=24 model.embed_dim=16 "
    "margin.start_epoch=0 margin.end_epoch=1 schedule.warmup_epochs=0 copies.speeds=[] copies.kinds=[noise] "
    "data.chunk_frames=80 runtime.num_workers=0"
)


class Recipe:
    """A tiny corpus, and run.sh on it with folders of its own; blanks in all paths."""

    def __init__(self, folder):
        self.corpus, self.data, self.exp = folder / "a corpus", folder / "some data", folder / "an exp" / "tiny"
        self.folder = folder

    def make(self):
        sizes = "--train-speakers 12 --test-speakers 4 --utterances 4 --sessions 2 --noises 4 --rirs 4"
        line = [sys.executable, "-m", "wespk.bin.make_synthetic", "--out", self.corpus, *sizes.split()]
        subprocess.run(line, check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
        return self

    def run(self, *words, environment=None, **options):
        """(exit status, lines without the time of day, errors) of run.sh with these options."""
        given = {
            "corpus-script": "", "voxceleb1": self.corpus / "voxceleb1", "musan": self.corpus / "musan",
            "rirs": self.corpus / "rirs", "data": self.data, "exp": self.exp, "dev-speakers": 3, "nj": 2, "set": TINY,
            **{name.replace("_", "-"): value for name, value in options.items()},
        }
        line = ["bash", str(RUN), *(f"--{name}={value}" for name, value in given.items()), *words]
        done = subprocess.run(line, capture_output=True, text=True, cwd=self.folder, check=False, env=environment)
        return done.returncode, [text.removeprefix(text[:9]) for text in done.stdout.splitlines()], done.stderr

    def state(self):
        """Path -> time of change of all files made."""
        folders = (self.data, self.exp)
        return {path: path.stat().st_mtime_ns for f in folders for path in f.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The recipe after a complete run."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    recipe = Recipe(tmp_path_factory.mktemp("with blanks")).make()
    status, said, errors = recipe.run()
    assert status == 0, errors
    recipe.said = said
    return recipe


def test_all_stages_leave_what_they_promise(whole):
    for path in ("train/wav.scp", "train/feats.scp", "dev/trials/dev", "eval/trials/veri_test", "train_aug/feats.scp"):
        assert (whole.data / path).is_file(), path
    scores = ("scores/veri_test.cosine", "scores/veri_test.cosine.asnorm")
    results = [f"results/{name}" for name in ("metrics.json", "RESULTS.md", "report.html", "det.png")]
    embeddings = [f"embeddings/{name}/xvector.scp" for name in ("train", "eval")]
    for path in ("config.yaml", "checkpoints/average.pt", *scores, *results, *embeddings):
        assert (whole.exp / path).is_file(), path
    json.loads((whole.exp / "results" / "metrics.json").read_text())
    trials = (whole.data / "eval" / "trials" / "veri_test").read_text().splitlines()
    assert len((whole.exp / scores[1]).read_text().splitlines()) == len(trials)
    assert [line for line in whole.said if line.endswith("runs: not done yet")] == [
        f"stage {number} runs: not done yet" for number in range(1, 8)
    ]


@pytest.mark.parametrize("scheduler", ["slurm", "sge"])
def test_through_a_scheduler_the_weights_and_scores_are_those_of_this_machine(whole, scheduler, request):
    cluster = request.getfixturevalue({"slurm": "slurm", "sge": "grid_engine"}[scheduler])
    data, exp = whole.folder / f"data by {scheduler}", whole.folder / f"exp by {scheduler}" / "tiny"
    status, said, errors = whole.run(cmd=scheduler, threads=1, data=data, exp=exp, environment=cluster.environment)
    assert status == 0, errors
    assert sum(line.endswith("runs: not done yet") for line in said) == 7
    here, there = (torch.load(folder / "checkpoints" / "average.pt", weights_only=True) for folder in (whole.exp, exp))
    assert here["model"] and all(torch.equal(here["model"][name], there["model"][name]) for name in here["model"])
    for name in ("veri_test.cosine", "veri_test.cosine.asnorm"):
        assert (exp / "scores" / name).read_text() == (whole.exp / "scores" / name).read_text()


def test_a_second_run_changes_nothing(whole):
    before = whole.state()
    status, said, errors = whole.run()
    assert (status, errors) == (0, "")
    assert sum(line.endswith("is done already and current") for line in said) == 7
    assert whole.state() == before


def test_stages_three_to_five_alone_train_again_under_another_name(whole):
    other = whole.folder / "an exp" / "other"
    status, _, errors = whole.run("--stage", "3", "--stop-stage", "5", exp=other, seed=7, nj=1)
    assert status == 0, errors
    scores = (other / "scores" / "veri_test.cosine").read_text()
    assert scores != (whole.exp / "scores" / "veri_test.cosine").read_text()
    assert not (other / "scores" / "veri_test.cosine.asnorm").exists()


def test_other_training_options_under_the_same_name_are_refused(whole):
    before = whole.state()
    status, _, errors = whole.run("--stage", "3", set=TINY + " optimizer.lr=0.05")
    assert status == 1 and "optimizer.lr: " in errors and "there, 0.05 asked for" in errors
    assert whole.state() == before


def test_scoring_needs_no_training_options(whole):
    status, said, errors = whole.run("--stage", "5", "--score-norm", "snorm", set="")
    assert status == 0, errors
    assert "stage 5 is done already and current" in said
    assert any(line.startswith("stage 6 runs: option score_norm was 'asnorm', is 'snorm'") for line in said)
    assert (whole.exp / "scores" / "veri_test.cosine.snorm").is_file()


def test_stage_8_fine_tunes_the_average_and_prints_its_results(whole):
    sets = "train.num_epochs=1 train.batch_size=16 schedule.warmup_epochs=0 data.chunk_frames=100"
    status, said, errors = whole.run("--stage", "8", lm_set=sets)
    assert status == 0, errors
    fine = whole.exp.with_name("tiny-lm")
    log = (fine / "train.log").read_text()
    assert "classes: 9 found by name, 0 new (initialised at random), 0 kept without data, 0 dropped" in log
    table = (fine / "results" / "RESULTS.md").read_text().splitlines()
    assert said[-len(table):] == [line[9:] for line in table]


@pytest.mark.parametrize(
    "words, message",
    [
        (["--stage", "0"], "there is no stage 0; the stages are 1 to 8"),
        (["--stop-stage", "9"], "there is no stage 9; the stages are 1 to 8"),
        (["--stage", "4", "--stop-stage", "3"], "--stage 4 comes after --stop-stage 3"),
        (["--nj", "0"], "--nj must be 1 or more, not 0"),
        (["--cmd", "slrm"], "there is no tools/submit/slrm.py; there is: local"),
        (["--gpus", "99"], "--gpus 99, but this machine shows"),
        (["--gpus", "two"], "--gpus takes an integer"),
        (["--score-norm", "as"], "--score-norm takes asnorm, snorm, znorm, tnorm or none, not 'as'"),
        (["--cohort", "all"], "--cohort takes speaker or utterance, not 'all'"),
        (["--seed", "x"], "--seed takes a number, not 'x'"),
        (["--config", "conf/mini.yaml"], f"there is {RUN.parent}/conf/mini.yaml"),
        (["--set", "modle.x=1"], "did you mean 'model'?"),
        (["--stge", "3"], "unknown option --stge (did you mean --stage?)"),
        (["--voxceleb1", "", "--musan", "", "--rirs", "", "--set", "copies.kinds=[]"],
         "needs --voxceleb1 or --voxceleb2"),
        (["--musan", ""], "asks by copies.kinds=['noise'] for noises, and there is no --musan: give --musan DIR"),
        (["--voxceleb1", "/no/such/root"], "--voxceleb1: no such folder: /no/such/root"),
        (["--stage", "2"], "data/musan, which stage 1 makes: run --stage 1 with --musan DIR"),
        (["--stage", "5"], "train the experiment first (stage 3)"),
    ],
)
def test_bad_options_stop_at_once_and_say_so(tmp_path, words, message):
    status, _, errors = Recipe(tmp_path).run(*words)
    assert status in (1, 2)
    assert message in errors
