"""Every YAML file of the repository merges, is checked, and builds its network."""

import pytest

from tests.conftest import ROOT
from tools.pseudo_label_conf import check_training, read
from wespk.utils import config

OF_STAGE_8 = sorted((ROOT / "egs").rglob("conf/*pseudo_labels.yaml"))
RECIPES = sorted({*(ROOT / "egs").rglob("conf/*.yaml")} - {*OF_STAGE_8})
SUPERVISED = ROOT / "egs" / "voxceleb" / "supervised" / "conf"
MODELS = sorted((ROOT / "wespk" / "conf" / "model").rglob("*.yaml"))


LOSS_OF = {"_c": "resnet34_sphereface2_c", "_a": "resnet34_sphereface2_a", "er": "resnet34_spherespeaker"}


def load(path):
    """The configuration in ``path``; one for stage 8 is laid over what it is made for."""
    if "finetune" in path.stem:
        return config.load(path.with_name("minicn_small.yaml" if "minicn" in path.stem else "resnet34.yaml"), path)
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


@pytest.mark.parametrize("path", OF_STAGE_8, ids=relative)
def test_pseudo_labels_are_trained_on_the_features_of_their_recipes_experiments(path):
    options, conf = read(path, "", "")
    assert options["rounds"] == 2 and conf["loss"]["name"] == "sphereface2" and conf["objective"]["name"] == "supervised"
    network = path.stem.removesuffix("pseudo_labels").rstrip("_") or "ecapa1024"
    check_training(conf, load(path.with_name(f"{network}_sdpn.yaml")), path)


@pytest.mark.parametrize("path", RECIPES, ids=relative)
def test_a_recipe_configuration_is_short(path):
    lines = [line for line in path.read_text().splitlines() if line.strip() and not line.startswith("#")]
    assert 1 <= len(lines) <= 25


def test_recipes_for_two_corpora_differ_only_where_they_say_so():
    folder = ROOT / "egs" / "cnceleb" / "supervised" / "conf"
    same = {path.name for path in folder.glob("*.yaml")} & {path.name for path in SUPERVISED.glob("*.yaml")}
    assert len(same) >= 15
    for name in same - {"ecapa1024_contrastive.yaml"}:
        assert load(folder / name) == load(SUPERVISED / name), name


@pytest.mark.parametrize("overlay, kinds", [("finetune", ("resnet34", "ecapa1024_sphereface2_c", "resnet34_p_spherespeaker")),
                                            ("minicn_finetune", ("minicn_small", "minicn_sphereface2_a"))])
def test_fine_tuning_from_another_corpus_is_shorter_and_slower_and_gives_a_new_head_its_margin_late(overlay, kinds):
    folder = ROOT / "egs" / "cnceleb" / "supervised" / "conf"
    for name in kinds:
        base, fine = config.load(folder / f"{name}.yaml"), config.load(folder / f"{name}.yaml", folder / f"{overlay}.yaml")
        assert 3 * fine["train"]["num_epochs"] <= base["train"]["num_epochs"] + 1
        assert fine["optimizer"]["lr"] < base["optimizer"]["lr"] / 2 and fine["loss"] == base["loss"]
        margin = fine["margin"]
        assert fine["schedule"]["warmup_epochs"] < margin["start_epoch"] < margin["end_epoch"] < fine["train"]["num_epochs"] / 1.5
        assert (fine["train"]["init_head"], fine["model"]) == ("none", base["model"])


def test_the_overlay_for_waveforms_fits_every_full_size_configuration():
    for name in ("resnet34", "ecapa512", "ecapa1024"):
        conf = config.load(SUPERVISED / f"{name}.yaml", SUPERVISED / "waves.yaml")
        assert (conf["data"]["input"], conf["copies"]["kinds"], conf["train"]["num_epochs"]) == ("waves", [], 150)
        assert conf["model"] == config.load(SUPERVISED / f"{name}.yaml")["model"]


@pytest.mark.parametrize("network", ["resnet34", "ecapa512", "ecapa1024"])
@pytest.mark.parametrize("kind, margin, large", [("", 0.2, 0.5), ("_sphereface2_c", 0.2, 0.3), ("_sphereface2_a", 0.15, 0.25)])
def test_every_network_and_loss_has_the_published_margins_and_is_fine_tuned_as_published(network, kind, margin, large):
    base = SUPERVISED / f"{network}{kind}.yaml"
    conf = config.load(base)
    assert (conf["margin"]["final"], conf["loss"]["scale"], conf["optimizer"]["lr"]) == (margin, 32, 0.4)
    if kind:
        assert conf["loss"] | {"name": "sphereface2", "margin_type": kind[-1].upper(), "lam": 0.7, "t": 3,
                               "bias_init": "zero"} == conf["loss"]
    conf = config.load(base, f"{SUPERVISED / 'waves.yaml'},{SUPERVISED / f'lmft{kind}.yaml'},{SUPERVISED / 'lmft_waves.yaml'}")
    assert (conf["margin"]["initial"], conf["margin"]["final"], conf["margin"]["end_epoch"]) == (large, large, 0)
    assert (conf["train"]["num_epochs"], conf["train"]["batch_size"], conf["train"]["average"]) == (5, 128, 1)
    assert (conf["optimizer"]["lr"], conf["schedule"]["final_lr"], conf["schedule"]["warmup_epochs"]) == (2e-4, 5e-5, 1)
    assert (conf["data"]["chunk_frames"], conf["augment"]["speeds"]) == (600, [])
    feats = config.load(base, SUPERVISED / f"lmft{kind}.yaml")
    versions = 1 + len(feats["copies"]["kinds"])  # of an utterance at its own speed: an epoch is so many passes
    assert feats["train"]["num_epochs"] * versions == 5 == versions * feats["schedule"]["warmup_epochs"] * 5
    assert not feats["data"]["speed_copies"] and feats["train"]["extra_classes"] == "keep"


