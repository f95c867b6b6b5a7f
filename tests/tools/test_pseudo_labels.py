"""Stage 8 of recipes without labels: rounds of pseudo-labels beside the experiment; entry points are fakes."""

import shutil
import subprocess

import pytest
import yaml

from tests.conftest import ROOT
from tests.tools.staged_recipe import CURRENT, SCRIPT, Stages, as_kept, keep_copy, words_of
from tools.pseudo_label_conf import pseudo_label_conf
from wespk.training.objectives import OBJECTIVES, find_objective
from wespk.utils.errors import InputError

PLAIN = """
data: {input: waves}
objective: {name: sdpn}
loss: {name: none}
schedule: {warmup_epochs: 0}
train: {num_epochs: 1, average: 1}
"""
TRAINING = """
data: {input: waves}
loss: {name: sphereface2}
schedule: {warmup_epochs: 0}
margin: {start_epoch: 0, end_epoch: 1}
train: {num_epochs: 1, average: 1}
"""
PSEUDO = """
training: {config: clusters.yaml}
clusters: {number: 2, keep: 0.5}
"""


class Rounds(Stages):
    """A recipe without labels, with two rounds of pseudo-labels as its stage 8."""

    def __init__(self, folder):
        super().__init__(folder)
        self.rounds = [self.exp.with_name(f"plain-pl{number}") for number in (1, 2)]
        self.conf = folder / "conf"
        own = "--corpus voxceleb --default-cohort utterance --refine pseudo-labels"
        (folder / "run.sh").write_text(SCRIPT.replace("--corpus voxceleb", own))
        (self.conf / "plain.yaml").write_text(PLAIN)
        (self.conf / "clusters.yaml").write_text(TRAINING)
        (self.conf / "pseudo_labels.yaml").write_text(PSEUDO)


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """The folder of a recipe after `--stop-stage 8`, a copy of it, and what the run said and did."""
    recipe = Rounds(tmp_path_factory.mktemp("kept") / "a JOB's")
    (recipe.folder / "expected.yaml").write_text("results: {}\n")
    words = ("--stop-stage", 8, "--seed", 5, "--exp", recipe.exp, "--expected", recipe.folder / "expected.yaml")
    _, said, _ = recipe.run(*words, text="x")
    return keep_copy(recipe.folder), said, recipe.calls()


@pytest.fixture
def done(kept):
    return Rounds(as_kept(kept[0]))


def test_each_round_clusters_the_embeddings_of_the_one_before_and_trains_on_the_clusters(kept, done):
    _, said, calls = kept
    folders = [done.exp, *done.rounds]
    embeddings = [f"{folder}/embeddings/train/xvector.scp" for folder in folders[:2]]
    assert words_of(calls, "cluster_embeddings", "--embeddings") == embeddings
    assert words_of(calls, "cluster_embeddings", "--out") == [f"{f}/pseudo_labels" for f in done.rounds]
    told = {"--number": "2", "--keep": "0.5", "--seed": "5", "--speakers": f"{done.data}/train/utt2spk", "--device": "cpu"}
    for option, value in told.items():
        assert words_of(calls, "cluster_embeddings", option) == [value] * 2
    assert words_of(calls, "train", "--exp") == list(map(str, folders))
    for folder in done.rounds:
        conf = yaml.safe_load((folder / "config.yaml").read_text())
        assert conf["labels"]["file"] == f"{folder}/pseudo_labels/utt2spk" and conf["loss"]["name"] == "sphereface2"
        assert conf["seed"] == 5 and conf["objective"]["name"] == "supervised"
    runs = [line.split()[1] for line in said if " runs: not done yet" in line]
    assert runs == list("1234567" + "834567" * 2)
    assert ["--expected" in line for line in calls.splitlines() if "wespk.bin.make_report " in line] == [True, False, False]
    assert words_of(calls, "report_rounds", "--experiments") == [",".join(map(str, folders))]
    assert (done.rounds[1] / "results" / "ROUNDS.md").read_text() == "x\n" and said[-1] == ""


