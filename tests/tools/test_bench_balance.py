"""The benchmark of balanced losses runs, on sizes that mean nothing."""

import importlib.util

from tests.conftest import ROOT


def test_every_side_gets_its_row_and_goes_back_as_its_weights_say(capsys):
    spec = importlib.util.spec_from_file_location("bench_balance", ROOT / "tools" / "bench" / "balance.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.bench(classes=5, batch=4, frames=12, channels=16, rounds=1)
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[2:]]
    assert [row[0] for row in rows] == list(module.SIDES) and len(rows) == 5
    assert all(float(row[-1]) < 1e-5 for row in rows)
