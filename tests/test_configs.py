"""Every YAML file of the repository merges, is checked, and builds its network."""

import pytest

from tests.conftest import ROOT
from wespk.utils import config

RECIPES = sorted(path for path in (ROOT / "egs").rglob("conf/*.yaml"))
SUPERVISED = ROOT / "egs" / "voxceleb" / "supervised" / "conf"
MODELS = sorted((ROOT / "wespk" / "conf" / "model").rglob("*.yaml"))


LOSS_OF = {"_c": "resnet34_sphereface2_c", "_a": "resnet34_sphereface2_a"}


def load(path):
    """The configuration in ``path``; one for stage 8 is laid over what it is made for."""
    if "lmft" not in path.stem or path.stem == "lmft_waves":
        return config.load(path)
    return config.load(SUPERVISED / f"{LOSS_OF.get(path.stem[-2:], 'resnet34')}.yaml", path)


def relative(path):
    return str(path.relative_to(ROOT))


def test_there_are_configurations():
    names = {path.stem for path in RECIPES}
    assert {"resnet34", "ecapa512", "ecapa1024", "minivox", "mini", "waves", "lmft"} <= names
    assert len(MODELS) >= 9


@pytest.mark.parametrize("path", [*RECIPES, *MODELS], ids=relative)
def test_a_configuration_builds_its_network(path):
    from wespk.training.run import check_model

    conf = load(path)
    objective = check_model(conf)
    assert objective.model.embed_dim == conf["model"].get("embed_dim", objective.model.embed_dim)
    assert objective.model.feat_dim == (conf["features"]["num_mel_bins"] if path in RECIPES else 80)


@pytest.mark.parametrize("path", RECIPES, ids=relative)
def test_a_recipe_configuration_is_short(path):
    lines = [line for line in path.read_text().splitlines() if line.strip() and not line.startswith("#")]
    assert 1 <= len(lines) <= 25


def test_the_overlay_for_waveforms_fits_every_full_size_configuration():
    folder = ROOT / "egs" / "voxceleb" / "supervised" / "conf"
    for name in ("resnet34", "ecapa512", "ecapa1024"):
        conf = config.load(folder / f"{name}.yaml", folder / "waves.yaml")
        assert (conf["data"]["input"], conf["copies"]["kinds"], conf["train"]["num_epochs"]) == ("waves", [], 150)
        assert conf["model"] == config.load(folder / f"{name}.yaml")["model"]


def test_a_misspelt_key_in_a_recipe_configuration_is_refused(tmp_path):
    text = (ROOT / "egs" / "mini" / "conf" / "mini.yaml").read_text()
    (tmp_path / "mini.yaml").write_text(text.replace("num_epochs", "num_epoch"))
    with pytest.raises(config.InputError, match="unknown option 'train.num_epoch' .*num_epochs"):
        config.load(tmp_path / "mini.yaml")