def test_the_true_speakers_are_read_for_the_report_and_the_evaluation_alone(kept, done):
    truth = f"{done.data}/train/utt2spk"
    calls = kept[2].splitlines()
    after = calls[next(i for i, line in enumerate(calls) if "cluster_embeddings" in line) :]
    assert {line.split()[1] for line in after if truth in line} == {"wespk.bin.cluster_embeddings"}
    assert not [line for line in after if "--speaker-means" in line]


def test_a_second_run_does_nothing_and_other_embeddings_begin_anew_from_their_round(done):
    _, said, _ = done.run("--stage", 8, "--exp", done.exp)
    assert [line for line in said if "is done already" in line] == [CURRENT.format(n) for n in (8, 3, 4, 5, 6, 7)] * 2
    assert not any(done.calls_of(name) for name in ("cluster_embeddings", "train", "make_report"))
    (done.rounds[0] / "embeddings" / "eval" / "xvector.scp").unlink()
    _, said, _ = done.run("--stage", 8, "--exp", done.exp, text="y")
    assert words_of(done.calls(), "cluster_embeddings", "--out") == [f"{done.rounds[1]}/pseudo_labels"]
    assert f"stage 3 runs: input {done.rounds[1]}/pseudo_labels/utt2spk has changed" in " ".join(said)


def test_other_clusters_are_trained_on_anew_and_an_interrupted_round_goes_on(done):
    words, stop = ("--stage", 8, "--exp", done.exp, "--pl-set"), done.folder / "log.train.status"
    assert "clusters.number=3 of 2 training utterances" in done.run(*words, "clusters.number=3", check=False)[2]
    stop.write_text("85")
    status, said, errors = done.run(*words, "rounds=1 clusters.keep=1", text="y", check=False)
    assert "stage 8 runs: option clusters.keep was '0.5', is '1'" in said
    assert any("stage 3 runs: input " in line and "utt2spk has changed" in line for line in said)
    assert status == 85 and "the same command goes on from there" in errors
    stop.unlink()
    _, said, _ = done.run(*words, "rounds=1 clusters.keep=1", text="y")
    assert CURRENT.format(8) in said and "stage 3 runs: was begun and not finished" in said
    assert not done.calls_of("cluster_embeddings") and len(done.calls_of("train")) == 1
    assert (done.rounds[0] / "results" / "ROUNDS.md").read_text() == "y\n"


def test_other_training_options_for_the_same_folder_are_refused(done):
    words = ("--stage", 8, "--exp", done.exp, "--pl-train-set", "loss.scale=7")
    status, _, errors = done.run(*words, check=False)
    assert status == 1 and "loss.scale: None there, 7 asked for" in errors and "--pl-train-set" in errors


@pytest.mark.parametrize("words, says", [
    (("--stage", 8), "config.yaml does not exist: train the experiment first (stage 3)"),
    (("--pl-set", "rounds=1"), "--pl-conf, --pl-set, --pl-train-set and --pl-epochs are for stage 8, which is "),
    (("--pl-epochs", 1), "--pl-conf, --pl-set, --pl-train-set and --pl-epochs are for stage 8, which is not asked for"),
    (("--stop-stage", 8, "--refine", "large-margin", "--pl-epochs", 1), "stage 8 of this recipe is large-margin"),
    (("--stop-stage", 8, "--pl-epochs", 0), "--pl-epochs takes a number, 1 or more, not '0'"),
    (("--stage", 8, "--exp", "/e", "--epochs", 2, "--set", "seed=1"), "out; --pl-epochs 2 is of the training of the rounds"),
    (("--stage", 8, "--refine", "large-margin", "--exp", "/e", "--epochs", 2), "as it was trained: leave it out\n"),
    (("--stop-stage", 8, "--lm-set", "seed=1"), "stage 8 of this recipe is training on pseudo-labels"),
    (("--stop-stage", 8, "--refine", "large-margin", "--pl-set", "rounds=1"), "stage 8 of this recipe is large-margin"),
    (("--stop-stage", 8, "--refine", "other"), "--refine takes large-margin or pseudo-labels, not 'other'"),
    (("--stop-stage", 8, "--pl-conf", "conf/no.yaml"), "--pl-conf: no such file: "),
    (("--stop-stage", 8, "--pl-set", "rounds=0"), "'rounds' must be int > 0, not 0"),
    (("--stop-stage", 8, "--pl-train-set", "augment.prob=0.5"), "by augment.prob=0.5, "),
])
def test_what_cannot_be_done_is_refused_at_once(tmp_path, words, says):
    recipe = Rounds(tmp_path)
    status, _, errors = recipe.run(*words, check=False)
    assert status in (1, 2) and says in errors and not recipe.calls_of("prepare_corpus")


