"""Which checkpoint is taken, and what is refused."""

import os

import numpy as np
import pytest
import torch

from tests.embedding.tiny_networks import tiny_checkpoint, tiny_config
from wespk.embedding.loading import find_checkpoint, load_checkpoint, load_network, pick_device
from wespk.utils.errors import InputError


class Trap:
    """Something that makes a folder when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_the_average_comes_before_the_latest_and_that_before_the_last_epoch(experiment):
    folder = experiment / "checkpoints"
    assert find_checkpoint(experiment).name == "epoch_0001.pt"
    (folder / "epoch_0010.pt").touch()
    (folder / "epoch_0009.pt").touch()
    (folder / "epoch_best.pt").touch()
    assert find_checkpoint(experiment).name == "epoch_0010.pt"
    (folder / "latest.pt").touch()
    assert find_checkpoint(experiment).name == "latest.pt"
    (folder / "average.pt").touch()
    assert find_checkpoint(experiment).name == "average.pt"
    assert find_checkpoint(folder / "epoch_0009.pt").name == "epoch_0009.pt"


def test_a_folder_without_checkpoints_says_what_to_do(tmp_path):
    with pytest.raises(InputError, match="holds no checkpoints/average.pt .* train it first"):
        find_checkpoint(tmp_path)
    with pytest.raises(InputError, match="nowhere: no such experiment folder or checkpoint file"):
        find_checkpoint(tmp_path / "nowhere")


def test_the_network_carries_weights_configuration_and_eval_mode(experiment):
    network = load_network(experiment)
    assert not network.model.training and network.step == 7 and network.cmn == "mean"
    saved = torch.load(experiment / "checkpoints" / "epoch_0001.pt", weights_only=True)["model"]
    assert all(torch.equal(value, saved[name]) for name, value in network.model.state_dict().items())


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_a_checkpoint_cut_short_is_named(experiment, share):
    path = experiment / "checkpoints" / "epoch_0001.pt"
    whole = path.read_bytes()
    path.write_bytes(whole[:int(len(whole) * share)])
    with pytest.raises(InputError, match=r"epoch_0001.pt is cut short or not a wespk checkpoint .*--checkpoint"):
        load_network(experiment)


def test_foreign_files_are_refused_and_nothing_in_them_is_executed(tmp_path):
    path = tmp_path / "model.pt"
    cases = [({"weights": torch.zeros(2)}, "is a torch file, but not a wespk checkpoint"),
             (torch.zeros(2), "is a torch file, but not a wespk checkpoint"),
             ({"format": 2}, "of format 2, but this version reads format 1"),
             ({"format": 1, "config": {}, "step": 1}, "lacks 'model'"),
             (Trap(tmp_path / "sprung"), "cut short or not a wespk checkpoint")]
    for content, message in cases:
        torch.save(content, path)
        with pytest.raises(InputError, match=message) as caught:
            load_checkpoint(path)
        assert str(path) in str(caught.value)
    assert not (tmp_path / "sprung").exists()
    path.write_text("just text")
    with pytest.raises(InputError, match="cut short or not a wespk checkpoint"):
        load_checkpoint(path)


def test_weights_that_do_not_fit_their_own_config_are_refused(tmp_path):
    state = tiny_checkpoint(tiny_config())
    state["config"]["model"]["embed_dim"] = 24
    torch.save(state, tmp_path / "model.pt")
    with pytest.raises(InputError, match="model.pt: its weights do not fit its own config's model"):
        load_network(tmp_path / "model.pt")


def test_a_weight_that_is_not_finite_is_named(tmp_path):
    state = tiny_checkpoint(tiny_config())
    state["model"]["conv1.weight"][0, 0, 0, 0] = np.nan
    torch.save(state, tmp_path / "model.pt")
    with pytest.raises(InputError, match="model.pt: weight 'conv1.weight' is not finite"):
        load_network(tmp_path / "model.pt")


def test_a_network_for_other_features_than_its_front_end_makes_is_refused(tmp_path):
    state = tiny_checkpoint(tiny_config())
    state["config"]["features"]["num_mel_bins"] = 72
    torch.save(state, tmp_path / "model.pt")
    with pytest.raises(InputError, match="model.pt: its features have 72 values a frame, but its network takes 80"):
        load_network(tmp_path / "model.pt")


def test_jobs_take_turns_on_the_visible_gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [str(pick_device("auto", job)) for job in (1, 2, 3)] == ["cuda:0", "cuda:1", "cuda:0"]
    assert str(pick_device("cuda:1", 1)) == "cuda:1" and str(pick_device("cpu", 2)) == "cpu"
    with pytest.raises(InputError, match="--device cuda:2: only 2 GPUs are visible"):
        pick_device("cuda:2")


def test_a_device_that_is_not_there_is_an_error_not_a_fallback(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert str(pick_device("auto")) == "cpu"
    with pytest.raises(InputError, match="--device cuda: no GPU is visible here"):
        pick_device("cuda")
    for name in ("gpu", "cuda:", "CPU", "cuda:-1"):
        with pytest.raises(InputError, match="takes auto, cpu, cuda or cuda:N"):
            pick_device(name)
