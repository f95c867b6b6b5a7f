"""SDPN's formulas in plain Python floats (64 bits), step by step as they are published, with loops."""

import math


def unit(v):
    length = math.sqrt(sum(x * x for x in v))
    return [x / length for x in v]


def softmax(logits):
    top = max(logits)
    raised = [math.exp(x - top) for x in logits]
    return [x / sum(raised) for x in raised]


def assign(output, prototypes, temperature):
    """softmax of the cosines of one output with all prototypes."""
    z = unit(output)
    return softmax([sum(a * b for a, b in zip(z, unit(q))) / temperature for q in prototypes])


def sharpen(u, t):
    raised = [x ** (1 / t) for x in u]
    return [x / sum(raised) for x in raised]


def sinkhorn(v, iterations):
    """v: B rows of K. On the transpose (K, B): whole to sum 1; then rows to 1/K, columns to 1/B, in turn; times B."""
    number, count = len(v), len(v[0])
    total = sum(map(sum, v))
    q = [[v[b][k] / total for b in range(number)] for k in range(count)]
    for _ in range(iterations):
        q = [[x / sum(row) / count for x in row] for row in q]
        columns = [sum(q[k][b] for k in range(count)) for b in range(number)]
        q = [[row[b] / columns[b] / number for b in range(number)] for row in q]
    return [[q[k][b] * number for k in range(count)] for b in range(number)]


def losses(student, targets, prototypes, temperature):
    """Cross-entropy and me-max of student outputs (V, B, dim) against targets (B, K), all nested lists."""
    rows = [(assign(z, prototypes, temperature), targets[b]) for view in student for b, z in enumerate(view)]
    cross_entropy = sum(-t * math.log(p) for ps, ts in rows for p, t in zip(ps, ts)) / len(rows)
    mean = [sum(ps[k] for ps, _ in rows) / len(rows) for k in range(len(prototypes))]
    return cross_entropy, math.log(len(mean)) + sum(p * math.log(p) for p in mean)


def targets(teacher, prototypes, temperature, t, iterations):
    """Targets of teacher outputs (B, dim): softmax, then sharpened, then balanced."""
    return sinkhorn([sharpen(assign(z, prototypes, temperature), t) for z in teacher], iterations)
