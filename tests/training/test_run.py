"""From data folders to a trained experiment, through the commands of stages 3 and 4."""

import json
import os
import signal
import subprocess
import sys
from unittest import mock

import numpy as np
import pytest
import torch

from wespk.data import build_source
from wespk.io.ark import ArkWriter
from wespk.io.tables import write_table
from wespk.training import checkpoint
from wespk.training.objectives import METHOD_SECTIONS
from wespk.training.run import _announce, fit_model_to_features, pick_device, train
from wespk.utils import config
from wespk.utils.errors import InputError

SETS = ("model.name=xvector model.embed_dim=12 model.hidden=16 model.stats=32 features.num_mel_bins=8 data.chunk_frames=30 "
        "data.min_frames=20 train.num_epochs=2 train.batch_size=8 train.average=2 train.keep=2 schedule.warmup_epochs=1 "
        "margin.start_epoch=0 margin.end_epoch=1 runtime.num_workers=1 runtime.log_every=2 runtime.save_every=2")


def make_set(folder, speakers, utterances, seed):
    rng = np.random.default_rng(seed)
    feats = {}
    for s in range(speakers):
        pattern = rng.normal(size=(20, 8))
        for u in range(utterances):
            noise = rng.normal(scale=0.5, size=(60 + u, 8))
            feats[f"s{seed}{s}-u{u}"] = (np.resize(pattern, (60 + u, 8)) + noise).astype(np.float32)
    folder.mkdir(parents=True)
    with ArkWriter(folder / "feats.ark", folder / "feats.scp", compress=2) as ark:
        for key, value in feats.items():
            ark.write(key, value)
    write_table(folder / "utt2num_frames", {k: str(len(v)) for k, v in feats.items()})
    write_table(folder / "utt2spk", {k: k.split("-")[0] for k in feats})
    return sorted(feats)


@pytest.fixture
def data(tmp_path):
    make_set(tmp_path / "train", 5, 6, 1)
    keys = make_set(tmp_path / "dev", 3, 4, 2)
    pairs = [(a, b) for i, a in enumerate(keys) for b in keys[i + 1:]]
    (tmp_path / "dev" / "trials").mkdir()
    (tmp_path / "dev" / "trials" / "dev").write_text("".join(
        f"{a} {b} {'target' if a[:3] == b[:3] else 'nontarget'}\n" for a, b in pairs))
    return tmp_path


def run(command, cwd, *words):
    return subprocess.run([sys.executable, "-m", f"wespk.bin.{command}", *words], cwd=cwd, capture_output=True, text=True,
                          timeout=100, check=False)


@pytest.mark.parametrize("frames, warned", [(62, False), (63, False), (64, True)])
def test_chunks_longer_than_most_utterances_are_warned_of(data, frames, warned):
    """The utterances of a speaker have 60 to 65 frames."""
    conf = config.load(sets=f"{SETS} data.chunk_frames={frames}")
    source, log = build_source(conf, data / "train"), mock.Mock()
    trainer = mock.Mock(steps_per_epoch=1, total_steps=2, objective=mock.MagicMock(sections=METHOD_SECTIONS))
    _announce(log, conf, source, trainer, {"num_speakers": 5, "parameters": 1, "processes": 1, "device": "cpu"})
    said = [call.args[0] % call.args[1:] for call in log.warning.call_args_list]
    assert any(f"{5 * (frames - 60)} of 30 utterances are shorter than data.chunk_frames={frames}" in line for line in said) == warned


def train_words(exp, sets=SETS):
    return ["--exp", exp, "--train-data", "train", "--dev-data", "dev", "--device", "cpu", "--set", sets]


