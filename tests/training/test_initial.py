"""Starting from another run's weights: every class finds its own row by name, whatever the order and the company."""

import random

import pytest
import torch

from tests.training.conftest import SMALL, MemorySource
from wespk.training import checkpoint
from wespk.training.experiment import Experiment
from wespk.training.initial import InitialWeights, fingerprint
from wespk.training.objectives import build_objective
from wespk.training.trainer import Trainer
from wespk.utils import config
from wespk.utils.errors import InputError
from wespk.utils.log import get_logger
from wespk.utils.seed import seed_everything

OLD = ["ann", "bob", "cid", "dot", "eve", "sp0.9-ann"]
NEW = ["zoe", "dot", "ann", "yan", "bob"]
WITH_CLASSES = ["softmax", "aam_softmax", "sphereface2", "subcenter"]
OPTIONS = {"subcenter": " loss.top_k=2", "ge2e": " loss.utterances=2"}


def conf_of(sets=""):
    return config.load(sets=f"{SMALL} {sets}")


@pytest.fixture
def old(tmp_path):
    """Factory: loss's --set words -> path of a checkpoint with random weights for the speakers OLD."""

    def make(sets):
        torch.manual_seed(1)
        conf = conf_of(sets)
        objective = build_objective(conf, len(OLD))
        for value in objective.loss.state_dict().values():
            value.copy_(torch.randn_like(value))
        path = tmp_path / "old.pt"
        torch.save({"format": checkpoint.FORMAT, "config": conf, "speakers": OLD, "step": 1,
                    "model": objective.model.state_dict(), "loss": objective.loss.state_dict()}, path)
        return path

    return make


def start(path, tmp_path, speakers=NEW, loss="aam_softmax", sets="train.init_head=by_name", resumed=None):
    """(InitialWeights, objective as built, its head's tensors before loading, lines for the log)."""
    conf = conf_of(f"loss.name={loss}{OPTIONS.get(loss, '')} train.init_from={path} {sets}")
    initial = InitialWeights(conf, tmp_path, speakers, resumed)
    torch.manual_seed(2)
    objective = build_objective(conf, len(initial.classes))
    before = {name: value.clone() for name, value in objective.loss.state_dict().items()}
    return initial, objective, before, initial.load(objective)


@pytest.mark.parametrize("extra", ["drop", "keep"])
@pytest.mark.parametrize("loss", WITH_CLASSES)
def test_every_class_gets_the_row_of_its_own_name(old, tmp_path, loss, extra):
    path = old(f"loss.name={loss}{OPTIONS.get(loss, '')}")
    speakers = random.Random(loss).sample(NEW, len(NEW))
    initial, objective, before, lines = start(path, tmp_path, speakers, loss,
                                              f"train.init_head=by_name train.extra_classes={extra}")
    assert initial.classes[:5] == speakers
    assert initial.classes[5:] == (["cid", "eve", "sp0.9-ann"] if extra == "keep" else [])
    theirs, own = checkpoint.load(path)["loss"], objective.loss.state_dict()
    for name in own:
        rows = len(own[name]) == len(initial.classes) and len(theirs[name]) == len(OLD)
        if not rows:  # the bias that all classes of sphereface2 share
            assert torch.equal(own[name], theirs[name])
            continue
        for i, speaker in enumerate(initial.classes):
            wanted = theirs[name][OLD.index(speaker)] if speaker in OLD else before[name][i]
            assert torch.equal(own[name][i], wanted), (name, speaker)
    kept, dropped = (3, 0) if extra == "keep" else (0, 3)
    assert lines[-1].endswith(f"classes: 3 found by name, 2 new (initialised at random), {kept} kept without data, "
                              f"{dropped} dropped")
    for name, value in checkpoint.load(path)["model"].items():
        assert torch.equal(objective.model.state_dict()[name], value)


def test_the_network_alone_is_the_default(old, tmp_path):
    path = old("loss.name=aam_softmax")
    initial, objective, before, lines = start(path, tmp_path, sets="")
    assert torch.equal(objective.loss.weight, before["weight"]) and initial.classes == NEW and len(lines) == 1


