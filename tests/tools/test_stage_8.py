"""Stage 8 of tools/stages.sh: fine-tuning in a folder beside the experiment, by stages 3 to 7; entry points are fakes."""

import shutil

import pytest
import yaml

from tests.conftest import ROOT
from tests.tools.staged_recipe import CURRENT, Stages, as_kept, keep_copy
from tools.fine_tuning_conf import fine_tuning_conf
from wespk.utils.errors import InputError

LMFT = """
only_for: {loss: {name: aam_softmax}}
margin: {initial: 0.5, final: 0.5, start_epoch: 0, end_epoch: 0}
train: {num_epochs: 2, init_head: by_name, extra_classes: keep}
"""


class FineTuning(Stages):
    """A recipe with an overlay for stage 8 and recorded results."""

    def __init__(self, folder):
        super().__init__(folder)
        self.fine = self.exp.with_name("plain-lm")
        (folder / "conf" / "lmft.yaml").write_text(LMFT)
        (folder / "expected.yaml").write_text("results: {}\n")

    def conf(self, exp=None):
        return yaml.safe_load(((exp or self.fine) / "config.yaml").read_text())


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """The folder of a recipe after `--stop-stage 8`, a copy of it, and what the run said and did."""
    folder = tmp_path_factory.mktemp("kept") / "a JOB's"
    recipe = FineTuning(folder)
    recipe.expected = ("--expected", folder / "expected.yaml")
    _, said, _ = recipe.run("--stop-stage", 8, "--seed", 5, "--exp", recipe.exp, *recipe.expected, text="x")
    return keep_copy(folder), said, recipe.calls_of("train"), recipe.calls_of("make_report")


@pytest.fixture
def tuned(kept):
    return FineTuning(as_kept(kept[0]))


def test_the_average_is_trained_on_by_the_overlay_in_a_folder_beside(kept, tuned):
    _, said, trainings, reports = kept
    base, fine = tuned.conf(tuned.exp), tuned.conf()
    assert fine["train"]["init_from"] == f"{tuned.exp}/checkpoints/average.pt"
    assert (fine["seed"], fine["margin"]["final"], fine["train"]["num_epochs"]) == (5, 0.5, 2)
    assert base["margin"]["final"] == 0.2 and base["train"]["init_from"] == ""
    assert len(trainings) == 2 and f"--exp {tuned.fine} " in trainings[1]
    runs = [line for line in said if " runs: " in line]
    assert runs == [f"stage {n} runs: not done yet" for n in (1, 2, 3, 4, 5, 6, 7, 3, 4, 5, 6, 7)]
    assert f"stage 8, large-margin fine-tuning: {tuned.exp}/checkpoints/average.pt -> {tuned.fine}, by stages 3 to 7" in said
    assert (tuned.fine / "results" / "RESULTS.md").exists()
    assert ["--expected" in line for line in reports] == [True, False]  # it is recorded of the experiment itself


def test_a_second_run_does_nothing(tuned):
    _, said, _ = tuned.run("--stage", 8, "--exp", tuned.exp)  # alone, it is also the last one
    assert [line for line in said if line.startswith("stage") and "is done already" in line] == [
        CURRENT.format(n) for n in (3, 4, 5, 6, 7)]
    assert not any(tuned.calls_of(name) for name in ("train", "score_cosine", "make_report"))


def test_another_average_is_fine_tuned_again(tuned):
    (tuned.exp / "embeddings" / "eval" / "xvector.scp").unlink()  # so that stage 4 runs again
    tuned.only(4, "--exp", tuned.exp, text="another average")
    _, said, _ = tuned.run("--stage", 8, "--exp", tuned.exp)
    assert f"stage 3 runs: input {tuned.exp}/checkpoints/average.pt has changed" in said
    (tuned.exp / "checkpoints" / "average.pt").write_text("of unknown making\n")
    status, _, errors = tuned.run("--stage", 8, "--exp", tuned.exp, check=False)
    assert status == 1 and "stage 8 builds on stage 4, which is out of date" in errors


def test_by_force_the_fine_tuning_of_what_was_trained_anew_is_begun_anew_too(tuned):
    old = [exp / "checkpoints" / "epoch_0000.pt" for exp in (tuned.exp, tuned.fine)]
    stop = tuned.folder / "log.score_norm.status"
    words = ("--stage", 3, "--stop-stage", 8, "--exp", tuned.exp, "--force", "true")
    for path in old:
        path.touch()
    assert tuned.run(*words, text="another average")[0] == 0
    assert not any(path.exists() for path in old) and len(tuned.calls_of("train")) == 2
    for path in old:
        path.touch()
    stop.write_text("85")
    assert tuned.run(*words, check=False)[0] == 85 and [path.exists() for path in old] == [False, True]
    stop.unlink()
    _, said, _ = tuned.run(*words)
    assert len(tuned.calls_of("train")) == 1 and not old[1].exists()
    assert sum("done already by this command" in line for line in said) == 3  # stages 3 to 5 of the experiment itself


