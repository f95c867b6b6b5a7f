"""Cosine scoring: the right numbers, and no number at all for a bad embedding."""

import numpy as np
import pytest

from wespk.scoring import vectors
from wespk.scoring.cosine import cosine_scores, score_trials
from wespk.scoring.vectors import Sides, normalise, read_mean
from wespk.utils.errors import InputError


def by_hand(a, b, mean):
    a, b = a.astype(float) - mean, b.astype(float) - mean
    return a @ b / np.sqrt((a @ a) * (b @ b))


def trials_of(keys, number=60):
    draw = np.random.default_rng(0)
    return [[keys[i] for i in side] for side in draw.integers(len(keys), size=(2, number))]


@pytest.mark.parametrize("block", [1, 7, 1000])
def test_scores_are_cosines_after_subtracting_the_training_mean(make_set, eval_set, train_set, monkeypatch, block):
    monkeypatch.setattr(vectors, "BLOCK", block)
    enroll, test = trials_of(sorted(eval_set[0]))
    scores = score_trials(enroll, test, make_set("eval", eval_set[0]), mean_embeddings=make_set("train", train_set[0]))
    mean = np.mean([v.astype(float) for v in train_set[0].values()], axis=0)
    expected = [by_hand(eval_set[0][a], eval_set[0][b], mean) for a, b in zip(enroll, test)]
    assert scores == pytest.approx(expected, abs=5e-7)


def test_none_subtracts_nothing(make_set, eval_set):
    enroll, test = trials_of(sorted(eval_set[0]))
    scores = score_trials(enroll, test, make_set("eval", eval_set[0]), mean_embeddings="none")
    assert scores == pytest.approx([by_hand(eval_set[0][a], eval_set[0][b], 0) for a, b in zip(enroll, test)], abs=5e-7)


def test_scores_are_symmetric_to_the_last_bit_and_never_exceed_1(make_set, eval_set):
    scp = make_set("eval", eval_set[0])
    enroll, test = trials_of(sorted(eval_set[0]), 300)
    assert np.array_equal(score_trials(enroll, test, scp), score_trials(test, enroll, scp))
    table = normalise(np.random.default_rng(0).normal(size=(500, 64)).astype(np.float32), range(500))
    own = cosine_scores(table, table, np.arange(500), np.arange(500))
    assert np.einsum("nd,nd->n", table, table).max() > 1  # rounding; hence the clipping
    assert own.max() == 1 and own.min() > 1 - 1e-6


def test_enrolment_may_have_embeddings_of_its_own(make_set, eval_set):
    one, other = make_set("test", eval_set[0]), make_set("enroll", {"model": eval_set[0]["e000-s0-000"] * 3})
    scores = score_trials(["model"] * 2, ["e000-s0-000", "e001-s0-000"], one, other)
    assert scores == pytest.approx([1, by_hand(eval_set[0]["e000-s0-000"], eval_set[0]["e001-s0-000"], 0)], abs=1e-6)


def test_each_vector_is_held_once_however_many_trials_name_it(make_set, eval_set):
    sides = Sides(["e000-s0-000"] * 50, ["e001-s1-001"] * 50, make_set("eval", eval_set[0]))
    assert sides.enroll is sides.test and sides.enroll.shape == (2, 8)


def test_blocks_do_not_change_scores(monkeypatch):
    draw = np.random.default_rng(0)
    table = normalise(draw.normal(size=(20, 16)).astype(np.float32), [str(i) for i in range(20)])
    rows = draw.integers(20, size=(2, 1000))
    whole = cosine_scores(table, table, *rows)
    monkeypatch.setattr(vectors, "BLOCK", 13)
    assert np.array_equal(cosine_scores(table, table, *rows), whole)


@pytest.mark.parametrize("value, says", [(0.0, "is all zeros"), (np.nan, "is not finite"), (np.inf, "is not finite")])
@pytest.mark.parametrize("where", ["enroll", "test", "mean"])
def test_a_bad_embedding_is_named_wherever_it_is(make_set, eval_set, value, says, where):
    bad = dict(eval_set[0])
    bad["e002-s1-001"] = np.full(8, value)
    good, bad = make_set("good", eval_set[0]), make_set("bad", bad)
    files = {"enroll": (good, bad, "none"), "test": (bad, good, "none"), "mean": (good, "", bad)}[where]
    with pytest.raises(InputError) as error:
        score_trials(["e002-s1-001"], ["e002-s1-001"], *files)
    assert "'e002-s1-001'" in str(error.value) and says in str(error.value) and bad in str(error.value)


def test_bad_embeddings_that_no_trial_names_do_not_matter(make_set, eval_set):
    scp = make_set("eval", {**eval_set[0], "unused": np.zeros(8)})
    assert len(score_trials(["e000-s0-000"], ["e001-s0-000"], scp)) == 1


def test_an_embedding_that_is_the_mean_itself_is_named(make_set):
    scp = make_set("one", {"only": np.ones(4), "same": np.ones(4), "third": np.ones(4)})
    with pytest.raises(InputError, match="'only' is the mean that is subtracted"):
        score_trials(["only"], ["only"], scp, mean_embeddings=scp)


def test_ids_without_an_embedding_are_counted_and_the_first_named(make_set, eval_set):
    scp = make_set("eval", eval_set[0])
    with pytest.raises(InputError, match=r"no embedding of 'e100', which the trials name \(2 such ids\)"):
        score_trials(["e000-s0-000", "e101"], ["e100", "e101"], scp)


def test_embeddings_of_two_models_are_not_mixed(make_set, eval_set):
    scp, other = make_set("eval", eval_set[0]), make_set("other", {"e000-s0-000": np.ones(5)})
    for mean, enroll in ((other, ""), ("none", other)):
        with pytest.raises(InputError, match="one model"):
            score_trials(["e000-s0-000"], ["e000-s0-000"], scp, enroll, mean)


@pytest.mark.parametrize("block", [1, 100])
def test_one_file_of_two_models_is_refused_wherever_it_is_read(make_set, eval_set, monkeypatch, block):
    monkeypatch.setattr(vectors, "BLOCK", block)
    good, mixed = make_set("good", eval_set[0]), make_set("mixed", {**eval_set[0], "e003-s0-000": np.ones(5)})
    for mean, scp in ((mixed, good), ("none", mixed)):
        with pytest.raises(InputError, match="one model"):
            score_trials(["e000-s0-000"], ["e003-s0-000"], scp, mean_embeddings=mean)


def test_a_missing_mean_file_says_what_is_wanted(tmp_path):
    with pytest.raises(InputError, match="or 'none'"):
        read_mean(str(tmp_path / "nowhere.scp"))
