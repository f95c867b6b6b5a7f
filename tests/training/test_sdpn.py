"""SDPN as an objective: its losses, its teacher, resume, micro-batches and processes; labels are read nowhere."""

import copy
import json

import pytest
import torch
from torch import nn

from tests.data.test_waves import SETS as WAVE_SETS
from tests.data.test_waves import data_dir as wave_dir  # noqa: F401 (a fixture)
from tests.training.conftest import MemoryCrops, make_exact
from tests.training.test_distributed import assert_weights_close, run
from tests.training.test_every_loss_trains import Stopping
from wespk.io.tables import read_table, write_table
from wespk.losses.dimension import frobenius, off_diagonal
from wespk.losses.koleo import koleo
from wespk.training import checkpoint
from wespk.training.objectives import build_objective
from wespk.training.optimizers import build_optimizer, unused_options
from wespk.training.run import check_model, set_in_vain, train
from wespk.training.schedules import teacher_momentum
from wespk.training.trained_loss import load_loss
from wespk.utils import config
from wespk.utils.errors import InputError

SDPN = ("objective.name=sdpn loss.name=none objective.head_hidden=10 objective.head_dim=6 objective.prototypes=12 "
        "objective.koleo=0.1 ")
SMALL = SDPN + "model.name=xvector model.feat_dim=8 model.embed_dim=7 model.hidden=16 model.stats=32 "


def objective_and_crops(sets="", teacher_crops=1):
    torch.manual_seed(0)
    objective = build_objective(config.load(sets=SMALL + sets), 0)
    return objective, {"teacher": torch.randn(5, teacher_crops, 40, 8), "student": torch.randn(5, 3, 20, 8)}


@pytest.mark.parametrize("sets, teacher_crops, more", [
    ("objective.koleo=0.3 objective.me_max=0.5", 1, None),
    ("objective.dimension=frobenius objective.dimension_weight=0.7", 2, lambda e, z: 0.7 * frobenius(z)),
    ("objective.dimension=off_diagonal objective.dimension_weight=2 objective.dimension_of=embeddings objective.koleo=0", 1,
     lambda e, z: 2 * off_diagonal(e)),
])
def test_the_loss_is_the_weighted_sum_of_its_parts_on_the_students_crops(sets, teacher_crops, more):
    objective, crops = objective_and_crops(sets, teacher_crops)
    twin = copy.deepcopy(objective)
    found = objective(crops, None)
    e = twin.student(crops["student"].flatten(0, 1))
    z = twin.loss["head"](e)
    t = twin.loss["teacher_head"](twin.teacher(crops["teacher"].flatten(0, 1)))
    cross_entropy, me_max = twin.criterion(z.unflatten(0, (5, 3)).transpose(0, 1), t.unflatten(0, (5, -1)).transpose(0, 1))
    by_crop = e.unflatten(0, (5, 3))
    expected = cross_entropy + objective.weights["me_max"] * me_max + (more(e, z) if more else 0)
    expected = expected + objective.weights["koleo"] * sum(koleo(by_crop[:, crop]) for crop in range(3))
    torch.testing.assert_close(found["loss"], expected)
    assert {"cross_entropy", "me_max", "prototypes_used", "max_target", "target_entropy"} <= found.keys()


