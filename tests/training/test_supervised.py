"""Every loss and option that a configuration can name reaches the loss, and contradictions are told."""

import pytest
import torch

from wespk.training.run import check_model
from wespk.training.supervised import build_head
from wespk.utils import config
from wespk.utils.errors import InputError

M = "loss.name=sphereface2 loss.margin_type=M"


def head(sets):
    return build_head(config.load(sets=sets), embed_dim=8, num_classes=7)


def test_a_scheduled_margin_starts_where_the_schedule_does():
    assert head("loss.name=aam_softmax margin.initial=0.05 margin.final=0.3").margin == 0.05
    assert head(f"{M} margin.initial=1 margin.final=1.5").margin == 1


def test_the_balanced_bias_is_balanced_at_the_first_margin():
    options = "loss.name=sphereface2 loss.bias_init=balanced margin.final=0.3"
    at_zero, at_some = head(options).bias.item(), head(f"{options} margin.initial=0.2").bias.item()
    assert at_zero == pytest.approx(head("loss.name=sphereface2 loss.bias_init=balanced margin.final=0").bias.item())
    assert at_some != pytest.approx(at_zero, abs=0.1)


def test_margins_by_shares_may_be_left_out_but_not_by_the_default_of_other_losses():
    assert head("loss.name=spherespeaker margin.initial=0.2 margin.final=1").in_force() == pytest.approx((1.02, 0.02, 0.02))
    assert head("loss.name=spherespeaker margin.final=0").in_force() == (1, 0, 0)


def test_a_margin_that_no_schedule_moves_is_an_option_of_the_loss():
    assert head("loss.name=triplet loss.margin=0.1").margin == 0.1
    assert head("loss.name=a_softmax loss.margin=2").margin == 2


@pytest.mark.parametrize("sets, part", [
    ("loss.name=aam_softmax loss.margin=0.2", "loss.margin: the margin follows the section 'margin'"),
    (f"{M} margin.final=1.5", "must be a number >= 1, not 0.0 (margin.initial)"),
    (f"{M} margin.initial=1 margin.final=0.5", "must be a number >= 1, not 0.5 (margin.final)"),
    ("margin.final=4", "not 4 (margin.final)"),
    ("loss.name=spherespeaker", ("margin.final=0.2 would train loss.name=spherespeaker with that share of its margins: set "
                                "margin.final=1 (the share of m1, m2, m3 in force)")),
    ("loss.name=aam_sofmax", "did you mean 'aam_softmax'?"),
])
def test_a_contradiction_is_told(sets, part):
    with pytest.raises(InputError) as error:
        head(sets)
    assert part in str(error.value)


@pytest.mark.parametrize("sets", [
    "loss.name=subcenter loss.top_k=5",
    "loss.name=spherespeaker loss.top_k=1500 margin.final=1",
    "loss.name=sphereface2 loss.bias_init=balanced",
    f"{M} margin.initial=1 margin.final=1.5",
    "loss.name=triplet loss.margin=0.1",
])
def test_the_check_without_data_takes_what_training_will_take(sets):
    objective = check_model(config.load(sets=f"model.name=xvector {sets}"))
    assert {p.device for p in objective.parameters()} == {torch.device("meta")}


@pytest.mark.parametrize("name", ["sdpn", "koleo"])
def test_a_loss_that_reads_no_labels_is_not_one_to_classify_by(name):
    with pytest.raises(InputError, match=f"loss.name={name} reads no labels.*objective.name=sdpn: set that and loss.name=none"):
        check_model(config.load(sets=f"loss.name={name}"))
