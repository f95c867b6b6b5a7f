"""Curves of training: which records count, the mean over seeds, and what the command draws and refuses."""

import json

import pytest

from wespk.bin.plot_curves import plot_curves
from wespk.metrics.plots import curves_png
from wespk.scoring.curves import over_seeds, path_labels, read_curves
from wespk.utils.cli import main
from wespk.utils.errors import InputError


def noted(folder, *records):
    folder.mkdir(parents=True)
    (folder / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    return folder


def at(step, **figures):
    return {"step": step, "epoch": step / 10, **figures}


def test_a_step_noted_again_counts_once_and_what_has_no_epoch_takes_its_steps(tmp_path):
    exp = noted(tmp_path / "x", at(5, loss=3.0, name="text"), at(10, loss=2.0), {"step": 10, "dev_eer": 0.25},
                at(5, loss=2.5, weight=0.1), {"step": 7, "dev_eer": 0.5})  # fmt: skip
    assert read_curves(exp) == {"loss": {0.5: 2.5, 1.0: 2.0}, "dev_eer": {1.0: 0.25}, "weight": {0.5: 0.1}}
    assert list(read_curves(exp)["loss"]) == [0.5, 1.0]


def test_seeds_are_averaged_where_all_of_them_have_a_value():
    found = over_seeds([{0.5: 1.0, 1.0: 2.0}, {1.0: 4.0, 0.5: 1.0, 1.2: 9.0}])
    assert found == {"epochs": [0.5, 1.0], "mean": [1.0, 3.0], "sd": pytest.approx([0.0, 2**0.5])}
    assert over_seeds([{1: 2.0}]) == {"epochs": [1], "mean": [2.0], "sd": None}
    with pytest.raises(InputError, match="no epoch in common"):
        over_seeds([{0.5: 1.0}, {0.6: 1.0}])


@pytest.fixture
def systems(tmp_path):
    """The words of --experiments: two seeds of one system and one of another, with figures of two losses."""
    for system, seed in (("fixed", 1), ("fixed", 2), ("norm", 1)):
        records = [at(step, loss=step * seed, weight_a=0.1, lr=0.1) for step in (1, 2, 3)]
        noted(tmp_path / system / f"seed{seed}", *records)
    return ",".join(str(tmp_path / name) for name in ("fixed/seed1", "fixed/seed2", "norm/seed1"))


def call(capsys, status=0, **options):
    with pytest.raises(SystemExit) as ended:
        main(plot_curves, [word for name, value in options.items() for word in (f"--{name}", str(value))])
        raise SystemExit(0)
    assert (ended.value.code or 0) == status
    return capsys.readouterr()


def test_seeds_of_a_system_share_a_line_and_the_picture_does_not_depend_on_the_day(capsys, systems, tmp_path):
    said = call(capsys, experiments=systems, figures="loss,weight_a,lr", out=tmp_path / "one.png").out
    assert "loss, weight_a, lr of fixed (2), norm (1)" in said
    picture = (tmp_path / "one.png").read_bytes()
    assert picture.startswith(b"\x89PNG")
    call(capsys, experiments=systems, figures="loss,weight_a,lr", labels="fixed,fixed,norm", out=tmp_path / "two.png")
    assert (tmp_path / "two.png").read_bytes() == picture
    (tmp_path / "level").mkdir()
    (tmp_path / "fixed").rename(tmp_path / "level/norm")
    said = call(capsys, experiments=systems.replace("fixed", "level/norm"), figures="loss", out=tmp_path / "two.png").out
    assert f"loss of level/norm (2), {tmp_path.name}/norm (1)" in said
    (tmp_path / "level/norm").rename(tmp_path / "fixed")
    said = call(capsys, experiments=systems, figures="loss", labels="A,B,C", out=tmp_path / "two.png", title="T").out
    assert "loss of A (1), B (1), C (1)" in said


@pytest.mark.parametrize("folders, labels", [
    ("g/aam/seed1 g/aam/seed2 g/sf2/seed1", "aam aam sf2"),
    ("g/aam/u10/seed1 g/sf2/u10/seed1 g/sf2/u20/seed1", "aam/u10 sf2/u10 sf2/u20"),
    ("g/aam/seed1 g/aam/seed1-lm g/aam/seed2-lm", "aam aam-lm aam-lm"),
    ("g/aam/seed1 h/aam/seed1", "g/aam h/aam"),
    ("exp/ecapa exp/seeds x/../exp/ecapa2", "ecapa seeds ecapa2"),
])  # fmt: skip
def test_different_systems_have_different_labels_and_seeds_of_one_the_same(folders, labels):
    assert path_labels([f"/top/{folder}" for folder in folders.split()]) == labels.split()


def test_what_no_path_tells_apart_asks_for_labels():
    with pytest.raises(InputError, match="two systems would be called /g/aam-lm: .*; give --labels"):
        path_labels(["/g/aam/seed1-lm", "/g/aam-lm/seed1"])


def test_the_band_is_drawn_where_there_are_seeds():
    line = {"label": "a", "epochs": [0, 1], "mean": [1.0, 2.0]}
    with_band, without = (curves_png([{"figure": "f", "lines": [{**line, "sd": sd}]}]) for sd in ([0.5, 0.5], None))
    assert with_band != without


@pytest.mark.parametrize("changes, says", [
    ({"figures": "loss,wieght_a"}, "no figure 'wieght_a' (did you mean 'weight_a'?); there is: loss, lr, weight_a"),
    ({"experiments": "/no/such"}, "/no/such/metrics.jsonl: there is no such file; training (stage 3) writes it"),
    ({"labels": "a,b"}, "--labels has 2 names for 3 experiments"),
    ({"figures": ","}, "--experiments and --figures need one name at least"),
])  # fmt: skip
def test_what_cannot_be_drawn_is_refused_and_nothing_written(capsys, systems, tmp_path, changes, says):
    out = tmp_path / "x.png"
    errors = call(capsys, status=1, **{"experiments": systems, "figures": "loss", "out": out, **changes}).err
    assert says in errors and not out.exists()


def test_a_folder_given_twice_is_refused(capsys, systems, tmp_path):
    again = f"{systems},{tmp_path}/norm/../fixed/seed1"
    for labels in ("", "A,B,C,D"):
        errors = call(capsys, status=1, experiments=again, figures="loss", labels=labels, out=tmp_path / "x.png").err
        assert "norm/../fixed/seed1 is given twice" in errors and not (tmp_path / "x.png").exists()


def test_a_damaged_line_is_named(tmp_path):
    exp = noted(tmp_path / "x", at(1, loss=1))
    with open(exp / "metrics.jsonl", "a") as file:
        file.write('{"step"')
    with pytest.raises(InputError, match=r"metrics.jsonl:2: not a line of JSON"):
        read_curves(exp)


@pytest.mark.parametrize("line", ["null", "[1]", '{"epoch": 1}', '{"step": null}', '{"step": 2, "epoch": [1]}'])
def test_a_line_that_is_no_record_is_named(tmp_path, line):
    exp = noted(tmp_path / "x", at(1, loss=1), json.loads(line))
    with pytest.raises(InputError, match=r"metrics.jsonl:2: not what training notes"):
        read_curves(exp)
