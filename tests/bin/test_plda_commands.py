"""train_plda and score_plda through their command lines: folders in, Kaldi's files and scores out, clear errors."""

import json

import numpy as np
import pytest

from tests.bin.test_scoring_commands import run
from tests.scoring.conftest import every_pair, random_set, write_set
from wespk.bin.score_plda import score_plda
from wespk.bin.train_plda import train_plda
from wespk.io.parameters import read_array64, read_plda
from wespk.io.tables import Trials, join_labels, read_scores, write_table, write_trials
from wespk.metrics import eer
from wespk.scoring.plda import ClassStatistics, Plda, estimate


@pytest.fixture
def place(tmp_path):
    """Embeddings of 40 training and 10 evaluation speakers, 6 values each, and a trial list of every pair."""
    training, evaluation = random_set("t", 40, 6, dim=6, seed=4), random_set("e", 10, 4, dim=6, seed=3)
    write_set(tmp_path / "train", *training)
    write_set(tmp_path / "eval", *evaluation)
    write_trials(tmp_path / "hard", every_pair(evaluation[1]))
    return tmp_path


def train(place, **changes):
    options = {"embeddings": place / "train/xvector.scp", "utt2spk": place / "train/utt2spk", "out_dir": place / "plda"}
    return run(train_plda, **{**options, **changes})


def score(place, **changes):
    options = {"trials": place / "hard", "embeddings": place / "eval/xvector.scp", "backend": place / "plda",
               "out": place / "hard.plda"}  # fmt: skip
    return run(score_plda, **{**options, **changes})


def error_rate(place):
    return eer(*join_labels(place / "hard.plda", place / "hard"))


def test_the_files_are_those_of_the_chain_worked_out_by_hand(place):
    assert train(place, length_norm="true", whiten="true") == 0
    vectors, _ = random_set("t", 40, 6, dim=6, seed=4)
    matrix = np.array([vectors[key] for key in sorted(vectors)], dtype=float)
    mean = matrix.mean(axis=0)
    assert read_array64(place / "plda/mean.vec") == pytest.approx(mean)
    whiten = read_array64(place / "plda/transform.mat")
    prepared = (matrix - mean) @ whiten.T
    assert prepared.T @ prepared / 240 == pytest.approx(np.eye(6), abs=1e-9)
    prepared *= np.sqrt(6) / np.linalg.norm(prepared, axis=1, keepdims=True)
    expected = estimate(ClassStatistics(40, 6).add(prepared, np.repeat(np.arange(40), 6)))
    assert read_plda(place / "plda/plda")[2] == pytest.approx(expected.psi)
    about = json.loads((place / "plda/backend.json").read_text())
    assert about["speakers"] == 40 and about["whiten"] and about["lda_dim"] == 0


@pytest.mark.parametrize("options", [{}, {"lda_dim": 4, "text": "true"}, {"length_norm": "false"},
                                     {"lda_dim": 5, "whiten": "true", "smoothing": 0.1}], ids=str)  # fmt: skip
def test_speakers_are_told_apart_with_every_preparation(place, options):
    assert train(place, **options) == 0 and score(place) == 0
    assert error_rate(place) < 0.25  # of chance: 0.5
    kept = read_scores(place / "hard.plda")[2]
    assert score(place, length_norm="false") == 0
    assert not np.allclose(kept, read_scores(place / "hard.plda")[2])


@pytest.mark.parametrize("adaptation", ["kaldi", "coral"])
def test_adaptation_helps_in_another_domain(place, adaptation):
    """The other domain: shifted, and with three directions that carry a session's noise instead of the speaker."""
    vectors, utt2spk = random_set("e", 20, 4, dim=6, seed=3)
    noise = np.random.default_rng(0)
    strange = {key: v + 5 + np.r_[np.zeros(3), noise.normal(size=3) * 4] for key, v in vectors.items()}
    write_set(place / "eval", strange, utt2spk)
    write_trials(place / "hard", every_pair(utt2spk))
    assert train(place) == 0 and score(place) == 0
    before = error_rate(place)
    options = {"within_scale": 1, "between_scale": 0, "mean_diff_scale": 0} if adaptation == "kaldi" else {}
    assert train(place, adapt_embeddings=place / "eval/xvector.scp", adaptation=adaptation, **options) == 0
    assert score(place) == 0
    assert error_rate(place) < before - 0.05


