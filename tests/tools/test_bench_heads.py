"""The benchmark of classification heads runs, on sizes that mean nothing."""

import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).resolve().parents[2] / "tools" / "bench" / "heads.py"


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peak memory is read from Linux's /proc")
def test_every_number_of_classes_gets_its_rows_all_sides_agree_and_what_does_not_fit_is_skipped():
    run = subprocess.run([sys.executable, str(BENCH), "--classes", "81,1000000000000", "--batch", "5", "--dim", "8",
                          "--block", "16", "--rounds", "1", "--processes", "2"], capture_output=True, text=True, check=True)
    rows = [line.split() for line in run.stdout.splitlines()[2:]]
    assert [row[:2] for row in rows[:3]] == [["81", side] for side in ("dense", "blocked", "split")]
    assert all(float(row[-1]) < 1e-6 for row in rows[:3])
    assert [" ".join(row[1:]) for row in rows[3:]] == ["dense skipped, would take 288000.0 GB",
                                                       "blocked skipped, would take 128000.0 GB",
                                                       "split skipped, would take 192000.0 GB"]