def test_a_loss_without_classes_takes_its_tensors(old, tmp_path):
    path = old("loss.name=ge2e loss.utterances=2")
    _, objective, _, lines = start(path, tmp_path, loss="ge2e")
    assert torch.equal(objective.loss.scale, checkpoint.load(path)["loss"]["scale"])
    assert "loss head: " in lines[-1]


@pytest.mark.parametrize("loss", ["aam_softmax", "sphereface2"])
@pytest.mark.parametrize("to_contrastive", [True, False])
def test_a_head_goes_from_supervised_to_contrastive_training_and_back(old, tmp_path, loss, to_contrastive):
    both = "objective.name=contrastive contrast.name=caa_margin_con"
    path = old(f"loss.name={loss} {'' if to_contrastive else both}")
    sets = f"train.init_head=by_name {both if to_contrastive else ''}"
    _, objective, before, lines = start(path, tmp_path, loss=loss, sets=sets)
    own, theirs = objective.loss.state_dict(), checkpoint.load(path)["loss"]
    ours, of_them = ("classification.", "") if to_contrastive else ("", "classification.")
    for i, speaker in enumerate(NEW):
        wanted = theirs[f"{of_them}weight"][OLD.index(speaker)] if speaker in OLD else before[f"{ours}weight"][i]
        assert torch.equal(own[f"{ours}weight"][i], wanted), speaker
    if loss == "sphereface2":
        assert torch.equal(own[f"{ours}bias"], theirs[f"{of_them}bias"])
    if to_contrastive:
        assert torch.equal(own["contrast.weight"], before["contrast.weight"])
        assert "kept as initialised: contrast.weight" in lines[1]
    else:
        assert "not used: contrast.weight" in lines[1]


@pytest.mark.parametrize("there, here, sets, speakers, says", [
    ("triplet", "triplet", "", NEW, "loss.name=triplet shares no tensor with the checkpoint's: set train.init_head=none"),
    ("ge2e loss.utterances=2", "ge2e", "train.extra_classes=keep", NEW, "has no weights for classes: set train.extra_classes=drop"),
    ("aam_softmax", "subcenter", "", NEW, r"has 'weight' of shape \(5, 3, 12\), .* \(6, 12\) do not fit"),
    ("aam_softmax", "aam_softmax", "", ["x", "y"], "the checkpoint has none .6 speakers there.: set train.init_head=none"),
    ("aam_softmax", "aam_softmax", "model.embed_dim=10", NEW, r"has 'weight' of shape \(5, 10\)"),
])
def test_a_head_that_does_not_fit_is_refused(old, tmp_path, there, here, sets, speakers, says):
    path = old(f"loss.name={there}")
    with pytest.raises(InputError, match=says):
        start(path, tmp_path, speakers, here, f"train.init_head=by_name {sets}")


def test_tensors_of_another_shape_are_named(old, tmp_path):
    *_, lines = start(old("loss.name=aam_softmax"), tmp_path, sets="model.embed_dim=10")
    assert "segment.weight (12, 64) there, (10, 64) here" in lines[0]
    assert "segment.bias, segment.weight; not used: " in lines[0]


@pytest.fixture
def resnets(monkeypatch):
    """For ``conf_of`` to make narrow ResNets."""
    monkeypatch.setitem(globals(), "SMALL", "model.feat_dim=20 model.base_channels=2 model.embed_dim=12")


def test_slopes_become_zero_where_the_checkpoint_has_relus(old, tmp_path, resnets):
    path = old("loss.name=aam_softmax model.name=resnet18")
    _, objective, _, lines = start(path, tmp_path, sets="model.name=resnet18_p")
    state = objective.model.state_dict()
    assert lines[1].endswith("network: of these, the 17 slopes of PReLUs are set to 0, as it was one of ReLUs there")
    assert sum((value == 0).all().item() for name, value in state.items() if "act" in name) == 17
    for name, value in checkpoint.load(path)["model"].items():
        assert torch.equal(state[name], value)


def test_slopes_are_those_of_the_checkpoint_where_it_has_some(old, tmp_path, resnets):
    path = old("loss.name=aam_softmax model.name=resnet18_p")
    state = checkpoint.load(path)
    state["model"]["act1.weight"] += 0.5
    torch.save(state, path)
    _, objective, _, lines = start(path, tmp_path, sets="model.name=resnet18_p")
    assert objective.model.act1.weight.tolist() == [0.75, 0.75] and len(lines) == 1


