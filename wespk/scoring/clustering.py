"""Spherical k-means: clusters by cosine, in bounded memory, on the CPU or a GPU.

Vectors and centres have length 1, each vector belongs to the centre with which its cosine is highest, and a centre is
the length-normalised sum of its vectors; both steps lower the inertia, the sum of 1 - cosine (Dhillon & Modha 2001). It
starts from k-means++ (Arthur & Vassilvitskii 2007), of whose draws the best of several is taken each time.

All draws come from the seed, sums are taken in a fixed order, and equal cosines go to the centre with the lower number:
the same seed gives the same clusters on one kind of device.
"""

import math
from typing import NamedTuple

import numpy as np
import torch

from wespk.scoring.vectors import blocks
from wespk.utils.errors import InputError
from wespk.utils.seed import generator

ENTRIES = 2**26  # of a block of cosines or of sums: half a gigabyte at most
SAMPLE = 20  # seeding looks at so many vectors for each centre
NEAR = 1e-6  # 1 - cosine below it is float32 rounding: the same direction


class Clusters(NamedTuple):
    """Of N vectors in K clusters: labels (N,) int64; cosines (N,) float32 with their centres; centres (K, D) float32.

    inertia: sum of 1 - cosine; iterations: done in the restart that was best; converged: whether it ended because
    nothing changed any more (or by less than the tolerance); inertias: of all restarts.
    """

    labels: np.ndarray
    cosines: np.ndarray
    centres: np.ndarray
    inertia: float
    iterations: int
    converged: bool
    inertias: tuple


@torch.no_grad()
def spherical_kmeans(vectors, number, seed, restarts=1, iterations=100, tolerance=0.0, device="cpu", centres=None):
    """``number`` clusters of unit vectors (N, D) float32: ``Clusters``, of the restart with the lowest inertia.

    iterations: at most, of each restart; tolerance: a restart ends when its inertia falls by less than that share; 0:
    when no vector changes its cluster. centres: (K, D) unit vectors to start from instead of seeding. Raises
    ``InputError`` for fewer vectors than clusters, fewer than two clusters, and no restart or iteration.
    """
    if not 2 <= number <= len(vectors):
        raise InputError(f"{number} clusters of {len(vectors)} utterances: give at least 2 clusters, and no more "
                         "than there are utterances")
    if restarts < 1 or iterations < 1:
        raise InputError(f"k-means needs at least one restart and one iteration, not {restarts} and {iterations}")
    data = torch.as_tensor(vectors, dtype=torch.float32, device=device)
    best, inertias = None, []
    for restart in range(1 if centres is not None else restarts):
        start = seeds(data, number, generator(seed, "k-means", restart)) if centres is None else centres
        found = _lloyd(data, torch.as_tensor(start, dtype=torch.float32, device=device), iterations, tolerance)
        inertias.append(found[3])
        if best is None or found[3] < best[3]:
            best = found
    arrays = (tensor.cpu().numpy() for tensor in best[:3])
    return Clusters(*arrays, *best[3:], tuple(inertias))


def seeds(data, number, draws):
    """``number`` of the unit vectors (N, D), far from one another: (number, D). draws: a numpy Generator.

    Greedy k-means++: of 2 + ln(number) vectors, drawn with a chance in proportion to their squared distance from the
    nearest centre so far, the one that lowers the sum of these distances most. Of many vectors a sample is looked at.
    """
    if len(data) > SAMPLE * number:
        data = data[torch.from_numpy(np.sort(draws.choice(len(data), SAMPLE * number, replace=False))).to(data.device)]
    trials, chosen = 2 + int(math.log(number)), [int(draws.integers(len(data)))]
    nearest = _distances(data, data[chosen])[:, 0]
    while len(chosen) < number:
        mass = np.cumsum(nearest.cpu().numpy().astype(np.float64))
        if mass[-1] == 0:  # all that is left is like one of the centres
            left = np.setdiff1d(np.arange(len(data)), chosen)[: number - len(chosen)]
            return data[chosen + left.tolist()]
        picks = np.searchsorted(mass, draws.random(trials) * mass[-1], side="right").clip(max=len(data) - 1)
        candidates = torch.minimum(_distances(data, data[torch.from_numpy(picks).to(data.device)]), nearest[:, None])
        best = int(candidates.sum(0, dtype=torch.float64).argmin())
        nearest = candidates[:, best]
        chosen.append(int(picks[best]))
    return data[chosen]


def _distances(data, centres):
    """Half the squared distances (N, K) of unit vectors, 0 where they are rounding."""
    found = 1 - data @ centres.T
    return torch.where(found < NEAR, torch.zeros_like(found), found)


def assign(data, centres):
    """(labels (N,) int64, cosines (N,)): the centre of (K, D) nearest to each of (N, D), of equal ones the first."""
    labels = torch.empty(len(data), dtype=torch.int64, device=data.device)
    cosines = torch.empty(len(data), device=data.device)
    for part in blocks(len(data), max(1, ENTRIES // len(centres))):
        torch.max(data[part] @ centres.T, dim=1, out=(cosines[part], labels[part]))
    return labels, cosines


def _lloyd(data, centres, iterations, tolerance):
    """(labels, cosines, centres, inertia, iterations done, converged), cosines being those with these centres."""
    labels, cosines = assign(data, centres)
    inertia = _inertia(cosines)
    for done in range(1, iterations + 1):
        centres = _centres(data, labels, cosines, centres)
        before, old = labels, inertia
        labels, cosines = assign(data, centres)
        inertia = _inertia(cosines)
        if torch.equal(labels, before) or abs(old - inertia) < tolerance * old:
            return labels, cosines, centres, inertia, done, True
    return labels, cosines, centres, inertia, iterations, False


def _inertia(cosines):
    return float((1 - cosines.double()).sum())


def _centres(data, labels, cosines, old):
    """The new centres (K, D) of labelled vectors; a cluster without any gets one far from its own centre."""
    sums, counts = _sums(data, labels, len(old))
    _refill(sums, counts, data, labels, cosines)
    lengths = sums.norm(dim=1, keepdim=True)
    return torch.where(lengths > NEAR * counts[:, None], sums / lengths.clamp(min=NEAR), old.double()).float()


def _sums(data, labels, number):
    """(sums (K, D) float64, counts (K,)) of the vectors of each label, added in the order of the vectors."""
    counts, order = torch.bincount(labels, minlength=number), torch.argsort(labels, stable=True)
    sums = data.new_empty(number, data.shape[1], dtype=torch.float64)
    for part in blocks(data.shape[1], max(1, ENTRIES // len(data))):
        columns = data[:, part][order].double()
        sums[:, part] = torch.segment_reduce(columns, "sum", lengths=counts, unsafe=True, initial=0.0)
    return sums, counts


def _refill(sums, counts, data, labels, cosines):
    """Move a vector into each empty cluster, in place: the farthest from its centre whose cluster has another one."""
    empty = (counts == 0).nonzero()[:, 0].tolist()
    if not empty:
        return
    for index in torch.argsort(cosines, stable=True).tolist():
        donor = labels[index]
        if counts[donor] > 1:
            cluster, vector = empty.pop(0), data[index].double()
            sums[donor] -= vector
            counts[donor] -= 1
            sums[cluster], counts[cluster] = vector, 1
            if not empty:
                return
