"""Circle loss against a slow loop with the paper's names."""

import math

import pytest
import torch

from tests.losses.loss_oracles import cosine_rows, inputs
from wespk.losses import build_loss


def factors(row, margin):
    """How far each cosine is from its optimum: as a target (1 + m - c) and as another class (c + m), at least 0."""
    return [(max(0.0, 1 + margin - c), max(0.0, c + margin)) for c in row]


def slow_loss(head, embeddings, labels, weigh_at=None):
    """The loss; with ``weigh_at``, weighed by the factors of those embeddings instead of its own."""
    total, scale, margin = 0.0, head.scale, head.margin
    rows = cosine_rows(embeddings, head.weight)
    at = rows if weigh_at is None else cosine_rows(weigh_at, head.weight)
    for row, weights, label in zip(rows, (factors(r, margin) for r in at), labels.tolist()):
        positive = math.exp(-scale * weights[label][0] * (row[label] - (1 - margin)))
        negatives = sum(math.exp(scale * weights[j][1] * (c - margin)) for j, c in enumerate(row) if j != label)
        total += math.log(1 + negatives * positive)
    return total / len(labels)


@pytest.mark.parametrize("scale, margin", [(16.0, 0.25), (8.0, 0.0), (60.0, 0.4)])
def test_equals_a_slow_loop(scale, margin):
    embeddings, labels = inputs()
    head = build_loss({"name": "circle", "scale": scale, "margin": margin}, 4, 5).double()
    assert head(embeddings, labels).item() == pytest.approx(slow_loss(head, embeddings, labels), rel=1e-12)


def test_the_gradient_takes_the_weighing_factors_as_constants():
    embeddings, labels = inputs()
    head = build_loss({"name": "circle", "scale": 4.0}, 4, 5).double()
    x = embeddings.clone().requires_grad_()
    head(x, labels).backward()
    step = 1e-5
    for i, j in torch.cartesian_prod(torch.arange(6), torch.arange(4)).tolist():
        moved = []
        for sign in (1, -1):
            other = embeddings.clone()
            other[i, j] += sign * step
            moved.append(slow_loss(head, other, labels, weigh_at=embeddings))
        assert (moved[0] - moved[1]) / (2 * step) == pytest.approx(x.grad[i, j].item(), rel=1e-5, abs=1e-8)