def test_stage_3_trains_validates_and_leaves_what_later_stages_read(data):
    done = run("train", data, *train_words("exp"))
    assert done.returncode == 0, done.stderr
    resolved = config.read_resolved(data / "exp")
    assert resolved["model"]["feat_dim"] == 8 and resolved["derived"]["num_speakers"] == 5
    assert {"git", "packages"} == resolved["provenance"].keys()
    records = [json.loads(line) for line in (data / "exp" / "metrics.jsonl").read_text().splitlines()]
    assert [r["step"] for r in records if "dev_eer" in r] == [4, 8]
    assert all(0 <= r["dev_eer"] <= 0.5 for r in records if "dev_eer" in r)
    log = (data / "exp" / "train.log").read_text()
    assert "30 utterances of 5 speakers" in log and "not rescaled" in log and "EER" in log
    assert [e for e, _ in checkpoint.epoch_checkpoints(data / "exp" / "checkpoints")] == [1, 2]

    again = run("train", data, *train_words("exp"))
    assert again.returncode == 0 and "resuming" in again.stderr
    other = run("train", data, *train_words("exp", SETS.replace("embed_dim=12", "embed_dim=16")))
    assert other.returncode == 1 and "model.embed_dim: 12 there, 16 now" in other.stderr

    averaged = run("average_checkpoints", data, "--exp", "exp")
    assert averaged.returncode == 0 and "averaged epochs 1 to 2" in averaged.stdout
    state = checkpoint.load(data / "exp" / "checkpoints" / "average.pt")
    parts = [checkpoint.load(p) for _, p in checkpoint.epoch_checkpoints(data / "exp" / "checkpoints")]
    name = "linear.weight"
    torch.testing.assert_close(state["model"][name], (parts[0]["model"][name] + parts[1]["model"][name]) / 2)
    few = run("average_checkpoints", data, "--exp", "exp", "--num", "3")
    assert few.returncode == 1 and "has 2 epoch checkpoints, 3 are to be averaged" in few.stderr


def test_a_run_on_other_data_is_refused_before_anything_is_written(data):
    conf = config.load(sets=SETS.replace("train.num_epochs=2", "train.num_epochs=1"))
    train(conf, data / "exp", data / "train", None, "cpu")
    make_set(data / "other", 4, 6, 1)
    before = {path: path.read_bytes() for path in (data / "exp").rglob("*") if path.is_file()}
    with pytest.raises(InputError, match="epoch_0001.pt was trained on other data than these"):
        train(conf, data / "exp", data / "other", None, "cpu")
    assert before == {path: path.read_bytes() for path in (data / "exp").rglob("*") if path.is_file()}
    train(conf, data / "exp", data / "train", None, "cpu")
    starts = [line for line in (data / "exp" / "train.log").read_text().splitlines() if "===== started as: " in line]
    assert len(starts) == 2 and all("python" in line and "; revision " in line for line in starts)


def test_wrong_labels_are_made_by_command_and_counted(data):
    sets = SETS + " labels.noise=class_wise labels.rate=0.5"
    with pytest.raises(InputError, match="relabelled does not exist: make it with `python -m wespk.bin.relabel"):
        train(config.load(sets=sets), data / "exp", data / "train", None, "cpu")
    said = run("relabel", data, "--train-data", "train", "--set", sets).stdout
    assert "class_wise-50-seed0 gives 12 of 30 utterances" in said and "has no partner" in said
    train(config.load(sets=sets), data / "exp", data / "train", None, "cpu")
    assert config.read_resolved(data / "exp")["derived"]["num_relabelled"] == 12
    log = (data / "exp" / "train.log").read_text()
    assert "labels class_wise-50-seed0: 12 of these utterances bear another speaker's label" in log
    none = run("relabel", data, "--train-data", "train", "--set", SETS)
    assert none.returncode == 1 and "labels.noise is none: there is nothing to relabel" in none.stderr


