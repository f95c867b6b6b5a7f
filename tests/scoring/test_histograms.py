"""Histograms of score files: seeds of a system in one panel, with the measures of the tables in its title."""

import numpy as np
import pytest

from wespk.bin.plot_scores import plot_scores
from wespk.io.tables import Trials, write_scores, write_trials
from wespk.metrics import eer, overlap
from wespk.scoring.histograms import score_panels
from wespk.utils.errors import InputError


@pytest.fixture
def files(tmp_path):
    """(trial list, score files of two seeds, their scores, labels)."""
    draw = np.random.default_rng(0)
    labels = draw.integers(2, size=60)
    trials = Trials(*([f"{side}{i:02d}" for i in range(60)] for side in "ab"), labels)
    write_trials(tmp_path / "hard", trials)
    written, values = [], []
    for seed in (1, 2):
        values.append(np.round(labels + seed * draw.normal(size=60), 3))
        written.append(str(tmp_path / f"seed{seed}" / "hard.cosine"))
        write_scores(written[-1], trials.enroll, trials.test, values[-1])
    return str(tmp_path / "hard"), written, values, labels


def test_seeds_of_a_name_are_one_panel_and_its_measures_their_means(files):
    trials, written, values, labels = files
    panel, = score_panels(written, [trials] * 2)
    means = [np.mean([measure(v, labels) for v in values]) for measure in (overlap, eer)]
    assert panel["title"] == f"hard  cosine\noverlap {means[0]:.3f}, EER {100 * means[1]:.2f} %"
    assert panel["edges"][0] == min(map(np.min, values)) and len(panel["target"]) == 100
    width = panel["edges"][1] - panel["edges"][0]
    assert sum(panel["target"]) * width == pytest.approx(1, rel=1e-3)
    assert len(score_panels(written, [trials] * 2, ["one", "other"])) == 2


def test_the_command_takes_one_list_for_all_and_draws(files, tmp_path, capsys):
    trials, written, *_ = files
    plot_scores(",".join(written), trials, str(tmp_path / "out.png"), names="a,b")
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")
    assert "hard  b: overlap 0." in capsys.readouterr().out


def test_a_file_twice_or_without_its_list_is_refused(files):
    trials, written, *_ = files
    with pytest.raises(InputError, match="is given twice"):
        score_panels([written[0]] * 2, [trials] * 2)
    with pytest.raises(InputError, match="--scores has 2 files, --trials 1"):
        score_panels(written, [trials])
