"""A-softmax against a slow loop, and its annealing."""

import math

import pytest
import torch

from tests.losses.loss_oracles import cosine_rows, cross_entropy, inputs
from wespk.losses import build_loss
from wespk.losses.a_softmax import multiplied_angle
from wespk.utils.errors import InputError


def slow_psi(c, m):
    """The definition: the interval of pi / m that the angle lies in decides sign and offset."""
    theta = math.acos(c)
    k = next(k for k in range(m) if theta <= (k + 1) * math.pi / m + 1e-12)
    return (-1) ** k * math.cos(m * theta) - 2 * k


@pytest.mark.parametrize("margin", [1, 2, 3, 4, 5])
def test_multiplied_angle_equals_its_definition_and_falls(margin):
    cosine = torch.linspace(1, -1, 201, dtype=torch.float64)
    psi = multiplied_angle(cosine, margin)
    torch.testing.assert_close(psi, torch.tensor([slow_psi(c, margin) for c in cosine.tolist()], dtype=torch.float64))
    assert (psi.diff() < 0).all() and psi[0] == 1 and psi[-1] == 1 - 2 * margin


@pytest.mark.parametrize("training, weight", [(False, 1000.0), (True, 1000 / 1.12)])
def test_equals_a_slow_loop(training, weight):
    embeddings, labels = inputs()
    head = build_loss({"name": "a_softmax"}, 4, 5).double().train(training)
    rows = []
    for e, row, label in zip(embeddings.tolist(), cosine_rows(embeddings, head.weight), labels.tolist()):
        row[label] = (weight * row[label] + slow_psi(row[label], 4)) / (1 + weight)
        rows.append([math.sqrt(sum(v * v for v in e)) * c for c in row])
    assert head(embeddings, labels).item() == pytest.approx(cross_entropy(rows, labels.tolist()), abs=1e-12)


def test_annealing_depends_on_the_batches_seen_and_is_resumed():
    head = build_loss({"name": "a_softmax", "anneal_min": 5.0}, 4, 5).double()
    embeddings, labels = inputs()
    weights = []
    for _ in range(4):
        head(embeddings, labels)
        weights.append(head._annealing().item())
    assert weights == pytest.approx([1000 / (1 + 0.12 * n) for n in (1, 2, 3, 4)])
    head.eval()(embeddings, labels)
    assert head.batches == 4
    resumed = build_loss({"name": "a_softmax"}, 4, 5)
    resumed.load_state_dict(head.state_dict())
    assert resumed._annealing() == weights[-1]
    resumed.batches.fill_(10**6)
    assert resumed._annealing() == 5.0


def test_the_margin_is_an_integer():
    with pytest.raises(InputError, match="option margin must be an integer >= 1, not 0.2"):
        build_loss({"name": "a_softmax", "margin": 0.2}, 4, 5)