def test_the_fine_tuning_of_one_loss_is_not_laid_over_another():
    for kind, wrong in (("_sphereface2_c", ""), ("_sphereface2_a", "_sphereface2_c"), ("", "_sphereface2_a")):
        with pytest.raises(config.InputError, match=rf"is made for loss\..*made for that: .*lmft{kind}\.yaml"):
            config.load(SUPERVISED / f"resnet34{kind}.yaml", SUPERVISED / f"lmft{wrong}.yaml")


def test_the_overlay_for_features_is_not_laid_over_waveforms():
    with pytest.raises(config.InputError, match="set data.input=waves"):
        config.load(SUPERVISED / "resnet34.yaml", f"{SUPERVISED / 'waves.yaml'},{SUPERVISED / 'lmft.yaml'}")


def test_a_misspelt_key_in_a_recipe_configuration_is_refused(tmp_path):
    text = (ROOT / "egs" / "mini" / "conf" / "mini.yaml").read_text()
    (tmp_path / "mini.yaml").write_text(text.replace("num_epochs", "num_epoch"))
    with pytest.raises(config.InputError, match="unknown option 'train.num_epoch' .*num_epochs"):
        config.load(tmp_path / "mini.yaml")


@pytest.mark.parametrize("corpus, margin", [("voxceleb", 0.1), ("cnceleb", 0.2)])
def test_the_contrastive_configurations_have_the_published_values(corpus, margin):
    conf = config.load(ROOT / "egs" / corpus / "supervised" / "conf" / "ecapa1024_contrastive.yaml")
    assert conf["contrast"] == {"name": "caa_margin_con", "temperature": 0.07, "margin": margin}
    assert (conf["loss"], conf["margin"]["initial"], conf["margin"]["final"]) == ({"name": "aam_softmax", "scale": 32}, 0.3, 0.3)
    assert conf["schedule"]["final_lr"] == pytest.approx(conf["optimizer"]["lr"] * 0.97 ** conf["train"]["num_epochs"], rel=0.01)
    assert (conf["optimizer"]["name"], conf["optimizer"]["lr"], conf["train"]["batch_size"]) == ("adam", 0.01, 256)
    assert (conf["views"]["number"], conf["views"]["clean"], conf["balance"]["method"]) == (2, 1, "min_norm")
    assert (conf["data"]["chunk_frames"], conf["model"]["channels"], conf["model"]["embed_dim"]) == (300, 1024, 192)


@pytest.mark.parametrize("corpus", ["voxceleb", "cnceleb"])
def test_the_sdpn_configurations_have_the_published_values(corpus):
    from wespk.training.run import check_model
    from wespk.training.schedules import learning_rate

    conf = config.load(ROOT / "egs" / corpus / "selfsup" / "conf" / "ecapa1024_sdpn.yaml")
    objective = check_model(conf)
    learning = sum(p.numel() for p in objective.parameters() if p.requires_grad)
    assert abs(learning / 1e6 - (28.51 + 0.26)) < 0.3  # encoder, head and prototypes, as counted from the released code
    assert (objective.criterion.num_prototypes, objective.criterion.dim, objective.momentum) == (1024, 256, (0.996, 1.0))
    assert (objective.criterion.temperature, objective.criterion.sharpen, objective.criterion.sinkhorn_iters) == (0.1, 0.25, 3)
    assert objective.weights == {"me_max": 1, "koleo": 0.1} and objective.model.embed_dim == 512
    crops, augment = conf["crops"], conf["augment"]
    assert (crops["teacher_number"], crops["student_number"], crops["teacher_frames"], crops["student_frames"]) == (1, 4, 400, 200)
    shares = [augment["prob"] * share for share in (augment["both_share"], 1 - augment["both_share"])]
    assert shares == pytest.approx([2 / 6, 3 / 6], abs=1e-3) and augment["reverb_share"] == 0.25
    optimizer, schedule, steps = conf["optimizer"], conf["schedule"], conf["train"]["num_epochs"]
    assert (optimizer["name"], optimizer["momentum"], optimizer["weight_decay"], optimizer["decay_all"]) == ("sgd", 0.9, 5e-5, False)
    assert schedule["name"] == "cosine_after_warmup" and (schedule["warmup_epochs"], steps) == (10, 150)
    rate = [learning_rate(step, steps, schedule["name"], optimizer["lr"], schedule["final_lr"]) for step in (0, steps)]
    assert rate == pytest.approx([0.4 * conf["train"]["batch_size"] / 256, 1e-5]) and conf["train"]["batch_size"] == 384
    assert (conf["train"]["grad_clip"], conf["train"]["clip_each"], conf["train"]["average"]) == (3, True, 1)
