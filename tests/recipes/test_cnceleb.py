"""The CN-Celeb recipe through its own run.sh: what its first stage leaves of real speech, and what it refuses."""

import subprocess

import pytest
import torch

from tests.conftest import ROOT
from wespk.io.tables import read_table
from wespk.training import checkpoint
from wespk.training.objectives import build_objective
from wespk.utils import config

pytestmark = pytest.mark.slow
RECIPE = ROOT / "egs" / "cnceleb" / "supervised"


def stage_1(tmp_path, *words):
    """(exit status, lines without the time of day, errors) of stage 1 with folders of its own."""
    return stages(tmp_path, "--stop-stage", "1", *words)


def stages(tmp_path, *words):
    line = ["bash", str(RECIPE / "run.sh"), "--config", str(RECIPE / "conf" / "minicn_small.yaml"),
            "--data", str(tmp_path / "data"), "--exp", str(tmp_path / "exp"), "--gpus", "0", "--nj", "1", *words]  # fmt: skip
    done = subprocess.run(line, capture_output=True, text=True, cwd=tmp_path, check=False)
    return done.returncode, [text.removeprefix(text[:9]) for text in done.stdout.splitlines()], done.stderr


def test_stage_1_makes_valid_folders_for_both_protocols_and_answers_for_them(real_speech, tmp_path):
    words = ("--cnceleb1", str(real_speech / "minicn"), "--dev-speakers", "10", "--check-audio", "false")
    status, said, errors = stage_1(tmp_path, *words)
    assert status == 0, errors
    assert [line for line in said if line.endswith(": valid")] == [
        f"{tmp_path}/data/{name}: valid"[9:] for name in ("train", "dev", "eval")
    ]
    joined = f"{tmp_path}/data/train: 257 utterances, 230 of them shorter than 5 s, joined to 132"
    assert joined[9:] in said and len(read_table(tmp_path / "data/train/utt2utts")) == 132
    assert not (tmp_path / "data/eval/utt2utts").exists() and not (tmp_path / "data/dev/utt2utts").exists()
    for path in ("train/utt2genre", "eval/trials/cnceleb_concat", "eval/trials/cnceleb_avg", "eval/enroll_maps/cnceleb_avg"):
        assert (tmp_path / "data" / path).is_file(), path
    (tmp_path / "data" / "eval" / "enroll_maps" / "cnceleb_avg").write_text("id00800-enroll id00800-vlog-01-001\n")
    _, said, _ = stage_1(tmp_path, *words)
    assert any("stage 1 runs: output" in line and "enroll_maps" in line for line in said)


def test_a_folder_that_is_not_there_or_an_option_of_another_corpus_stops_at_once_and_says_so(tmp_path):
    status, _, errors = stage_1(tmp_path, "--voxceleb1", str(tmp_path))
    assert status == 1 and "corpus 'cnceleb' has no option 'voxceleb1'" in errors
    status, _, errors = stage_1(tmp_path, "--cnceleb2", "/no/such/root")
    assert status == 1 and "--cnceleb2: no such folder: /no/such/root" in errors
    assert not (tmp_path / "data" / "train").exists()


def other_corpus_model(path):
    """A checkpoint of a network of the VoxCeleb recipe's minivox_small.yaml for three speakers, as begun; returns it."""
    conf = config.load(ROOT / "egs" / "voxceleb" / "supervised" / "conf" / "minivox_small.yaml")
    torch.manual_seed(1)
    objective = build_objective(conf, 3)
    state = {"format": checkpoint.FORMAT, "config": conf, "speakers": ["id10001", "id10002", "id10003"], "step": 1,
             "model": objective.model.state_dict(), "loss": objective.loss.state_dict()}  # fmt: skip
    torch.save(state, path)
    return state


def test_training_goes_on_from_a_voxceleb_model_with_joined_utterances_and_a_new_head(real_speech, tmp_path):
    state = other_corpus_model(tmp_path / "vox.pt")
    overlay = str(RECIPE / "conf" / "minicn_finetune.yaml")
    words = ("--cnceleb1", str(real_speech / "minicn"), "--dev-speakers", "10", "--check-audio", "false", "--overlay", overlay,
             "--epochs", "1", "--set", f"copies.speeds=[] train.init_from={tmp_path}/vox.pt")  # fmt: skip
    status, _, errors = stages(tmp_path, "--stop-stage", "3", *words)
    assert status == 0, errors
    log = (tmp_path / "exp" / "train.log").read_text()
    number = len(state["model"])
    assert f"vox.pt: network: {number} of {number} tensors loaded; kept as initialised: none; not used: none" in log
    assert "other features" not in log and "loss head" not in log and "132 utterances of 61 speakers" in log
    assert "stage 3 is done already and current" in " ".join(stages(tmp_path, "--stage", "3", "--stop-stage", "3", *words)[1])
