"""The picture of the three margins: what is drawn is the loss's own cosine, and the file that the recipe shows is that."""

import math
import subprocess
import sys

import numpy as np
import pytest

from tests.conftest import ROOT

sys.path.insert(0, str(ROOT / "tools" / "figures"))
from decision_regions import edge, psi

TOOL = ROOT / "tools" / "figures" / "decision_regions.py"
THETA = np.linspace(0, math.pi, 1801)


def test_without_margin_a_target_is_right_up_to_the_threshold():
    np.testing.assert_allclose(edge(THETA, psi(THETA, 1.0, 0.0, 0.0)), THETA, atol=math.pi / 1799)


@pytest.mark.parametrize("margins, limit", [((1.4, 0.0, 0.0), lambda a: a / 1.4), ((1.0, 0.4, 0.0), lambda a: a - 0.4),
                                            ((1.0, 0.0, 0.3), lambda a: math.acos(min(math.cos(a) + 0.3, 1.0)))])
def test_the_edge_is_where_the_margin_puts_it(margins, limit):
    found = edge(THETA, psi(THETA, *margins))
    for place in (500, 900, 1200):
        assert found[place] == pytest.approx(limit(THETA[place]), abs=math.pi / 1799)


def test_where_no_angle_is_right_there_is_no_edge():
    assert np.isnan(edge(THETA, psi(THETA, 1.0, 0.0, 0.3))[:400]).all()


def test_the_picture_is_written_and_small(tmp_path):
    command = [sys.executable, str(TOOL), "--out", str(tmp_path / "a.png")]
    subprocess.run(command, check=True, capture_output=True, cwd=ROOT, env={"PYTHONPATH": str(ROOT)})
    assert (tmp_path / "a.png").read_bytes()[:4] == b"\x89PNG" and (tmp_path / "a.png").stat().st_size < 80_000
    failed = subprocess.run([*command, "--m1", "0.5"], check=False, capture_output=True, text=True, cwd=ROOT,
                            env={"PYTHONPATH": str(ROOT)})
    assert failed.returncode == 1 and "--m1 0.5 must be at least 1" in failed.stderr
