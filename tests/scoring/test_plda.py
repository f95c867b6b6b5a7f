"""PLDA against Kaldi's own programs, and against Gaussian densities worked out the slow way."""

import base64
import json

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from tests.conftest import ROOT
from wespk.io.parameters import read_array64, read_plda
from wespk.scoring.front import coral, lda, whitening
from wespk.scoring.plda import ClassStatistics, Plda, diagonalise, estimate
from wespk.utils.errors import InputError

GOLDEN = json.loads((ROOT / "tests" / "golden" / "kaldi_plda.json").read_text())
RTOL = 2e-6  # Kaldi prints 7 digits


def golden_model(folder, name):
    (folder / name).write_bytes(base64.b64decode(GOLDEN[name]))
    return Plda(*read_plda(folder / name))


def golden_scores(plda, length_norm):
    counts = np.array([GOLDEN["counts"][key] for key in GOLDEN["enroll"]])
    enroll = plda.project(np.array(list(GOLDEN["enroll"].values())), counts, length_norm)
    test = plda.project(np.array(list(GOLDEN["test"].values())), 1, length_norm)
    sides = enumerate(("enroll", "test"))
    rows = [[list(GOLDEN[side]).index(pair[i]) for pair in GOLDEN["trials"]] for i, side in sides]
    return plda.log_ratios(enroll, counts, test, *map(np.array, rows))


@pytest.mark.parametrize("kind, length_norm", [("raw", False), ("lennorm", True)])
def test_scores_of_averages_over_three_are_kaldis(tmp_path, kind, length_norm):
    found = golden_scores(golden_model(tmp_path, "plda_binary"), length_norm)
    assert found == pytest.approx(np.array(GOLDEN["scores"][kind]), rel=RTOL, abs=2e-4)


def test_an_adapted_model_is_kaldis(tmp_path):
    moments = np.array(GOLDEN["adapt_mean"]), np.array(GOLDEN["adapt_covariance"])
    found = golden_model(tmp_path, "plda_binary").adapted(*moments, 0.75, 0.25)
    expected = golden_model(tmp_path, "plda_adapted")
    assert found.mean == pytest.approx(expected.mean, abs=1e-8) and found.psi == pytest.approx(expected.psi, rel=1e-8)
    assert golden_scores(found, True) == pytest.approx(np.array(GOLDEN["scores"]["adapted"]), rel=RTOL, abs=1e-4)


@pytest.fixture
def kaldi_training(real_speech):
    """Kaldi's folder, the vectors it trained on and each one's speaker as a number."""
    folder = real_speech / "golden_kaldi"
    lines = (folder / "train_vectors.txt").read_text().splitlines()
    speakers = [line.split("-")[0] for line in lines]
    vectors = np.array([[float(word) for word in line.split()[2:-1]] for line in lines])
    return folder, vectors, np.unique(speakers, return_inverse=True)[1]


def test_a_trained_model_is_kaldis(kaldi_training):
    folder, vectors, speakers = kaldi_training
    found, expected = estimate(ClassStatistics(80, 24).add(vectors, speakers)), Plda(*read_plda(folder / "plda_binary"))
    signs = np.sign(np.sum(found.transform * expected.transform, axis=1))
    assert found.mean == pytest.approx(expected.mean, abs=1e-8)
    assert found.psi == pytest.approx(expected.psi, rel=1e-7)
    assert found.transform * signs[:, None] == pytest.approx(expected.transform, abs=1e-6)


def test_lda_is_kaldis(kaldi_training):
    folder, vectors, speakers = kaldi_training
    found = lda(ClassStatistics(80, 24).add(vectors - vectors.mean(axis=0), speakers), 10)
    expected = read_array64(folder / "lda.mat")[:, :24]  # the last column is its offset
    signs = np.sign(np.sum(found * expected, axis=1))
    assert found * signs[:, None] == pytest.approx(expected, abs=3e-6)


DRAW = np.random.default_rng(5)


def random_covariance(dim):
    root = DRAW.normal(size=(dim, dim))
    return root @ root.T + 0.3 * np.eye(dim)


def sample(within, between, counts, mean=0.0):
    """Vectors and class numbers of classes of so many vectors."""
    classes = np.repeat(np.arange(len(counts)), counts)
    centres = DRAW.multivariate_normal(np.zeros(len(within)), between, size=len(counts))
    return mean + centres[classes] + DRAW.multivariate_normal(np.zeros(len(within)), within, size=len(classes)), classes


