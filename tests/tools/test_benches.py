"""The benchmarks with two sides run, on sizes that mean nothing: every side its row, equal results, growth told."""

import re
from pathlib import Path

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peak memory is read from Linux's /proc")
NUMBER = re.compile(r"-?\d+(\.\d+)?(e[+-]\d+)?")


@pytest.mark.parametrize("name, options, sides", [
    ("fbank", {"utterances": "2,4"}, 4),
    ("ark_write", {"matrices": "2,4", "frames": 30}, 2 * 3),
    ("chunks", {"batches": "1,2", "utterances": 3}, 3),
    ("metrics", {"trials": "200,400"}, 2 * 2),
    ("bootstrap", {"trials": "200,400", "speakers": 5, "resamples": 2, "sorted": 1}, 3),
    ("extract", {"model": "ecapa512", "utterances": "2,3", "seconds": 0.5}, 2),
])
def test_every_side_gets_a_row_for_each_size(bench, capsys, name, options, sides):
    bench(name).bench(**options, rounds=1)
    printed = capsys.readouterr().out
    rows = [line for line in printed.splitlines() if re.match(r" +\d+ +[^\d\s].* \d+\.\d{4} ", line)]
    assert len(rows) == 2 * sides, printed
    exponents = [line.split()[-1] for line in rows]
    assert exponents.count("-") == sides and sum(bool(NUMBER.fullmatch(word)) for word in exponents) == sides


def test_contrastive_losses_tell_the_growth_of_both_ways(bench, capsys):
    bench("contrastive").bench(numbers="8,16", dim=4, classes=5, rounds=1)
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[2:]]
    assert len(rows) == 8 and all(float(row[-1]) < 1e-5 for row in rows)
    assert [len(row) for row in rows] == [10] * 4 + [11] * 4  # two exponents from the second size on


def test_training_without_labels_tells_the_growth_of_both_ways(bench, capsys):
    config = ROOT / "egs" / "voxceleb" / "selfsup" / "conf" / "minivox_sdpn.yaml"
    bench("without_labels").bench(config=str(config), batches="4,6", micro=2, rounds=1,
                                  set="crops.teacher_frames=24 crops.student_frames=16")  # fmt: skip
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[2:]]
    assert [row[0] for row in rows] == ["4", "6"] and len(rows[1]) == len(rows[0]) + 1


def test_cosine_scores_are_those_of_the_plain_loop(bench, tmp_path):
    cosine = bench("cosine")
    cosine.make(tmp_path / "data", 40, 8)
    assert len(cosine.ours(tmp_path / "data")) == 3
    cosine.plain_loop(tmp_path / "data")
    assert cosine._apart(tmp_path / "data") < 1e-6


def test_statistics_of_score_normalisation_are_those_of_a_full_sort(bench, tmp_path):
    score_norm = bench("score_norm")
    spent, apart = score_norm.against_sorting(6, 50, 8, 5, 1)
    assert list(spent) == ["wespk", "full sort"] and apart < 1e-6
    bench("cosine").make(tmp_path / "data", 40, 8)
    score_norm.make_scores(tmp_path / "data")
    score_norm.ours(tmp_path / "data", tmp_path / "data" / "train.scp", 5)
    assert len((tmp_path / "data" / "normed").read_text().splitlines()) == 40
    assert score_norm._line([1, 2, 4], [9, 3, 5], 8) == 9


def test_stage_2_writes_the_ark_of_its_parts(bench, tmp_path):
    import numpy as np
    import soundfile

    stage2 = bench("stage2")
    soundfile.write(tmp_path / "a.flac", 0.1 * np.random.default_rng(0).normal(size=8000), 16000)
    stage2.make_data(tmp_path / "data", [tmp_path / "a.flac"], 3)
    spent, equal, seconds = stage2.measure(tmp_path / "data", 1)
    assert list(spent) == ["whole", "decode", "fbank", "write"] and equal and seconds == 1.5