def test_a_checkpoint_of_another_network_is_refused(old, tmp_path):
    path = old("loss.name=aam_softmax")
    state = checkpoint.load(path)
    torch.save({**state, "model": {f"other.{name}": value for name, value in state["model"].items()}}, path)
    with pytest.raises(InputError, match="old.pt shares no tensor with this network"):
        start(path, tmp_path)


def test_keeping_classes_without_a_head_is_refused():
    with pytest.raises(InputError, match="train.init_head=by_name or train.extra_classes=drop"):
        conf_of("train.extra_classes=keep")


def trainer(tmp_path, name, sets, source):
    """What ``run._train`` builds, on a source in memory."""
    conf = conf_of(sets)
    experiment = Experiment(tmp_path / name)
    initial = InitialWeights(conf, experiment.folder, source.speakers, checkpoint.newest(experiment.checkpoints))
    source.speakers = initial.classes
    seed_everything(conf["seed"], "init")
    objective = build_objective(conf, len(source.speakers))
    initial.load(objective)
    experiment.begin(conf, {"init_from": initial.digest})
    return Trainer(conf, experiment, source, objective, torch.device("cpu"), get_logger())


class Dying(MemorySource):
    def fetch(self, epoch, items):
        if len(self.fetched) == 5:
            raise KeyboardInterrupt
        return super().fetch(epoch, items)


def named(source):
    source.speakers = ["ann", "bob", "dot", "zoe"]
    return source


def test_a_resumed_run_equals_an_uninterrupted_one_and_keeps_the_longer_list(old, tmp_path):
    path = old("loss.name=sphereface2")
    sets = f"loss.name=sphereface2 train.init_from={path} train.init_head=by_name train.extra_classes=keep"
    whole = trainer(tmp_path, "whole", sets, named(MemorySource()))
    whole.run()
    with pytest.raises(KeyboardInterrupt):
        trainer(tmp_path, "cut", sets, named(Dying())).run()
    path.unlink()  # a run that has its own checkpoint does not need it any more
    resumed = trainer(tmp_path, "cut", sets, named(MemorySource()))
    resumed.run()
    for a, b in zip(whole.objective.state_dict().values(), resumed.objective.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    state = checkpoint.load(checkpoint.newest(resumed.experiment.checkpoints))
    assert state["speakers"] == ["ann", "bob", "dot", "zoe", "cid", "eve", "sp0.9-ann"]
    assert len(state["loss"]["weight"]) == 7


def test_going_on_from_other_weights_than_the_run_was_begun_with_is_refused(old, tmp_path):
    path = old("loss.name=aam_softmax")
    sets = f"train.init_from={path} train.init_head=by_name"
    trainer(tmp_path, "exp", sets, named(MemorySource())).run()
    state = checkpoint.load(path)
    torch.save({**state, "step": 2}, path)  # the same weights in another file
    trainer(tmp_path, "exp", sets, named(MemorySource()))
    state["model"]["segment.bias"] += 1
    torch.save(state, path)
    with pytest.raises(InputError, match="begun from other weights than .*old.pt holds now: train it anew"):
        trainer(tmp_path, "exp", sets, named(MemorySource()))


def test_the_fingerprint_is_of_weights_and_speakers(old):
    state = checkpoint.load(old("loss.name=aam_softmax"))
    assert fingerprint(state) == fingerprint({**state, "step": 9})
    assert fingerprint(state) != fingerprint({**state, "speakers": OLD[::-1]})
    assert fingerprint(state) != fingerprint({**state, "loss": {"weight": state["loss"]["weight"] + 1e-3}})


def test_features_other_than_those_of_the_checkpoint_are_warned_of(old, tmp_path):
    path = old("loss.name=aam_softmax features.compress=1")
    assert not any("other features" in line for line in start(path, tmp_path)[3])
    lines = start(path, tmp_path, sets="features.high_freq=5500 features.cmn=none")[3]
    (line,) = [line for line in lines if "other features" in line]
    assert line.endswith("WARNING: it was trained on other features: features.high_freq 0.0 there, 5500 here, features.cmn "
                         "mean there, none here")  # fmt: skip