def test_an_interruption_hands_on_its_status_and_is_taken_up(tuned):
    shutil.rmtree(tuned.fine)
    stop = tuned.folder / "log.train.status"
    stop.write_text("85")
    status, _, errors = tuned.run("--stage", 8, "--exp", tuned.exp, check=False)
    assert status == 85 and "the same command goes on from there (exit status 85)" in errors
    stop.unlink()
    _, said, _ = tuned.run("--stage", 8, "--exp", tuned.exp)
    assert "stage 3 runs: was begun and not finished" in said and len(tuned.calls_of("train")) == 1


def test_other_options_for_the_same_folder_are_refused(tuned):
    status, _, errors = tuned.run("--stage", 8, "--exp", tuned.exp, "--lm-set", "margin.final=0.4", check=False)
    assert status == 1 and "margin.final: 0.5 there, 0.4 asked for" in errors
    assert "stage 8 wants the --lm-overlay and --lm-set that it was begun with" in errors


@pytest.mark.parametrize("words, says", [
    (("--stage", 8), "config.yaml does not exist: train the experiment first (stage 3)"),
    (("--lm-set", "seed=3"), "--lm-overlay and --lm-set are for stage 8, which is not asked for"),
    (("--stop-stage", 8, "--lm-overlay", "conf/no.yaml"), "--lm-overlay: no such file: "),
    (("--stop-stage", 8, "--lm-overlay", "lmft.yaml"), "/conf/lmft.yaml"),
])
def test_what_cannot_be_fine_tuned_is_refused_at_once(tmp_path, words, says):
    recipe = FineTuning(tmp_path)
    status, _, errors = recipe.run(*words, check=False)
    assert status == 1 and says in errors and not recipe.calls_of("prepare_corpus")


def test_an_experiment_without_an_average_is_refused(tuned):
    (tuned.exp / "checkpoints" / "average.pt").unlink()
    status, _, errors = tuned.run("--stage", 8, "--exp", tuned.exp, check=False)
    assert status == 1 and "average.pt, which stage 4 makes: run --stage 4 first" in errors


def test_an_overlay_for_another_loss_is_refused_by_stage_8(tuned):
    (tuned.folder / "conf" / "c.yaml").write_text("only_for: {loss: {name: sphereface2}}\n")
    words = ("--stage", 8, "--exp", tuned.exp, "--lm-overlay", tuned.folder / "conf" / "c.yaml")
    status, _, errors = tuned.run(*words, check=False)
    assert status == 1 and "c.yaml is made for loss.name=sphereface2" in errors and "made for that: lmft.yaml" in errors


def test_stage_3_goes_on_with_the_configuration_of_the_folder_named(tuned):
    words = ("--exp", tuned.exp)  # trained with another seed than the default configuration's
    assert CURRENT.format(3) in tuned.only(3, *words)[1]
    status, _, errors = tuned.only(3, *words, "--set", "optimizer.lr=0.3", check=False)
    assert status == 1 and "optimizer.lr: 0.1 there, 0.3 asked for" in errors


def test_several_overlays_give_the_experiment_its_name(tuned):
    for name, text in (("wide", "model: {embed_dim: 128}\n"), ("small", "model: {embed_dim: 64}\n")):
        (tuned.folder / "conf" / f"{name}.yaml").write_text(text)
    both = f"{tuned.folder}/conf/wide.yaml,{tuned.folder}/conf/../conf/small.yaml"
    tuned.only(3, "--overlay", both)
    assert tuned.conf(tuned.exp.with_name("plain-wide-small"))["model"]["embed_dim"] == 64
    status, _, errors = tuned.only(3, "--overlay", f"{both},no.yaml", check=False)
    assert status == 1 and "--overlay: no such file: /no.yaml" in errors


CONFS = ROOT / "egs" / "voxceleb" / "supervised" / "conf"


@pytest.mark.parametrize("overlay, sets, says", [
    ("lmft.yaml", "", f"give --lm-overlay {CONFS}/lmft.yaml,{CONFS}/lmft_waves.yaml"),
    ("lmft_waves.yaml", "", "begin with a random head, at a learning rate of 0.4. Name it behind an overlay that says by_name"),
    ("lmft_sphereface2_c.yaml", "", "is made for loss.name=sphereface2"),
    ("lmft_waves.yaml", "train.init_head=none", None),
    (f"lmft.yaml,{CONFS}/lmft_waves.yaml", "", None),
])
def test_a_fine_tuning_from_waveforms_says_which_overlays_it_wants(capsys, overlay, sets, says):
    call = (str(CONFS / "resnet34.yaml"), str(CONFS / "waves.yaml"), "", f"{CONFS}/{overlay}", sets)
    if says:
        with pytest.raises(InputError) as refused:
            fine_tuning_conf(*call)
        assert says in str(refused.value)
    else:
        fine_tuning_conf(*call)
        assert yaml.safe_load(capsys.readouterr().out)["data"]["input"] == "waves"


@pytest.mark.parametrize("first", [3, 8])
def test_a_random_head_is_refused_before_anything_is_done(tuned, first):
    (tuned.folder / "conf" / "short.yaml").write_text("train: {num_epochs: 2}\n")
    words = ("--stage", first, "--stop-stage", 8, "--exp", tuned.exp, "--lm-overlay", tuned.folder / "conf" / "short.yaml")
    status, _, errors = tuned.run(*words, check=False)
    assert status == 1 and "short.yaml leaves train.init_head at none" in errors and not tuned.calls_of("train")
