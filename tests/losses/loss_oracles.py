"""Slow loops in plain Python floats (64 bits) that the losses are compared with, and inputs for them."""

import math

import torch


def inputs(batch=6, dim=4, num_classes=5, seed=0, dtype=torch.float64):
    """Random embeddings (batch, dim) and labels (batch,)."""
    generator = torch.Generator().manual_seed(seed)
    embeddings = torch.randn(batch, dim, generator=generator, dtype=torch.float64)
    labels = torch.randint(num_classes, (batch,), generator=generator)
    return embeddings.to(dtype), labels


def cosine(a, b):
    """Cosine of two lists of numbers."""
    dot = sum(x * y for x, y in zip(a, b))
    return dot / math.sqrt(sum(x * x for x in a)) / math.sqrt(sum(y * y for y in b))


def cosine_rows(embeddings, weight):
    """The cosine of every embedding with every weight row, as lists."""
    return [[cosine(e, w) for w in weight.tolist()] for e in embeddings.tolist()]


def cross_entropy(rows, labels):
    """Mean of -log softmax(row)[label] over lists of logits."""
    losses = []
    for row, label in zip(rows, labels):
        top = max(row)
        losses.append(top + math.log(sum(math.exp(v - top) for v in row)) - row[label])
    return sum(losses) / len(losses)


def aam_target(c, margin, easy=False):
    """cos(theta + margin) with its continuation beyond pi, by way of the angle itself."""
    theta = math.acos(c)
    if easy:
        return math.cos(theta + margin) if c > 0 else c
    return math.cos(theta + margin) if theta + margin < math.pi else c - 1 - math.cos(math.pi - margin)


def contrastive(embeddings, labels, tau, margin=0.0, margin_on="positives", pair=None, pair_in="exponent"):
    """A contrastive loss of embeddings (B, V, D), and how many anchors it skipped, as the formulas are written.

    labels: a list of B, or None for the views of an utterance only; pair: weights A of embeddings i, j, utterance by
    utterance, as a list of lists.
    """
    views = embeddings.shape[1]
    owner = [b for b in range(len(embeddings)) for _ in range(views)]
    names = [b if labels is None else labels[b] for b in owner]
    cos = cosine_rows(embeddings.flatten(0, 1), embeddings.flatten(0, 1))
    everyone, terms, skipped = range(len(names)), [], 0
    for i in everyone:
        positives = [p for p in everyone if p != i and names[p] == names[i]]
        if not positives:
            skipped += 1
            continue
        total = 0.0
        for a in everyone:
            if a != i:
                c = aam_target(cos[i][a], margin) if margin_on == "all" else cos[i][a]
                weight = pair[i][a] if pair else 1.0
                if pair_in == "exponent":
                    total += math.exp(weight * c / tau)
                else:
                    total += (1.0 if names[a] == names[i] else weight) * math.exp(c / tau)
        ratios = []
        for p in positives:
            weight = pair[i][p] if pair and pair_in == "exponent" else 1.0
            ratios.append(math.log(math.exp(weight * aam_target(cos[i][p], margin) / tau) / total))
        terms.append(-sum(ratios) / len(positives))
    return sum(terms) / len(terms), skipped
