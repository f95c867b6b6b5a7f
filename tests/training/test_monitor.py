"""The share of the positives in the gradients, from the means of everything that was added."""

import pytest
import torch

from wespk.training.monitor import Meter, positive_share


def test_the_share_is_that_of_the_sums_over_utterances_not_a_mean_of_shares():
    meter = Meter(torch.device("cpu"))
    for pull, push, utterances in ((3.0, 1.0, 10), (0.1, 0.9, 30)):
        meter.add({"positive_gradient": torch.tensor(pull), "negative_gradient": torch.tensor(push)}, utterances)
    assert meter.read()["positive_gradient_share"] == pytest.approx((30 + 3) / (40 + 30))


def test_without_gradients_by_logits_there_is_no_share_and_without_any_gradient_it_is_a_half():
    assert positive_share({"loss": 1.0}) == {}
    assert positive_share({"positive_gradient": 0.0, "negative_gradient": 0.0}) == {"positive_gradient_share": 0.5}
