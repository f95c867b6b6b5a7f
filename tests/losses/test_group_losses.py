"""The losses on batches of speakers x utterances against slow loops, and what they refuse."""

import math

import pytest
import torch

from tests.losses.loss_oracles import cosine, cross_entropy
from wespk.losses import build_loss
from wespk.utils.errors import InputError

NAMES = ["prototypical", "angular_prototypical", "ge2e", "triplet"]
LABELS = [4, 1, 7, 1, 4, 7, 7, 4, 1]


def batch():
    return torch.randn(9, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64), torch.tensor(LABELS)


def speakers(embeddings):
    """{label: its embeddings as lists, in batch order}, labels rising."""
    return {y: [e for e, label in zip(embeddings.tolist(), LABELS) if label == y] for y in sorted(set(LABELS))}


def mean(vectors):
    return [sum(values) / len(vectors) for values in zip(*vectors)]


def unit(vector):
    length = math.sqrt(sum(v * v for v in vector))
    return [v / length for v in vector]


@pytest.mark.parametrize("name", ["prototypical", "angular_prototypical"])
def test_prototypes_equal_a_slow_loop(name):
    embeddings, labels = batch()
    loss = build_loss({"name": name, "utterances": 3}, 5, 8).double()
    groups = list(speakers(embeddings).values())
    prototypes, rows = [mean(group[:-1]) for group in groups], []
    for group in groups:
        if name == "prototypical":
            rows.append([-sum((a - b) ** 2 for a, b in zip(group[-1], p)) for p in prototypes])
        else:
            rows.append([10 * cosine(group[-1], p) for p in prototypes])
    assert loss(embeddings, labels).item() == pytest.approx(cross_entropy(rows, [0, 1, 2]), abs=1e-12)


@pytest.mark.parametrize("variant", ["softmax", "contrast"])
def test_ge2e_equals_a_slow_loop(variant):
    embeddings, labels = batch()
    loss = build_loss({"name": "ge2e", "utterances": 3, "variant": variant}, 5, 8).double()
    groups = [[unit(e) for e in group] for group in speakers(embeddings).values()]
    rows, own, contrast = [], [], []
    for j, group in enumerate(groups):
        for i, e in enumerate(group):
            centroids = [mean(g[:i] + g[i + 1:]) if k == j else mean(g) for k, g in enumerate(groups)]
            rows.append([10 * cosine(e, c) for c in centroids])
            own.append(j)
            chance = [1 / (1 + math.exp(5 - s)) for s in rows[-1]]
            contrast.append(1 - chance[j] + max(c for k, c in enumerate(chance) if k != j))
    expected = cross_entropy(rows, own) if variant == "softmax" else sum(contrast) / len(contrast)
    assert loss(embeddings, labels).item() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("margin, pulled_apart", [(0.4, 0.0), (0.1, 3.0)])
def test_triplet_equals_a_slow_loop(margin, pulled_apart):
    embeddings, labels = batch()
    embeddings = embeddings + pulled_apart * torch.eye(5, dtype=torch.float64)[labels % 5]  # some anchors are at rest
    loss = build_loss({"name": "triplet", "margin": margin, "utterances": 3}, 5, 8).double()
    rows, total, right = embeddings.tolist(), 0.0, 0
    for i, anchor in enumerate(rows):
        distances = [(1 - cosine(anchor, rows[j]), LABELS[j] == LABELS[i]) for j in range(9) if j != i]
        farthest = max(d for d, same in distances if same)
        nearest = min(d for d, same in distances if not same)
        total += max(0.0, margin + farthest - nearest)
        right += farthest < nearest
    assert loss(embeddings, labels).item() == pytest.approx(total / 9, abs=1e-12)
    assert loss.stats["accuracy"].item() == pytest.approx(right / 9)


@pytest.mark.parametrize("name", ["ge2e", "triplet"])
def test_the_order_of_the_batch_does_not_matter(name):
    embeddings, labels = batch()
    loss = build_loss({"name": name, "utterances": 3}, 5, 8).double()
    order = torch.tensor([5, 2, 7, 0, 8, 1, 3, 6, 4])
    torch.testing.assert_close(loss(embeddings[order], labels[order]), loss(embeddings, labels))


@pytest.mark.parametrize("name", NAMES)
def test_another_number_of_utterances_is_refused_naming_the_speaker(name):
    loss = build_loss({"name": name}, 5, 8)
    with pytest.raises(InputError, match="speaker 3 has 1 utterances in the batch; the loss takes 2 of each"):
        loss(torch.zeros(5, 5), torch.tensor([1, 1, 3, 0, 0]))
    with pytest.raises(InputError, match="all utterances of the batch are one speaker's"):
        loss(torch.zeros(2, 5), torch.tensor([1, 1]))
    with pytest.raises(InputError, match="option utterances must be an integer >= 2, not 1"):
        build_loss({"name": name, "utterances": 1}, 5, 8)


def test_ge2e_has_a_bias_only_where_it_matters():
    with pytest.raises(InputError, match="option bias: it cancels in the variant softmax"):
        build_loss({"name": "ge2e", "bias": -3.0}, 5, 8)
    assert build_loss({"name": "ge2e", "variant": "contrast", "bias": -3.0}, 5, 8).bias == -3
    assert len(list(build_loss({"name": "ge2e"}, 5, 8).parameters())) == 1