def test_the_rounds_have_epochs_of_their_own(done):
    (done.conf / "long.yaml").write_text(TRAINING.replace("num_epochs: 1,", "num_epochs: 20,").replace("end_epoch: 1", "end_epoch: 8")
                                         + "runtime: {validate_every: 5}\n")
    shutil.rmtree(done.rounds[0])
    words = ("--stage", 8, "--exp", done.exp, "--pl-set", "rounds=1 training.config=long.yaml", "--pl-epochs", 3)
    _, _, errors = done.run(*words, "--pl-train-set", "loss.scale=7", text="z")
    conf = yaml.safe_load((done.rounds[0] / "config.yaml").read_text())
    assert (conf["train"]["num_epochs"], conf["margin"]["end_epoch"], conf["loss"]["scale"]) == (3, 1.2, 7)
    assert conf["runtime"]["validate_every"] == 3 and conf["labels"]["file"].endswith("-pl1/pseudo_labels/utt2spk")
    assert errors.count("--pl-epochs 3: runtime.validate_every is 3 in place of 5, or nothing would be validated\n") == 1
    assert yaml.safe_load((done.exp / "config.yaml").read_text())["train"]["num_epochs"] == 1
    status, _, errors = done.run(*words, "--pl-train-set", "train.num_epochs=2", check=False)
    assert status == 1 and "--pl-epochs and --pl-train-set train.num_epochs say one thing twice" in errors
    (done.conf / "long.yaml").write_text(TRAINING.replace("warmup_epochs: 0", "warmup_epochs: 1"))
    status, _, errors = done.run(*words[:-2], "--pl-train-set", "schedule.warmup_epochs=2", check=False)
    assert status == 1 and "beyond train.num_epochs (1)" in errors and "--pl-epochs), which fits all schedules" in errors


def test_embeddings_that_are_missing_or_not_stage_4s_are_refused(done):
    table = done.exp / "embeddings" / "train" / "xvector.scp"
    table.write_text("of unknown making\n")
    status, _, errors = done.run("--stage", 8, "--exp", done.exp, check=False)
    assert status == 1 and "stage 8 builds on stage 4, which is out of date" in errors
    table.unlink()
    status, _, errors = done.run("--stage", 8, "--exp", done.exp, check=False)
    assert status == 1 and "xvector.scp, which stage 4 makes: run --stage 4 first" in errors


def test_a_speaker_cohort_of_partly_labelled_utterances_is_refused(done):
    (done.rounds[0] / "pseudo_labels" / "utt2spk").write_text("")
    words = ("--stage", 6, "--stop-stage", 6, "--exp", done.rounds[0], "--cohort", "speaker")
    status, _, errors = done.run(*words, check=False)
    assert status == 1 and "--cohort speaker wants a speaker of every training utterance" in errors


def test_a_table_of_what_is_done_shows_the_rounds_that_were_begun(done):
    _, said, errors = done.run("--status", "--exp", done.exp)
    (stale,) = [line for line in said if "stale" in line]
    assert errors == "" and not done.calls() and stale.endswith("expected.yaml is no longer used")
    second = done.rounds[1] / "config.yaml"
    rounds = [line for line in said if "-pl" in line]
    assert [line.split()[0] for line in rounds] == ["1", "2"] and rounds[1].endswith(str(done.rounds[1]))
    assert sum(line.split()[-1:] == ["whole"] for line in said) == 6 + 2 * 5
    second.unlink()
    (done.rounds[0] / "pseudo_labels" / "utt2spk").write_text("of others\n")
    _, said, _ = done.run("--status", "--exp", done.exp)
    assert said[-1].endswith(f"{done.rounds[1]}, where training has not begun")
    assert any("training" in line and f"{done.rounds[0]}/pseudo_labels/utt2spk has changed" in line for line in said)