def test_the_teacher_starts_as_the_student_and_gets_no_gradient_and_no_step():
    objective, crops = objective_and_crops()
    for a, b in zip(objective.teacher.state_dict().values(), objective.student.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    objective(crops, None)["loss"].backward()
    teacher = [*objective.teacher.parameters(), *objective.loss["teacher_head"].parameters()]
    assert all(p.grad is None for p in teacher)
    assert all(p.grad is not None for p in objective.parameters() if all(p is not q for q in teacher))
    taken = [p for group in build_optimizer(objective, objective.conf["optimizer"]).param_groups for p in group["params"]]
    assert not any(p is q for p in taken for q in teacher)
    assert len(taken) + len(teacher) == len(list(objective.parameters()))


def test_the_teacher_follows_after_each_step_by_the_schedule(make_trainer):
    trainer = make_trainer("exp", SDPN + "train.num_epochs=1 objective.momentum=[0.5,0.9]")
    objective, steps = trainer.objective, []
    kept = {name: p.clone() for name, p in objective.teacher.named_parameters()}
    after = objective.after_step

    def watched(step, total):
        student = {name: p.detach().clone() for name, p in objective.student.named_parameters()}
        after(step, total)
        m = teacher_momentum(step, total, 0.5, 0.9)
        for name, p in objective.teacher.named_parameters():
            kept[name] = m * kept[name] + (1 - m) * student[name]
            torch.testing.assert_close(p, kept[name])
        steps.append(step)

    objective.after_step = watched
    trainer.run()
    assert steps == [0, 1, 2]
    assert trainer.objective.model is objective.teacher


def test_a_momentum_of_1_leaves_the_teacher_and_of_0_makes_it_the_student(make_trainer):
    still = make_trainer("still", SDPN + "train.num_epochs=1 objective.momentum=[1,1]")
    before = [p.clone() for p in still.objective.teacher.parameters()]
    still.run()
    assert all(torch.equal(a, b) for a, b in zip(before, still.objective.teacher.parameters()))
    same = make_trainer("same", SDPN + "train.num_epochs=1 objective.momentum=[0,0]")
    same.run()
    for a, b in ((same.objective.teacher, same.objective.student), (same.objective.loss["teacher_head"].network, same.objective.loss["head"])):
        assert all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True))


class StoppingCrops(Stopping, MemoryCrops):
    """Dies when the batch of a given step is fetched."""


