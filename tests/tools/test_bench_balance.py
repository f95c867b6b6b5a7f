"""The benchmark of balanced losses runs, on sizes that mean nothing."""


def test_every_side_gets_its_row_and_goes_back_as_its_weights_say(bench, capsys):
    module = bench("balance")
    module.bench(classes=5, batch="2,4", frames=12, channels=16, rounds=1)
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[2:]]
    assert [row[:2] for row in rows] == [[batch, side] for batch in "24" for side in module.SIDES] and len(rows) == 10
    assert all(float(row[-1]) < 1e-5 for row in rows)
