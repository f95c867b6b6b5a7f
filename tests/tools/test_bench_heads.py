"""The benchmark of classification heads runs, on sizes that mean nothing."""

import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).resolve().parents[2] / "tools" / "bench" / "heads.py"


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peak memory is read from Linux's /proc")
def test_every_number_of_classes_gets_a_row_and_both_sides_agree():
    run = subprocess.run([sys.executable, str(BENCH), "--classes", "50,80", "--batch", "4", "--dim", "8", "--block", "16",
                          "--rounds", "1"], capture_output=True, text=True, check=True)
    rows = [line.split() for line in run.stdout.splitlines()[2:]]
    assert [row[0] for row in rows] == ["50", "80"] and all(float(row[-1]) < 1e-6 for row in rows)