def test_scores_are_the_ratio_of_gaussian_densities_of_all_vectors_at_once():
    """An enrolment of n utterances by its mean alone says all that their joint density with the test does."""
    dim, mean = 3, np.array([1.0, -2.0, 0.5])
    within, between = random_covariance(dim), random_covariance(dim)
    plda = Plda(mean, *diagonalise(within, between))

    def log_density(vectors):
        n = len(vectors)
        covariance = np.kron(np.eye(n), within) + np.kron(np.ones((n, n)), between)
        return multivariate_normal.logpdf(np.ravel(vectors - mean), np.zeros(n * dim), covariance)

    groups = [sample(within, between, [n], mean)[0] for n in (1, 2, 5, 2)]
    tests = sample(within, between, [2, 1], mean)[0]
    expected = [[log_density(np.vstack([g, t])) - log_density(g) - log_density(t[None]) for t in tests] for g in groups]
    counts = np.array([len(group) for group in groups])
    enroll = plda.project(np.array([group.mean(axis=0) for group in groups]), counts, False)
    rows = np.divmod(np.arange(12), 3)
    scores = plda.log_ratios(enroll, counts, plda.project(tests, 1, False), *rows)
    assert scores.reshape(4, 3) == pytest.approx(np.array(expected), abs=1e-9)


def test_em_finds_the_covariances_that_vectors_were_drawn_from_with_classes_of_all_sizes():
    within, between, mean = random_covariance(4), random_covariance(4), np.arange(4.0)
    vectors, classes = sample(within, between, DRAW.integers(1, 9, size=3000), mean)
    statistics = ClassStatistics(3000, 4)
    for part in np.array_split(DRAW.permutation(len(classes)), 7):
        statistics.add(vectors[part], classes[part])
    plda = estimate(statistics, 20)
    assert plda.mean == pytest.approx(statistics.means.mean(axis=0))  # every class counts once
    back = np.linalg.inv(plda.transform)
    assert plda.mean == pytest.approx(mean, abs=0.2)
    assert back @ back.T == pytest.approx(within, abs=0.05 * np.abs(within).max())
    assert back @ np.diag(plda.psi) @ back.T == pytest.approx(between, abs=0.1 * np.abs(between).max())


def test_length_normalised_projections_have_the_length_that_the_model_expects():
    plda = Plda(np.zeros(3), np.eye(3), np.array([4.0, 1.0, 0.0]))
    projected = plda.project(DRAW.normal(size=(5, 3)), np.arange(1, 6))
    lengths = np.sum(projected**2 / (plda.psi + 1 / np.arange(1, 6)[:, None]), axis=1)
    assert lengths == pytest.approx(np.full(5, 3.0))


def test_smoothing_adds_between_to_within():
    plda = Plda(np.zeros(3), *diagonalise(random_covariance(3), random_covariance(3)))
    smooth = plda.smoothed(0.5)
    back, after = np.linalg.inv(plda.transform), np.linalg.inv(smooth.transform)
    assert after @ after.T == pytest.approx(back @ np.diag(1 + 0.5 * plda.psi) @ back.T)
    assert after @ np.diag(smooth.psi) @ after.T == pytest.approx(back @ np.diag(plda.psi) @ back.T)


def test_coral_gives_one_covariance_the_other_and_whitening_the_identity():
    one, other = random_covariance(4), random_covariance(4)
    matrix = coral(one, other, ridge=0)
    assert matrix @ one @ matrix.T == pytest.approx(other)
    unit = whitening(one)
    assert unit @ one @ unit.T == pytest.approx(np.eye(4), abs=1e-9)


def test_what_cannot_be_trained_is_refused():
    vectors = DRAW.normal(size=(4, 2))
    with pytest.raises(InputError, match="4 speakers, 0 of them with two or more"):
        estimate(ClassStatistics(4, 2).add(vectors, np.arange(4)))
    good = ClassStatistics(3, 2).add(vectors, np.array([0, 0, 1, 2]))
    with pytest.raises(InputError, match="at least one iteration, not 0"):
        estimate(good, 0)
    with pytest.raises(InputError, match="it must be 1 to 2"):
        lda(good, 3)
    for bad in (lambda: Plda(*np.ones((3, 1))).smoothed(-1), lambda: coral(np.eye(2), np.eye(2), -1)):
        with pytest.raises(InputError, match="must not be negative"):
            bad()
    with pytest.raises(InputError, match="singular"):
        diagonalise(np.ones((2, 2)), np.eye(2))
