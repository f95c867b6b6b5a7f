"""Agreement of clusters and classes, against scikit-learn and by hand."""

import numpy as np
import pytest

from wespk.metrics.clustering import nmi, purity
from wespk.utils.errors import InputError


@pytest.mark.parametrize("clusters, classes", [(3, 5), (12, 4), (1, 3), (40, 40)])
def test_mutual_information_and_purity_are_scikit_learns(clusters, classes):
    from sklearn.metrics import normalized_mutual_info_score
    from sklearn.metrics.cluster import contingency_matrix

    draw = np.random.default_rng(clusters)
    ours, true = draw.integers(clusters, size=60), draw.integers(classes, size=60)
    assert nmi(ours, true) == pytest.approx(normalized_mutual_info_score(true, ours), abs=1e-12)
    assert purity(ours, true) == pytest.approx(contingency_matrix(true, ours).max(0).sum() / 60)


def test_a_renaming_is_perfect_and_one_cluster_as_pure_as_the_commonest_class():
    classes = ["a", "a", "b", "c"]
    assert (nmi([7, 7, 2, 5], classes), purity([7, 7, 2, 5], classes)) == (pytest.approx(1), 1)
    assert (nmi([0] * 4, classes), purity([0] * 4, classes), nmi([0, 0], ["a", "a"])) == (0, 0.5, 1)


def test_lists_of_two_lengths_are_refused():
    with pytest.raises(InputError, match="2 clusters and 3 classes"):
        nmi([0, 1], [0, 1, 1])
