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
