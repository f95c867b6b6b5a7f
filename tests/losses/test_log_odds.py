"""The log-odds of a trained SphereFace2 against distributions whose likelihood ratio is known."""

import math
from statistics import NormalDist

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from wespk.losses import build_loss, load_all
from wespk.losses.log_odds import LogOdds
from wespk.losses.sphereface2 import adjust
from wespk.utils.errors import InputError

CLASSES = 6
TARGET, OTHER, SPREAD = -0.5, -0.75, 0.06  # means and standard deviation of g(c)


def head_and_batch(lam, t, size=4000):
    """A head whose classes are unit vectors, and embeddings whose cosines with them are so distributed, by quantiles."""
    head = build_loss({"name": "sphereface2", "lam": lam, "t": t, "margin": 0.0}, CLASSES + 1, CLASSES).double()
    head.weight.data = torch.eye(CLASSES, CLASSES + 1, dtype=torch.float64)
    draw = np.random.default_rng(0)
    normal = np.array([NormalDist().inv_cdf((i + 0.5) / size) for i in range(size)])
    labels = draw.integers(CLASSES, size=size)
    adjusted = OTHER + SPREAD * np.stack([draw.permutation(normal) for _ in range(CLASSES)], 1)
    adjusted[np.arange(size), labels] = TARGET + SPREAD * normal
    cosines = 2 * ((adjusted + 1) / 2) ** (1 / t) - 1
    rest = 1 - (cosines**2).sum(1)
    assert rest.min() > 0
    return head, torch.from_numpy(np.column_stack([cosines, np.sqrt(rest)])), torch.from_numpy(labels)


def fit(head, embeddings, labels):
    """Minimise the loss over scale and bias."""
    head.scale = torch.tensor(60.0, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([head.scale, head.bias], max_iter=100, line_search_fn="strong_wolfe",
                                  tolerance_grad=1e-10, tolerance_change=1e-14)  # fmt: skip

    def step():
        optimizer.zero_grad()
        loss = head(embeddings, labels)
        loss.backward()
        return loss

    optimizer.step(step)
    head.scale = head.scale.item()
    return head.log_odds()


@pytest.mark.parametrize("lam, t", [(0.7, 3), (0.2, 3), (0.7, 2.5)])
def test_the_minimum_of_the_loss_without_margin_gives_the_likelihood_ratio(lam, t):
    """Two Gaussians on the adjusted scale, whose log ratio is linear there. Their quantiles stand for them to 2 %."""
    log_odds = fit(*head_and_batch(lam, t))
    adjusted = np.linspace(-0.85, -0.4, 10)
    exact = ((adjusted - OTHER) ** 2 - (adjusted - TARGET) ** 2) / (2 * SPREAD**2)
    found = log_odds.log_likelihood_ratio(2 * ((adjusted + 1) / 2) ** (1 / t) - 1)
    assert exact.min() < -15 and exact.max() > 15
    assert found == pytest.approx(exact, rel=0.02, abs=0.05)


@pytest.mark.parametrize("t", [1, 2, 2.5, 3, 5])
def test_the_adjustment_is_that_of_the_loss_and_its_inverse_comes_back(t):
    log_odds = LogOdds(scale=32.0, t=t, bias=3.0, lam=0.7, num_classes=100)
    cosines = np.linspace(-1, 1, 41)
    z = 32 * adjust(torch.from_numpy(cosines), t).numpy() + 3.0
    ratios = log_odds.log_likelihood_ratio(cosines)
    assert ratios == pytest.approx(z - math.log(0.7 / (0.3 * 99)), abs=1e-12)
    back = [log_odds.cosine(float(f"{ratio:.9g}")) for ratio in ratios]  # as score files have them
    assert back[10:] == pytest.approx(cosines[10:], abs=1e-6)  # further down g is flat


def test_the_training_prior_is_the_targets_share_of_the_weights_and_its_threshold_where_z_is_zero():
    log_odds = LogOdds(scale=32.0, t=3, bias=4.0, lam=0.7, num_classes=5994)
    assert log_odds.prior == pytest.approx(0.7 / (0.7 + 0.3 * 5993), rel=1e-12)
    c0 = log_odds.threshold(log_odds.prior)
    assert 32 * (2 * ((c0 + 1) / 2) ** 3 - 1) + 4.0 == pytest.approx(0, abs=1e-9)
    assert log_odds.threshold(0.5) < c0 < log_odds.threshold(1e-5)


def test_where_no_cosine_reaches_nothing_is_accepted_and_where_all_do_everything():
    assert LogOdds(scale=4.0, t=3, bias=-5.0, lam=0.5, num_classes=2).threshold(0.5) is None
    assert LogOdds(scale=4.0, t=3, bias=5.0, lam=0.5, num_classes=2).threshold(0.5) == -1
    assert LogOdds(scale=4.0, t=3, bias=0.0, lam=0.5, num_classes=2).log_likelihood_ratio(1.0000001) == 4


@pytest.mark.parametrize("shift", [0.5, 6.4])
def test_with_margin_c_the_sign_is_right_and_the_size_too_large(shift):
    """The best free z for given true odds, found on a grid, and the formula that turns it back into them."""
    grid = torch.linspace(-14, 14, 280001, dtype=torch.float64)
    for odds in (-6.0, -2.0, -0.1, 0.0, 0.1, 2.0, 6.0):
        loss = math.exp(odds / 2) * F.softplus(shift - grid) + math.exp(-odds / 2) * F.softplus(grid + shift)
        z = grid[loss.argmin()]
        assert z.item() * odds >= 0 and abs(z.item()) >= abs(odds) - 1e-3
        exact = z + shift + F.softplus(z - shift) - F.softplus(z + shift)
        assert exact.item() == pytest.approx(odds, abs=1e-3)


def test_the_numbers_come_from_the_head():
    head = build_loss({"name": "sphereface2", "scale": 20, "t": 5, "lam": 0.6, "margin_type": "A"}, 4, 7)
    head.bias.data.fill_(1.5)
    assert head.log_odds() == LogOdds(scale=20.0, t=5.0, bias=1.5, lam=0.6, num_classes=7)


def test_every_other_loss_refuses_by_name():
    others = [name for name in load_all().names() if name not in ("sphereface2", "spherespeaker")]
    assert len(others) >= 9
    for name in others:
        loss = build_loss({"name": name, **({"top_k": 2} if name == "subcenter" else {})}, 4, 5)
        with pytest.raises(InputError, match=f"{type(loss).__name__} trains no threshold: only sphereface2 and spherespeaker"):
            loss.log_odds()
