"""SDPN's losses on two processes, in micro-batches, are those of one large batch: values, gradients, the DINO centre."""

import pytest
import torch

from tests.training.conftest import of_both_ranks
from tests.training.sdpn_run import SIZES, Objective, combined, data


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """What the two processes saved."""
    folder = tmp_path_factory.mktemp("sdpn")
    return of_both_ranks("sdpn_run.py", folder)


@pytest.fixture(scope="module")
def whole():
    """The same batch in one piece, in one process."""
    objective, (views, teacher) = Objective(), data()
    scalars = combined(objective, *objective(views), teacher)
    scalars["loss"].backward()
    return objective, {name: value.detach() for name, value in scalars.items()}


def test_values_weighed_by_utterances_are_those_of_the_whole_batch(results, whole):
    for name, value in whole[1].items():
        weights = [0.5, 0.5] if name == "loss" else [size / sum(SIZES) for size in SIZES]  # "loss" has its share already
        found = sum(w * r["scalars"][name] for w, r in zip(weights, results))
        torch.testing.assert_close(found, value, rtol=1e-6 if value.dtype == torch.float32 else 1e-12, atol=1e-12, msg=name)
    for name in ("me_max", "frobenius", "prototypes_used"):  # of the whole batch on every process
        torch.testing.assert_close(results[0]["scalars"][name], results[1]["scalars"][name])


def test_gradients_and_centre_are_those_of_the_whole_batch(results, whole):
    objective = whole[0]
    for result in results:
        for name, parameter in objective.named_parameters():
            torch.testing.assert_close(result["gradients"][name], parameter.grad, rtol=1e-10, atol=1e-13, msg=name)
        torch.testing.assert_close(result["centre"], objective.dino.centre)
