"""The contrastive objective: both losses on all views, under a balance; resumed and split over processes the same."""

import json

import pytest
import torch

from tests.training import views_run
from tests.training.conftest import MemoryViews, of_both_ranks, resumed_like_whole
from tests.training.test_distributed import assert_weights_close, run
from tests.training.test_every_loss_trains import Stopping
from wespk.losses import build_loss
from wespk.training.balance import min_norm_two
from wespk.training.objectives import build_objective
from wespk.training.optimizers import unused_options
from wespk.training.run import check_model
from wespk.training.trained_loss import load_loss
from wespk.utils import config
from wespk.utils.errors import InputError

SMALL = "model.name=xvector model.feat_dim=8 model.embed_dim=6 model.hidden=16 model.stats=32 objective.name=contrastive "
CAA = "objective.name=contrastive contrast.name=caa_margin_con "
CASES = {
    "sum": CAA,
    "min_norm, classes of the head": CAA + "balance.method=min_norm contrast.class_vectors=head",
    "uncertainty": CAA + "balance.method=uncertainty",
    "pcgrad": CAA + "balance.method=pcgrad objective.classify=clean",
    "supcon alone": "objective.name=contrastive loss.name=none contrast.name=supcon",
    "classification alone": "objective.name=contrastive contrast.name=none",
    "groups": "objective.name=contrastive contrast.name=supcon loss.name=triplet loss.utterances=6 objective.utterances=3 "
              "train.batch_size=12",
    "speakers x utterances": "objective.name=contrastive contrast.name=sup_margin_con objective.utterances=3 train.batch_size=12",
}


def objective_and_batch(sets, views=2):
    torch.manual_seed(0)
    objective = build_objective(config.load(sets=SMALL + f"views.number={views} " + sets), 5)
    return objective, torch.randn(6, views, 30, 8), torch.tensor([0, 1, 1, 2, 3, 4])


def parts(objective, feats, labels):
    """Embeddings (B, V, D) and the two losses on them, by hand."""
    z = objective.model(feats.flatten(0, 1)).unflatten(0, feats.shape[:2])
    own = labels[:, None].expand(feats.shape[:2]).flatten()
    return z, objective.loss.classification(z.flatten(0, 1), own), objective.loss.contrast(z, labels)


@pytest.mark.parametrize("views", [2, 3])
def test_a_plain_sum_is_the_sum_of_both_losses_on_all_views(views):
    objective, feats, labels = objective_and_batch("contrast.name=caa_margin_con", views)
    objective.model.eval()
    found = objective(feats, labels)
    _, classification, contrast = parts(objective, feats, labels)
    torch.testing.assert_close(found["loss"], classification + contrast)
    torch.testing.assert_close(found["loss_contrast"], contrast.detach())
    assert {"accuracy", "skipped", "positive_cosine", "attention", "weight_contrast"} <= found.keys()


def test_min_norm_weighs_by_the_gradients_with_respect_to_the_embeddings():
    objective, feats, labels = objective_and_batch("balance.method=min_norm contrast.name=supcon loss.scale=4 contrast.temperature=0.5")
    objective.model = views_run.Means()  # untrained networks have all embeddings alike
    found = objective(feats, labels)
    z, *losses = parts(objective, feats, labels)
    g1, g2 = (torch.autograd.grad(loss, z, retain_graph=True)[0] for loss in losses)
    alpha = min_norm_two(g1, g2)
    assert 0.001 < alpha < 0.999
    torch.testing.assert_close(found["weight_classification"], alpha)
    torch.testing.assert_close(found["loss"], alpha * losses[0] + (1 - alpha) * losses[1])
    torch.testing.assert_close(found["gradient_cosine"], torch.cosine_similarity(g1.flatten(), g2.flatten(), 0))


def test_the_classification_loss_may_be_kept_to_the_clean_views():
    objective, feats, labels = objective_and_batch("contrast.name=none objective.classify=clean", 3)
    objective.model.eval()
    clean = objective.model(feats.flatten(0, 1)).unflatten(0, (6, 3))[:, 0]
    torch.testing.assert_close(objective(feats, labels)["loss"], objective.loss.classification(clean, labels))


def test_the_margin_of_the_schedule_is_the_classification_losss():
    objective, *_ = objective_and_batch("contrast.margin=0.25")
    objective.set_margin(0.15)
    assert (objective.loss.classification.margin, objective.loss.contrast.margin) == (0.15, 0.25)
    alone, *_ = objective_and_batch("loss.name=none")
    alone.set_margin(0.15)  # without effect, and said to be
    assert alone.loss.contrast.margin == 0.1 and not alone.has_margin


def test_bfloat16_is_for_the_network_alone():
    objective, feats, labels = objective_and_batch("train.bf16=true contrast.name=caa_margin_con")
    found = objective(feats, labels)
    assert {value.dtype for value in found.values()} == {torch.float32}
    found["loss"].backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in objective.parameters())


