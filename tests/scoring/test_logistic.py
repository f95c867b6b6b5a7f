"""Calibration and fusion against scikit-learn, against a case with a known answer, and where there is no answer."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from wespk.metrics import act_dcf, cllr, min_cllr, min_dcf
from wespk.scoring.logistic import fit, load
from wespk.utils.errors import InputError


def trials(seed=0, number=3000, features=3):
    """Features (n, K) that say different amounts of the labels (n,), on scales of their own."""
    draw = np.random.default_rng(seed)
    labels = (draw.random(number) < 0.3).astype(np.int8)
    x = draw.normal(size=(number, features)) + labels[:, None] * np.linspace(1.5, 0.2, features)
    return x * np.logspace(0, -3, features) + 5, labels


@pytest.mark.parametrize("l2", [0.0, 0.01])
@pytest.mark.parametrize("p_target", [0.5, 0.01])
def test_weights_are_those_of_scikit_learn(p_target, l2):
    x, labels = trials()
    found = fit(x, labels, ["a", "b", "c"], p_target, l2)
    weight = np.where(labels == 1, p_target / labels.sum(), (1 - p_target) / (1 - labels).sum())
    scaled = (x - x.mean(axis=0)) / x.std(axis=0)
    reference = LogisticRegression(C=1 / l2 if l2 else 1e12, tol=1e-12, max_iter=10000)
    reference.fit(scaled, labels, sample_weight=weight)
    expected = reference.decision_function(scaled) - np.log(p_target / (1 - p_target))
    assert found.llr(x) == pytest.approx(expected, abs=2e-3)
    assert np.array(found.weights) * x.std(axis=0) == pytest.approx(reference.coef_[0], abs=1e-3)


@pytest.mark.parametrize("p_target", [0.5, 0.05])
def test_normal_scores_get_their_true_likelihood_ratios(p_target):
    """Of N(m, s^2) and N(-m, s^2) the log-likelihood ratio of a score is 2 m score / s^2."""
    draw, m, s = np.random.default_rng(1), 0.3, 0.4
    labels = np.repeat([1, 0], 40000)
    scores = draw.normal(np.where(labels == 1, m, -m), s)
    found = fit(scores[:, None], labels, ["score"], p_target)
    assert found.weights[0] == pytest.approx(2 * m / s**2, rel=0.03)
    assert found.offset == pytest.approx(0, abs=0.08)


def test_what_is_calibrated_loses_little_and_fusion_gains():
    x, labels = trials(seed=2)
    new, new_labels = trials(seed=3)
    one = fit(x[:, :1], labels, ["a"]).llr(new[:, :1])
    assert cllr(one, new_labels) < min_cllr(one, new_labels) + 0.03 < cllr(new[:, 0], new_labels)
    assert act_dcf(one, new_labels, 0.05) < min_dcf(one, new_labels, 0.05) + 0.05
    assert cllr(fit(x, labels, list("abc")).llr(new), new_labels) < cllr(one, new_labels) - 0.05


def test_neither_scale_nor_shift_of_a_feature_matters():
    x, labels = trials()
    ratios = fit(x, labels, list("abc")).llr(x)
    moved = x * [1e6, -1e-6, 3] + [1e3, 0, -1]
    assert fit(moved, labels, list("abc")).llr(moved) == pytest.approx(ratios, abs=1e-6)


def test_a_model_comes_back_from_its_file(tmp_path):
    x, labels = trials()
    model = fit(x, labels, list("abc"))
    model.save(tmp_path / "model.json", {"trials": "list"})
    assert load(tmp_path / "model.json") == model


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 1, "names": []}',
                                  '{"format": 7, "names": ["a"], "weights": [1], "offset": 0, "p_target": 0.5}'])
def test_a_file_that_is_no_calibration_is_named(tmp_path, text):
    (tmp_path / "model.json").write_text(text)
    with pytest.raises(InputError, match=r"model.json: .*train_calibration|model.json: .*run it again"):
        load(tmp_path / "model.json")


def test_trials_parted_without_error_have_no_calibration_unless_weights_are_held_back():
    labels = np.repeat([1, 0], 20)
    scores = np.linspace(1, 0, 40)[:, None]
    with pytest.raises(InputError, match=r"score part targets from nontargets without error.* or give a penalty such as --l2"):
        fit(scores, labels, ["score"])
    held = fit(scores, labels, ["score"], p_target=0.5, l2=0.1)
    assert ((held.llr(scores) > 0) == (labels == 1)).all()


def test_systems_that_say_the_same_cannot_be_fused():
    x, labels = trials(features=1)
    with pytest.raises(InputError, match="say the same as one another"):
        fit(np.hstack([x, 2 * x]), labels, ["a", "b"])


@pytest.mark.parametrize("change, says", [
    ({"labels": np.ones(3000)}, "3000 target and 0 nontarget trials"), ({"l2": -1}, "--l2 must not be negative"),
    ({"p_target": 1.0}, "p_target must lie between"), ({"features": np.ones((3000, 3))}, "'a' is 1 for every trial"),
    ({"features": np.full((3000, 3), np.nan)}, "'a' is nan for every trial, or not finite"),
])  # fmt: skip
def test_what_cannot_be_fitted_is_refused(change, says):
    x, labels = trials()
    with pytest.raises(InputError, match=says):
        fit(**{"features": x, "labels": labels, "names": list("abc"), **change})
