"""Sub-centre AAM with inter-top-k penalty against a slow loop."""

import math

import pytest
import torch

from tests.losses.loss_oracles import aam_target, cosine, cross_entropy, inputs
from wespk.losses import build_loss
from wespk.utils.errors import InputError


def slow_loss(head, embeddings, labels):
    rows = []
    for e, label in zip(embeddings.tolist(), labels.tolist()):
        row = [max(cosine(e, center) for center in centers) for centers in head.weight.tolist()]
        others = sorted((j for j in range(len(row)) if j != label), key=lambda j: -row[j])
        for j in others[: head.top_k]:
            row[j] = math.cos(math.acos(row[j]) - head.top_k_ratio * head.margin)
        row[label] = aam_target(row[label], head.margin)
        rows.append([head.scale * c for c in row])
    return cross_entropy(rows, labels.tolist())


@pytest.mark.parametrize("sub_centers, top_k, margin", [(3, 2, 0.2), (1, 0, 0.2), (2, 6, 0.5), (3, 5, 0.0)])
def test_equals_a_slow_loop(sub_centers, top_k, margin):
    embeddings, labels = inputs(num_classes=7)
    conf = {"name": "subcenter", "scale": 6.0, "sub_centers": sub_centers, "top_k": top_k, "margin": margin}
    head = build_loss(conf, 4, 7).double()
    assert head.weight.shape == (7, sub_centers, 4)
    assert head(embeddings, labels).item() == pytest.approx(slow_loss(head, embeddings, labels), abs=1e-12)


def test_one_centre_without_penalty_is_aam_softmax():
    embeddings, labels = inputs()
    head = build_loss({"name": "subcenter", "sub_centers": 1, "top_k": 0}, 4, 5).double()
    aam = build_loss({"name": "aam_softmax"}, 4, 5).double()
    aam.weight.data = head.weight.data[:, 0]
    torch.testing.assert_close(head(embeddings, labels), aam(embeddings, labels))


def test_top_k_must_be_below_the_number_of_classes():
    with pytest.raises(InputError, match="top_k must be below the number of classes, 5, not 5"):
        build_loss({"name": "subcenter"}, 4, 5)
