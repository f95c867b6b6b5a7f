"""Spherical k-means: against a slow oracle and scikit-learn, empty clusters, blocks, seeds."""

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans

from wespk.scoring import clustering
from wespk.scoring.clustering import seeds, spherical_kmeans
from wespk.utils.errors import InputError


def unit(vectors):
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def cloud(number, dim=8, groups=6, noise=0.7, seed=0):
    """Unit vectors around ``groups`` directions: (number, dim)."""
    draw = np.random.default_rng(seed)
    means = draw.normal(size=(groups, dim))
    return unit(means[np.arange(number) % groups] + noise * draw.normal(size=(number, dim)))


def oracle(vectors, centres, rounds):
    """Spherical k-means from the definition: one vector and one cluster at a time, in float64."""
    vectors, centres = vectors.astype(np.float64), centres.astype(np.float64)
    labels = None
    for _ in range(rounds + 1):
        new = [int(np.argmax([x @ c for c in centres])) for x in vectors]
        if new == labels:
            break
        labels = new
        for k in range(len(centres)):
            mine = [x for x, label in zip(vectors, labels, strict=True) if label == k]
            if mine:
                centres[k] = np.sum(mine, axis=0) / np.linalg.norm(np.sum(mine, axis=0))
    return labels, sum(1 - max(x @ c for c in centres) for x in vectors)


def test_labels_and_inertia_are_those_of_the_slow_oracle():
    data = cloud(150, noise=1.0)
    start = data[:7]
    found = spherical_kmeans(data, 7, seed=0, centres=start)
    labels, inertia = oracle(data, start, 100)
    assert found.labels.tolist() == labels and found.inertia == pytest.approx(inertia, rel=1e-5)
    assert found.converged and found.iterations > 3
    assert found.cosines == pytest.approx((data * found.centres[labels]).sum(1), abs=1e-6)


def test_of_clear_clusters_the_labels_are_scikit_learns_from_the_same_start():
    data = cloud(120, noise=0.1)
    start = data[:6]
    theirs = KMeans(6, init=start, n_init=1).fit(data)
    assert spherical_kmeans(data, 6, seed=0, centres=start).labels.tolist() == theirs.labels_.tolist()


def test_seeding_finds_every_clear_cluster_and_is_no_worse_than_scikit_learn_on_others():
    clear = cloud(120, noise=0.05)
    chosen = seeds(torch.from_numpy(clear), 6, np.random.default_rng(1)).numpy()
    assert len(set((chosen @ clear[:6].T).argmax(1))) == 6  # its first six are of the six directions
    data = cloud(200, noise=0.8)
    ours = spherical_kmeans(data, 12, seed=1, restarts=5)
    theirs = KMeans(12, n_init=5, random_state=1).fit(data)
    centres = unit(np.stack([data[theirs.labels_ == k].sum(0) for k in range(12)]))
    assert ours.inertia <= 1.03 * (1 - (data * centres[theirs.labels_]).sum(1)).sum()
    assert ours.inertia == min(ours.inertias) and len(ours.inertias) == 5 and len(set(ours.inertias)) > 1


def test_a_seed_gives_the_same_clusters_and_blocks_do_not_matter(monkeypatch):
    data = cloud(90, noise=0.9)
    whole, again, other = (spherical_kmeans(data, 9, seed, restarts=2) for seed in (3, 3, 4))
    assert whole.labels.tolist() == again.labels.tolist() and whole.inertias == again.inertias
    assert whole.inertias != other.inertias
    monkeypatch.setattr(clustering, "ENTRIES", 100)  # eleven rows of cosines, one column of sums
    pieces = spherical_kmeans(data, 9, 3, restarts=2)
    assert pieces.labels.tolist() == whole.labels.tolist() and pieces.inertia == pytest.approx(whole.inertia)


def test_an_empty_cluster_gets_the_vector_farthest_from_its_centre():
    data = cloud(40, groups=2, noise=0.05)
    lost = data[39] = unit(-data[:2].sum(0, keepdims=True))[0]
    start = np.stack([data[0], data[1], -lost, data[0]])  # the last two are nobody's
    found = spherical_kmeans(data, 4, seed=0, centres=start)
    assert np.bincount(found.labels, minlength=4).min() >= 1
    assert (found.labels == found.labels[39]).sum() == 1


def test_seeding_of_many_vectors_looks_at_a_sample(monkeypatch):
    data = torch.from_numpy(cloud(100))
    monkeypatch.setattr(clustering, "SAMPLE", 5)
    rows = [int((data == centre).all(1).nonzero()) for centre in seeds(data, 4, np.random.default_rng(2))]
    assert len(set(rows)) == 4
    draws = np.random.default_rng(2)
    assert set(rows) <= set(draws.choice(100, 20, replace=False).tolist())


def test_equal_vectors_end_without_a_cluster_each():
    data = np.repeat(cloud(3, groups=3, noise=0), 5, axis=0)
    found = spherical_kmeans(data, 6, seed=0)
    assert found.inertia == pytest.approx(0, abs=1e-5) and found.converged
    assert len({tuple(found.labels[i : i + 5]) for i in (0, 5, 10)}) == 3


def test_few_iterations_and_a_tolerance_end_it_sooner():
    data = cloud(300, noise=1.5)
    whole = spherical_kmeans(data, 20, seed=0)
    short = spherical_kmeans(data, 20, seed=0, iterations=1)
    loose = spherical_kmeans(data, 20, seed=0, tolerance=0.05)
    assert (short.iterations, short.converged) == (1, False) and short.inertia > whole.inertia
    assert loose.converged and loose.iterations < whole.iterations


@pytest.mark.parametrize("number, options, says", [
    (1, {}, "1 clusters of 10"), (11, {}, "11 clusters of 10"), (2, {"restarts": 0}, "0 and 100"),
    (2, {"iterations": 0}, "1 and 0"),
])
def test_what_cannot_be_clustered_is_refused(number, options, says):
    with pytest.raises(InputError, match=says):
        spherical_kmeans(cloud(10), number, seed=0, **options)