def test_sigkill_and_sigterm_change_nothing(data):
    sets = SETS.replace("train.num_epochs=2", "train.num_epochs=30 runtime.validate_every=0")
    assert run("train", data, *train_words("whole", sets)).returncode == 0
    for number, status in ((signal.SIGKILL, -signal.SIGKILL), (signal.SIGTERM, 85)):
        process = subprocess.Popen([sys.executable, "-m", "wespk.bin.train", *train_words("cut", sets)], cwd=data,
                                   stderr=subprocess.PIPE, text=True)
        seen = 0
        for line in process.stderr:
            seen += "epoch" in line and "loss" in line
            if seen == 4:
                os.kill(process.pid, number)
                break
        process.stderr.read()
        assert process.wait(60) == status
        assert checkpoint.newest(data / "cut" / "checkpoints") is not None
        assert (data / "cut" / "requeue").exists() == (number == signal.SIGTERM)
    assert run("train", data, *train_words("cut", sets)).returncode == 0
    assert not (data / "cut" / "requeue").exists()
    whole, cut = (checkpoint.load(data / e / "checkpoints" / "epoch_0030.pt") for e in ("whole", "cut"))
    assert whole["step"] == cut["step"] == 120
    for part in ("model", "loss"):
        for name in whole[part]:
            assert torch.equal(whole[part][name], cut[part][name]), name


def test_init_from_takes_what_fits_and_names_the_rest(data):
    train(config.load(sets=SETS), data / "a", data / "train", None, "cpu")
    first = data / "a" / "checkpoints" / "epoch_0002.pt"
    conf = config.load(sets=f"{SETS} train.init_from={first} model.embed_dim=10 schedule.name=constant optimizer.lr=1e-9")
    train(conf, data / "b", data / "train", None, "cpu")
    a, b = (checkpoint.load(data / e / "checkpoints" / "epoch_0002.pt")["model"] for e in "ab")
    name = "frames.1.conv.weight"
    torch.testing.assert_close(a[name], b[name], atol=1e-6, rtol=0)
    first.unlink()
    train(conf, data / "b", data / "train", None, "cpu")  # a run that has its own checkpoint does not need it any more
    assert "kept as initialised: " in (data / "b" / "train.log").read_text()
    assert a["linear.weight"].shape != b["linear.weight"].shape


@pytest.mark.parametrize("sets, train_data, device, says", [
    ("model.embed_dimm=3", "train", "cpu", "did you mean 'embed_dim'?"),
    ("loss.scael=3", "train", "cpu", "did you mean 'scale'?"),
    ("model.feat_dim=40", "train", "cpu", "gives 80"),
    ("model.name=resnet35", "train", "cpu", "did you mean 'resnet"),
    ("train.num_epochs=10", "train", "cpu", "margin.end_epoch .40. lies beyond train.num_epochs .10."),
    ("", "nowhere", "cpu", r"compute the features first \(stage 2\)"),
    ("", "train", "tpu", "auto, cpu or cuda"),
])
def test_what_cannot_be_trained_is_refused_before_anything_is_written(data, sets, train_data, device, says):
    with pytest.raises(InputError, match=says):
        train(config.load(sets=sets), data / "e", data / train_data, None, device)
    assert not (data / "e").exists()


def test_a_wrong_command_ends_in_one_line(data):
    done = run("train", data, "--exp", "e", "--train-data", "train", "--set", "model.embed_dimm=3")
    assert done.returncode == 1 and "did you mean 'embed_dim'?" in done.stderr and "Traceback" not in done.stderr


def test_check_config_prints_the_merged_options(data):
    good = run("check_config", data, "--set", SETS, "--show", "true")
    assert good.returncode == 0 and "embed_dim: 12" in good.stdout


def test_a_held_out_trial_without_features_is_named(data):
    with open(data / "dev" / "trials" / "dev", "a") as file:
        file.write("s20-u0 absent target\n")
    with pytest.raises(InputError, match="trials/dev names 'absent'"):
        train(config.load(sets=SETS), data / "e", data / "train", data / "dev", "cpu")


def test_the_models_input_size_is_that_of_the_features():
    conf = config.load(sets="features.type=mfcc features.num_ceps=23")
    fit_model_to_features(conf)
    assert conf["model"]["feat_dim"] == 23


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_cuda_without_a_gpu_is_refused():
    assert pick_device("auto").type == "cpu"
    with pytest.raises(InputError, match="use --device cpu"):
        pick_device("cuda")