@pytest.mark.parametrize("length_norm", [False, True])
def test_an_enrolment_of_several_utterances_is_their_mean_and_counts_as_so_many(place, length_norm):
    assert train(place, length_norm="false") == 0
    vectors = random_set("e", 10, 4, dim=6, seed=3)[0]
    keys = sorted(vectors)
    write_table(place / "models", {"m3": " ".join(keys[:3]), "m1": keys[4]})
    write_trials(place / "list", Trials(["m3", "m1"], [keys[3], keys[3]], None))
    assert score(place, trials=place / "list", models=place / "models", length_norm=str(length_norm)) == 0
    mean, plda = read_array64(place / "plda/mean.vec"), Plda(*read_plda(place / "plda/plda"))
    averages = np.array([np.mean([vectors[key] for key in keys[:3]], axis=0), vectors[keys[4]]]) - mean
    test = plda.project(vectors[keys[3]][None] - mean, 1, length_norm)
    counts, rows = np.array([3, 1]), (np.array([0, 1]), np.array([0, 0]))
    expected = plda.log_ratios(plda.project(averages, counts, length_norm), counts, test, *rows)
    assert read_scores(place / "hard.plda")[2] == pytest.approx(expected, rel=1e-5)


def test_a_speakerless_utterance_and_options_that_cannot_be_met_are_refused(place, capsys):
    write_table(place / "short", {"t000-s0-000": "t000"})
    assert train(place, utt2spk=place / "short") == 1
    assert "no speaker for 't000-s0-002'" in capsys.readouterr().err
    assert train(place, lda_dim=7) == 1
    assert "LDA to 7 dimensions: with 40 speakers and embeddings of 6 values it must be 1 to" in capsys.readouterr().err
    assert train(place, adaptation="corral") == 1
    assert "did you mean 'coral'" in capsys.readouterr().err


def test_fewer_speakers_than_dimensions_are_warned_of_unless_lda_leaves_fewer(place, capsys):
    write_set(place / "train", *random_set("t", 6, 6, dim=6, seed=4))
    assert train(place) == 0
    (warning,) = [line for line in capsys.readouterr().err.splitlines() if "WARNING" in line]
    assert "PLDA of 6 dimensions is learnt from 6 speakers" in warning and "--lda-dim 3 for instance" in warning
    assert "at most 5" in warning
    assert train(place, lda_dim=3) == 0 and "WARNING" not in capsys.readouterr().err
    write_set(place / "train", *random_set("t", 7, 6, dim=6, seed=4))
    assert train(place) == 0 and "WARNING" not in capsys.readouterr().err


def test_options_of_an_adaptation_that_is_not_made_are_refused(place, capsys):
    for changes, says in (({"adaptation": "coral"}, "--adaptation is about adaptation: give --adapt-embeddings"),
                          ({"coral_ridge": 0.1, "adapt_embeddings": "x"}, "--coral-ridge is for --adaptation coral"),
                          ({"within_scale": 0.1, "adapt_embeddings": "x", "adaptation": "coral"}, "is for --adaptation kaldi")):
        assert train(place, **changes) == 1 and says in capsys.readouterr().err


@pytest.mark.parametrize("changes, says", [
    ({"iterations": 0}, "--iterations must be 1 or more, but is 0"), ({"lda_dim": -1}, "--lda-dim must be 0 or more"),
    ({"smoothing": "nan"}, "--smoothing must be 0 or more, but is nan"),
    ({"coral_ridge": "-1", "adapt_embeddings": "x", "adaptation": "coral"}, "--coral-ridge must be 0 or more, but is -1"),
])  # fmt: skip
def test_values_out_of_range_are_named_without_any_file(tmp_path, capsys, changes, says):
    assert train(tmp_path, check="true", **changes) == 1 and says in capsys.readouterr().err
    assert train(tmp_path, check="true") == 0 and not list(tmp_path.iterdir())


def test_a_folder_that_is_not_whole_or_of_another_model_is_refused(place, capsys):
    assert score(place) == 1
    assert "plda/backend.json: cannot be read" in capsys.readouterr().err
    train(place, lda_dim=4)
    (place / "plda/transform.mat").unlink()
    assert score(place) == 1
    assert "transform.mat: no such file" in capsys.readouterr().err
    train(place)
    write_set(place / "eval", *random_set("e", 10, 4, dim=5, seed=3))
    assert score(place) == 1
    assert "embeddings of 5 values, but those that PLDA was trained on have 6" in capsys.readouterr().err
    train(place)
    train(place, lda_dim=4, out_dir=place / "other")
    (place / "plda/plda").write_bytes((place / "other/plda").read_bytes())
    assert score(place) == 1
    assert "mean.vec, transform.mat and plda are not of one training" in capsys.readouterr().err
    (place / "plda/plda").write_bytes(b"")
    assert score(place) == 1
    assert "plda/plda: is not a PLDA model" in capsys.readouterr().err