@pytest.mark.parametrize("sets, says", [
    ("loss.name=none contrast.name=none", "leave nothing to train by"),
    ("contrast.name=triplet", "contrast.name=triplet does not compare views"),
    ("contrast.name=supconn", "did you mean 'supcon'"),
    ("contrast.name=supcon contrast.margin=0.1", "has no option 'margin'"),
    ("loss.name=supcon", "loss.name=supcon compares views"),
    ("objective.classify=some", "all or clean"),
    ("objective.classify=clean views.clean=0", "no view is clean"),
    ("objective.classify=clean loss.name=none", "leave it out"),
    ("objective.utterances=0", "integer >= 1"),
    ("objective.utterances=true", "integer >= 1"),
    ("contrast.name=none contrast.margin=3", "leaves contrast.margin without effect"),
    ("loss.name=none loss.scale=77", "leaves loss.scale without effect"),
    ("views.crops=same", "several of an utterance would always be equal"),
    ("views.clean=3", "views.clean=3 of views.number=2"),
    ("views.number=1", "no positives but chance ones"),
    ("loss.name=ge2e", "objective.utterances=1 times 2 classified views are 2"),
    ("loss.name=triplet loss.utterances=3 objective.utterances=2", "loss.utterances=3 .*=2 times 2 classified views are 4"),
    ("objective.utterance=2", "did you mean 'utterances'"),
    ("loss.name=none contrast.name=caa_margin_con contrast.class_vectors=head", "set class_vectors=own"),
    ("loss.name=none balance.method=min_norm", "nothing to balance"),
    ("balance.method=fixed balance.weights=[1]", "a weight >= 0 for each of classification, contrast"),
    ("runtime.shard_head=true", "under objective.name=contrastive"),
])
def test_contradictions_are_refused_before_training(sets, says):
    with pytest.raises(InputError, match=says):
        check_model(config.load(sets="model.name=xvector objective.name=contrastive views.crops=own " + sets))


def test_supervised_training_refuses_to_go_without_its_loss():
    with pytest.raises(InputError, match="loss.name=none is for objectives with several losses"):
        check_model(config.load(sets="model.name=xvector loss.name=none"))


def test_sections_without_effect_are_told():
    plain = config.load(sets="model.name=xvector")
    assert {"views.*", "contrast.*"} <= set(unused_options(plain, check_model(plain)))
    conf = config.load(sets="model.name=xvector objective.name=contrastive loss.name=none views.crops=own")
    told = unused_options(conf, check_model(conf))
    assert not {"views.*", "contrast.*"} & set(told) and "margin.* (loss.name=none has none)" in told


class StoppingViews(Stopping, MemoryViews):
    """Dies when the batch of a given step is fetched."""


@pytest.mark.parametrize("name", CASES)
def test_the_loss_falls_and_a_resumed_run_equals_an_uninterrupted_one(make_trainer, name):
    sets = CASES[name] + " margin.final=0.1"
    whole = resumed_like_whole(make_trainer, sets, StoppingViews(at=5))
    records = [r for r in map(json.loads, whole.experiment.metrics.read_text().splitlines()) if "loss" in r]
    total = "loss" if name in ("supcon alone", "classification alone") else "loss_contrast"
    assert records[-1][total] < records[0][total]
    if "min_norm" in name:
        assert {"weight_classification", "gradient_norm_contrast", "gradient_cosine"} <= records[0].keys()
    assert ("margin" in records[-1]) == whole.objective.has_margin
    if name == "uncertainty":
        assert whole.objective.loss.balance.log_variances.abs().max() > 1e-3


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory):
    """What either of two processes made of its share."""
    folder = tmp_path_factory.mktemp("views")
    return of_both_ranks("views_run.py", folder)


@pytest.mark.parametrize("name", views_run.CASES)
def test_two_processes_have_the_gradients_of_one_on_the_global_batch(two_processes, name):
    objective, feats, labels = views_run.objective_and_batch(views_run.CASES[name])
    whole = views_run.step(objective, objective, feats, labels)
    for part in two_processes:
        for parameter, gradient in whole["gradients"].items():
            torch.testing.assert_close(part[name]["gradients"][parameter], gradient, rtol=1e-4, atol=1e-5)
    first, second = (part[name]["stats"] for part in two_processes)
    for figure in ("loss", "skipped", "accuracy"):
        if figure in first:
            mean = (first[figure] * 5 + second[figure] * 3) / 8
            torch.testing.assert_close(mean, whole["stats"][figure], rtol=1e-4, atol=1e-5)
    if "weight_contrast" in first:
        for figure in ("weight_contrast", "gradient_norm_contrast", "gradient_cosine"):
            if figure in first:
                torch.testing.assert_close(first[figure], whole["stats"][figure], rtol=1e-4, atol=1e-5)
                assert torch.equal(first[figure], second[figure])
    if name == "min_norm":
        assert 0.01 < first["weight_contrast"] < 0.99


def test_a_run_of_two_processes_equals_one(tmp_path):
    sets = f"{CASES['min_norm, classes of the head']} optimizer.lr=0.01 train.num_epochs=2 train.batch_size=9"
    assert_weights_close(run(tmp_path / "one", 1, sets), run(tmp_path / "two", 2, sets), rtol=2e-4, atol=2e-6)


def test_the_trained_classification_loss_is_found_in_its_checkpoint(make_trainer):
    trainer = make_trainer("exp", "objective.name=contrastive loss.name=sphereface2 margin.final=0.1 train.num_epochs=2")
    trainer.run()
    loss, _, _ = load_loss(trainer.experiment.folder)
    assert loss.margin == 0.1 and loss.log_odds()
    for name, value in trainer.objective.loss.classification.state_dict().items():
        assert torch.equal(loss.state_dict()[name], value)
    alone = make_trainer("alone", "objective.name=contrastive loss.name=none")
    alone.run()
    with pytest.raises(InputError, match="trained with loss.name=none"):
        load_loss(alone.experiment.folder)


def test_class_vectors_of_the_head_are_one_parameter(make_trainer):
    objective = make_trainer("exp", CASES["min_norm, classes of the head"]).objective
    names = [name for name, _ in objective.loss.named_parameters()]
    assert names == ["classification.weight"]
    own = build_loss({"name": "caa_margin_con"}, 12, 4)
    assert [name for name, _ in own.named_parameters()] == ["weight"]
