"""DINO, MoCo and SimCLR on the crops that SDPN sees: resumed, in micro-batches, and what they refuse."""

import pytest
import torch

from tests.training.conftest import MemoryCrops, make_exact
from tests.training.test_distributed import assert_weights_close
from tests.training.test_every_loss_trains import Stopping
from wespk.losses import build_loss
from wespk.losses.dino import DINOLoss
from wespk.training import checkpoint
from wespk.training.objectives import build_objective
from wespk.training.run import check_model
from wespk.training.schedules import teacher_temperature
from wespk.utils import config
from wespk.utils.errors import InputError

HEAD = "loss.name=none objective.head_hidden=10 objective.head_dim=6 train.num_epochs=1 schedule.warmup_epochs=1 optimizer.lr=0.02 "
CASES = {
    "dino": "objective.name=dino objective.head_outputs=12 objective.temperature_warmup=0.5 objective.student_sees_all=true",
    "moco": "objective.name=moco objective.queue_size=20",
    "simclr": "objective.name=simclr contrast.name=sup_margin_con contrast.margin=0.2 crops.teacher_number=0",
}


class StoppingCrops(Stopping, MemoryCrops):
    """Dies when the batch of a given step is fetched."""


@pytest.mark.parametrize("name", CASES)
def test_micro_batches_give_what_the_whole_batch_gives_and_a_resumed_run_what_an_uninterrupted_one(make_trainer, name):
    def trained(folder, sets="", source=None):
        trainer = make_trainer(folder, HEAD + CASES[name] + sets, source)
        make_exact(trainer.objective, trainer.source)
        trainer.run()
        return checkpoint.load(checkpoint.newest(trainer.experiment.checkpoints))

    whole, pieces = trained("whole"), trained("pieces", " train.accumulate=2")
    assert_weights_close(whole, pieces, rtol=1e-5, atol=1e-6)
    with pytest.raises(KeyboardInterrupt):
        trained("resumed", source=StoppingCrops(at=2))
    assert_weights_close(whole, trained("resumed"), rtol=0, atol=0)


def build(name, sets=""):
    torch.manual_seed(0)
    small = "model.name=xvector model.feat_dim=8 model.embed_dim=7 model.hidden=16 model.stats=32 train.batch_size=5 "
    objective = build_objective(config.load(sets=small + HEAD + CASES[name] + " " + sets), 0)
    return objective, {"teacher": torch.randn(5, 1, 40, 8), "student": torch.randn(5, 3, 20, 8)}


def test_dinos_student_may_see_the_teachers_crops_which_are_not_compared_with_themselves():
    objective, crops = build("dino", "objective.temperature_warmup=0")
    found = objective(crops)["loss"]
    objective.criterion.centre.zero_()
    objective.eval()  # neither centre nor statistics move; in training mode, as above, they are the batch's
    networks = (objective.student, objective.loss["head"], objective.teacher, objective.loss["teacher_head"])
    for network in networks:
        network.train()
    student = torch.cat([networks[1](networks[0](crops[part].flatten(0, 1))).unflatten(0, (5, -1)) for part in ("teacher", "student")], 1)
    teacher = networks[3](networks[2](crops["teacher"][:, 0]))[None]
    torch.testing.assert_close(found, DINOLoss(12, teacher_temperature=0.07)(student.transpose(0, 1), teacher, 1))


def test_dinos_teacher_temperature_grows_over_a_share_of_the_steps():
    objective, _ = build("dino")
    seen = []
    for step in range(4):
        objective.before_step(step, 4)
        seen.append(objective.criterion.teacher_temperature)
    assert seen == [teacher_temperature(step, 2, 0.04, 0.07) for step in range(4)] == pytest.approx([0.04, 0.055, 0.07, 0.07])


def test_moco_keeps_the_student_and_queues_the_teachers_keys():
    objective, crops = build("moco")
    assert objective.model is objective.student and objective.model.linear.weight.requires_grad
    keys = torch.nn.functional.normalize(objective.loss["teacher_head"](objective.teacher(crops["teacher"][:, 0])))
    objective(crops)
    torch.testing.assert_close(objective.criterion.queue[:5], keys)


def test_simclr_is_the_contrastive_loss_without_labels_behind_a_head():
    objective, crops = build("simclr")
    outputs = objective(crops, outputs=True)[1]
    assert outputs.shape == (5, 3, 6)
    expected = build_loss({"name": "sup_margin_con", "margin": 0.2}, None, None)(outputs, None)
    torch.testing.assert_close(objective(crops)["loss"], expected)


@pytest.mark.parametrize("name, sets, says", [
    ("moco", "crops.teacher_number=2", "set crops.teacher_number=1"),
    ("moco", "train.batch_size=21", "does not hold a batch of 21 keys"),
    ("simclr", "crops.teacher_number=1", "set crops.teacher_number=0"),
    ("simclr", "crops.student_number=1", "takes 2 or more of crops.student_number"),
    ("simclr", "contrast.name=caa_margin_con", "does not compare crops without labels"),
    ("simclr", "contrast.name=none", "has no loss but"),
    ("dino", "objective.teacher_temperature=0", "teacher_temperature must be a number > 0"),
    ("dino", "objective.prototypes=4", "has no option 'prototypes'"),
])
def test_contradictions_are_refused_before_training(name, sets, says):
    with pytest.raises(InputError, match=says):
        check_model(config.load(sets=f"model.name=xvector {HEAD} train.batch_size=8 {CASES[name]} {sets}"))