CLUSTERING = f"""
set -euo pipefail
. '{ROOT}/tools/stages/model.sh'
. '{ROOT}/tools/stages/pseudo_labels.sh'
run() {{ printf '%s|' "$@"; }}
submit=(python far.py) threads=3 home=/e-pl1 base=/e data=/none pl_seed=4 pl_lines=(rounds=1 clusters.min_utts=2)
work_8
"""


@pytest.mark.parametrize("cmd, gpus, launcher, device", [
    ("local", 2, "python|", "cuda"),
    ("slurm", 8, "python|far.py|--gpus|1|--num-threads|3|/e-pl1/pseudo_labels/log/cluster.log|python|", "cuda"),
    ("slurm", 0, "python|far.py|--gpus|0|--num-threads|3|/e-pl1/pseudo_labels/log/cluster.log|python|", "cpu"),
])
def test_with_a_scheduler_the_clustering_is_a_job_that_has_its_gpu(cmd, gpus, launcher, device):
    done = subprocess.run(["bash", "-c", f"cmd={cmd} num_gpus={gpus}\n{CLUSTERING}"], capture_output=True, text=True, check=True)
    assert done.stdout == (f"{launcher}-m|wespk.bin.cluster_embeddings|--embeddings|/e/embeddings/train/xvector.scp|--out|"
                           f"/e-pl1/pseudo_labels|--seed|4|--device|{device}|--min-utts|2|")


def test_the_stages_know_which_objectives_read_labels():
    find_objective({"objective": {"name": "supervised"}})  # which registers all
    names = OBJECTIVES.names()
    script = f". '{ROOT}/tools/stages/model.sh'\nconf() {{ printf %s $name; }}\nfor name; do reads_labels && echo $name; done; true"
    done = subprocess.run(["bash", "-c", script, "bash", *names], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [name for name in names if "crops" not in OBJECTIVES.find(name).sections] != []


CONFS = ROOT / "egs" / "voxceleb" / "selfsup" / "conf"
SMALL = ("minivox_sdpn.yaml", "minivox_pseudo_labels.yaml")


@pytest.mark.parametrize("base, conf, pl_set, train_set, utterances, says", [
    (*SMALL, "", "", 1368, None),
    (*SMALL, "clusters.size=3", "", 0, "unknown option 'clusters.size'"),
    (*SMALL, "clusters.keep=0", "", 0, "keeps nothing"),
    (*SMALL, "training.config='\"\"'", "", 0, "training.config is missing"),
    (*SMALL, "", "labels.noise=uniform", 0, "the labels of stage 8 are its clusters"),
    (*SMALL, "", "", 200, "clusters.number=300 of 200 training utterances: ask for fewer clusters"),
    ("ecapa1024_sdpn.yaml", "pseudo_labels.yaml", "", "", 0, None),
    ("minivox_sdpn.yaml", "pseudo_labels.yaml", "", "", 0, "add 'features.high_freq=5500"),
    ("minivox_sdpn.yaml", "pseudo_labels.yaml", "", "", 0, f"pseudo_labels.yaml: there is {CONFS}/minivox_pseudo_labels.yaml"),
    (*SMALL, "", "", 200, f"minivox_pseudo_labels.yaml: there is {CONFS}/pseudo_labels.yaml"),
    (*SMALL, "", "data.input=feats augment.prob=0", 0, None),
    (*SMALL, "", "data.input=feats augment.prob=0 copies.speeds=[0.9]", 0, "which stage 2 of this experiment has not"),
])
def test_what_does_not_fit_the_experiment_is_refused(capsys, base, conf, pl_set, train_set, utterances, says):
    call = (str(CONFS / conf), pl_set, train_set, str(CONFS / base), "", "", utterances)
    if says:
        with pytest.raises(InputError) as refused:
            pseudo_label_conf(*call)
        assert says in str(refused.value)
    else:
        pseudo_label_conf(*call)
        lines = dict(line.split("=", 1) for line in capsys.readouterr().out.splitlines())
        network = base.removesuffix("_sdpn.yaml")
        assert (lines["rounds"], lines["training.config"]) == ("2", str(CONFS / f"{network}_pseudo_sphereface2.yaml"))