@pytest.mark.parametrize("sets", ["objective.dimension=frobenius objective.dimension_weight=0.1", "train.accumulate=2 objective.average_buffers=true"])
def test_a_resumed_run_equals_an_uninterrupted_one(make_trainer, sets):
    whole = make_trainer("whole", SDPN + sets)
    start = whole.objective.criterion.prototypes.detach().clone()
    whole.run()
    with pytest.raises(KeyboardInterrupt):
        make_trainer("resumed", SDPN + sets, StoppingCrops(at=10 if "accumulate" in sets else 5)).run()
    resumed = make_trainer("resumed", SDPN + sets)
    assert resumed.resume() > 0
    resumed.run()
    for a, b in zip(whole.objective.state_dict().values(), resumed.objective.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(start, whole.objective.criterion.prototypes)
    records = [json.loads(line) for line in whole.experiment.metrics.read_text().splitlines()]
    assert {"koleo", "me_max", "prototypes_used", "embedding_spread", "effective_rank"} <= records[0].keys()
    state = checkpoint.load(checkpoint.newest(whole.experiment.checkpoints))
    for name, value in whole.objective.teacher.state_dict().items():  # the network that extraction takes
        assert torch.equal(state["model"][name], value)


TOGETHER = (SDPN + "objective.dimension=frobenius objective.dimension_weight=0.1 optimizer.lr=0.02 train.num_epochs=1 "
            "train.batch_size=9 objective.momentum=[0.6,1.0] ")


def trained(make_trainer, name, sets):
    trainer = make_trainer(name, sets)
    make_exact(trainer.objective, trainer.source)
    trainer.run()
    return checkpoint.load(checkpoint.newest(trainer.experiment.checkpoints))


@pytest.fixture
def in_one_piece(make_trainer):
    """The checkpoint of a run without batch norm, each batch in one piece."""
    return trained(make_trainer, "one", TOGETHER)


def test_micro_batches_give_what_the_whole_batch_gives(make_trainer, in_one_piece):
    pieces = trained(make_trainer, "pieces", TOGETHER + "train.accumulate=2")
    assert_weights_close(in_one_piece, pieces, rtol=1e-8, atol=1e-10)


def test_two_processes_with_micro_batches_equal_one_in_one_piece(tmp_path, in_one_piece):
    pieces = run(tmp_path / "two", 2, TOGETHER + "train.accumulate=2", "exact")
    assert_weights_close(in_one_piece, pieces, rtol=1e-8, atol=1e-10)


SPOKEN = (WAVE_SETS + SDPN + "model.name=xvector model.hidden=8 model.stats=16 model.embed_dim=6 crops.teacher_frames=40 "
          "crops.student_frames=20 crops.student_number=2 augment.prob=0.8 augment.babble_speakers=[2,3] train.batch_size=4 "
          "train.num_epochs=1 schedule.warmup_epochs=0 train.average=1 train.keep=1 runtime.num_workers=0 margin.start_epoch=0 margin.end_epoch=0 "
          "runtime.progress=false")


@pytest.mark.parametrize("labels", ["shuffled", "absent"])
def test_labels_are_read_nowhere_in_training(tmp_path, wave_dir, labels):  # noqa: F811
    def weights(name):
        train(config.load(sets=SPOKEN), tmp_path / name, wave_dir, None, "cpu", wave_dir, wave_dir)
        return checkpoint.load(checkpoint.newest(tmp_path / name / "checkpoints"))

    true = weights("true")
    table = read_table(wave_dir / "utt2spk")
    if labels == "shuffled":
        write_table(wave_dir / "utt2spk", dict(zip(table, [*list(table.values())[3:], "zoe", "ann", "bob"])))
    else:
        (wave_dir / "utt2spk").unlink()
    other = weights("other")
    assert_weights_close(true, other, rtol=0, atol=0)
    assert true["speakers"] == other["speakers"] == [] and true["fingerprint"] == other["fingerprint"]


def test_bfloat16_is_for_the_networks_alone():
    objective, crops = objective_and_crops("train.bf16=true")
    inside = []
    for network in (objective.student, objective.teacher):
        network.segment.register_forward_hook(lambda module, inputs, output: inside.append(output.dtype))
    found = objective(crops, None)
    assert {value.dtype for value in found.values()} == {torch.float32} and inside == [torch.bfloat16] * 2
    found["loss"].backward()
    assert all(p.grad.isfinite().all() for p in objective.parameters() if p.grad is not None)


def test_clipping_each_tensor_leaves_small_ones_and_the_prototypes_alone(make_trainer):
    trainer = make_trainer("exp", SDPN)
    parameters = dict(trainer.objective.named_parameters())
    for i, p in enumerate(parameters.values()):
        p.grad = torch.full_like(p, 0.01 if i % 2 else 10.0)
    before = {name: p.grad.clone() for name, p in parameters.items()}
    trainer.shards.clip_gradients(3.0, each=True)
    for name, p in parameters.items():
        norm = before[name].norm()
        expected = before[name] if "prototypes" in name else before[name] * min(1, 3 / norm)
        torch.testing.assert_close(p.grad, expected, rtol=1e-5, atol=0)


def test_the_prototypes_gradient_may_be_multiplied():
    grads = []
    for factor in (1, 4):
        objective, crops = objective_and_crops(f"objective.prototype_gradient={factor}")
        objective(crops, None)["loss"].backward()
        grads.append((objective.criterion.prototypes.grad, objective.student.linear.weight.grad))
    torch.testing.assert_close(grads[1][0], 4 * grads[0][0])
    torch.testing.assert_close(grads[1][1], grads[0][1])


def test_training_may_start_from_other_weights(make_trainer, tmp_path):
    from wespk.training.initial import InitialWeights

    first = make_trainer("first", SDPN + "train.num_epochs=1")
    first.run()
    path = checkpoint.newest(first.experiment.checkpoints)
    second = make_trainer("second", SDPN + f"train.init_from={path} seed=5")
    InitialWeights(second.conf, second.experiment.folder, []).load(second.objective)
    for network in (second.objective.student, second.objective.teacher):
        for a, b in zip(network.state_dict().values(), first.objective.teacher.state_dict().values(), strict=True):
            assert torch.equal(a, b)
    assert not torch.equal(second.objective.criterion.prototypes, first.objective.criterion.prototypes)
    with pytest.raises(InputError, match="without a classification loss"):
        load_loss(first.experiment.folder)


class Constant(nn.Module):
    """An encoder that has collapsed."""

    embed_dim = 7

    def __init__(self):
        super().__init__()
        self.value = nn.Parameter(torch.ones(7))

    def forward(self, feats):
        return self.value + 1e-4 * feats.mean((1, 2))[:, None]


def test_a_collapse_is_told_once_with_what_to_do(capsys):
    objective, crops = objective_and_crops("train.batch_size=5")
    objective.loss["encoder"], objective.model = Constant(), Constant()
    objective(crops, None)
    assert objective.figures(0.5)["embedding_spread"] < 0.1 and not capsys.readouterr().err
    figures = objective.figures(1.5)
    objective.figures(2.5)
    assert figures["effective_rank"] == pytest.approx(1, abs=0.05)
    told = capsys.readouterr().err
    assert told.count("WARNING signs of collapse") == 1 and "one direction" in told and "objective.koleo" in told


@pytest.mark.parametrize("sets, says", [
    ("loss.name=aam_softmax", "set loss.name=none"),
    ("labels.noise=uniform labels.rate=0.2", "set labels.noise=none"),
    ("crops.teacher_number=0", "takes 1 or more of crops.teacher_number"),
    ("objective.koleo=-1", "koleo must be a number >= 0"),
    ("objective.koleos=1", "did you mean 'koleo'"),
    ("objective.dimension=frobenius", "give both"),
    ("objective.dimension_weight=1", "give both"),
    ("objective.dimension=frobenus objective.dimension_weight=1", "did you mean 'frobenius'"),
    ("objective.dimension_of=embeddings", "leave it out"),
    ("objective.momentum=0.9", "takes two numbers"),
    ("objective.momentum=[0.9,1.1]", "momentum must be a number >= 0 and <= 1"),
    ("objective.prototype_gradient=4 optimizer.name=adamw", "would do nothing"),
    ("balance.method=min_norm", "nothing to balance"),
    ("runtime.shard_head=true", "under objective.name=sdpn"),
])
def test_contradictions_are_refused_before_training(sets, says):
    with pytest.raises(InputError, match=says):
        check_model(config.load(sets=SDPN + "model.name=xvector " + sets))


def test_sections_without_effect_are_told():
    conf = config.load(sets=SDPN + "model.name=xvector")
    told = unused_options(conf, check_model(conf))
    assert {"views.*", "contrast.*", "loss.*", "data.chunk_frames", "train.clip_each"} <= set(told) and "crops.*" not in told
    plain = config.load(sets="model.name=xvector train.grad_clip=1")
    told = unused_options(plain, check_model(plain))
    assert "crops.*" in told and "train.clip_each" not in told


def test_only_what_somebody_set_in_vain_is_a_warning():
    conf = config.load(sets=SDPN + "model.name=xvector")
    assert set_in_vain(conf, check_model(conf)) == []  # loss.name=none has to be said, the rest is as it is by default
    conf = config.load(sets=SDPN + "model.name=xvector loss.scale=30 views.number=3 contrast.name=supcon")
    assert set_in_vain(conf, check_model(conf)) == ["loss.scale", "views.number", "contrast.name"]


def test_fewer_utterances_than_prototypes_are_told_and_train(make_trainer):
    trainer = make_trainer("exp", SDPN + "objective.prototypes=50 train.num_epochs=1 train.batch_size=24 runtime.log_every=1")
    assert trainer.objective.remarks(50) == []
    assert trainer.objective.remarks(24) == [("24 utterances for 50 prototypes: each gets one of its own, and the others learn from "
                                              "none; consider objective.prototypes=2")]
    trainer.run()
    record = json.loads(trainer.experiment.metrics.read_text().splitlines()[0])
    assert 1 < record["prototypes_used"] <= 24


def test_a_batch_of_one_is_refused_before_anything_is_written(make_trainer):
    for sets in ("train.batch_size=1", "train.batch_size=2 train.accumulate=2"):
        with pytest.raises(InputError, match="leave 1 in the smallest micro-batch; at least 2 are needed: raise train.batch_size"):
            make_trainer("one", SDPN + sets)


def test_schedules_go_over_all_steps_and_the_decay_is_constant(make_trainer):
    sets = "train.num_epochs=4 schedule.name=cosine_after_warmup schedule.warmup_epochs=1 schedule.final_lr=1e-3 runtime.log_every=1"
    trainer = make_trainer("exp", SDPN + sets)
    assert trainer.total_steps == 4 * trainer.steps_per_epoch == 12
    decays = [group["weight_decay"] for group in trainer.optimizer.param_groups]
    trainer.run()
    rates = [r["lr"] for r in map(json.loads, trainer.experiment.metrics.read_text().splitlines())]
    assert (rates[0], max(rates), len(rates)) == (0, 0.05, 12) and rates[2] == 0.05 and 1e-3 < rates[-1] < 3e-3
    assert [group["weight_decay"] for group in trainer.optimizer.param_groups] == decays == [1e-4, 0.0]
    assert teacher_momentum(trainer.total_steps, trainer.total_steps) == 1
