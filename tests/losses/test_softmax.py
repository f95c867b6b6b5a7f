"""Plain softmax against a slow loop."""

import pytest
import torch

from tests.losses.loss_oracles import cross_entropy, inputs
from wespk.losses import build_loss
from wespk.utils.errors import InputError


def test_equals_a_slow_loop():
    embeddings, labels = inputs()
    head = build_loss({"name": "softmax"}, 4, 5).double()
    with torch.no_grad():
        head.bias.copy_(torch.linspace(-1, 1, 5))
    rows = [[sum(x * w for x, w in zip(e, row)) + b for row, b in zip(head.weight.tolist(), head.bias.tolist())]
            for e in embeddings.tolist()]
    assert head(embeddings, labels).item() == pytest.approx(cross_entropy(rows, labels.tolist()), abs=1e-12)


def test_has_no_margin():
    head = build_loss({"name": "softmax"}, 4, 5)
    head.set_margin(0.0)
    with pytest.raises(InputError, match="has no margin to set: it must be 0, not 0.2"):
        head.set_margin(0.2)
