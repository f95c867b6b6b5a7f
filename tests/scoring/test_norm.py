"""Score normalisation against nested loops, its invariances, its cohorts and its refusals."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.metrics.metric_oracles import UNHURRIED
from wespk.io.tables import read_table
from wespk.scoring import norm
from wespk.scoring.cohort import Cohort
from wespk.scoring.norm import as_norm, cohort_statistics, norm_trials, s_norm, t_norm, z_norm
from wespk.scoring.vectors import Sides, read_mean
from wespk.utils.errors import InputError


def loops(scores, enrol_cohort, test_cohort, top_n):
    """as-norm by two nested loops in Python floats."""
    normalised = []
    for score, *sides in zip(scores, enrol_cohort, test_cohort):
        total = 0.0
        for side in sides:
            best = sorted((float(x) for x in side), reverse=True)[:top_n]
            mean = sum(best) / len(best)
            deviation = (sum((x - mean) ** 2 for x in best) / len(best)) ** 0.5
            total += (float(score) - mean) / deviation / 2
        normalised.append(total)
    return normalised


def example(trials=9, enrol=20, test=31, seed=0):
    draw = np.random.default_rng(seed)
    return draw.normal(size=trials), draw.normal(size=(trials, enrol)), draw.normal(size=(trials, test))


@pytest.mark.parametrize("top_n", [2, 7, 20, 25, 1000])
def test_as_norm_is_two_nested_loops(top_n):
    scores, enrol, test = example()
    before = enrol.copy()
    assert as_norm(scores, enrol, test, top_n) == pytest.approx(loops(scores, enrol, test, top_n), rel=1e-12)
    assert np.array_equal(enrol, before)


def test_as_norm_keeps_300_by_default():
    scores, enrol, test = example(3, 400, 350)
    assert as_norm(scores, enrol, test) == pytest.approx(loops(scores, enrol, test, 300), rel=1e-12)


def test_as_norm_in_float32_loses_no_more_than_float32_does():
    scores, enrol, test = (x.astype(np.float32) for x in example(20, 500, 500))
    before = enrol.copy()
    as_norm(scores, enrol, test, 5)
    assert np.array_equal(enrol, before)
    assert as_norm(scores, enrol + 5, test + 5, 100) == pytest.approx(loops(scores, enrol + 5, test + 5, 100), rel=1e-5)


def test_z_t_and_s_norm_use_the_whole_cohort_of_their_sides():
    scores, enrol, test = example()
    z = (scores - enrol.mean(axis=1)) / enrol.std(axis=1)
    t = (scores - test.mean(axis=1)) / test.std(axis=1)
    assert z_norm(scores, enrol) == pytest.approx(z)
    assert t_norm(scores, test) == pytest.approx(t)
    assert s_norm(scores, enrol, test) == pytest.approx((z + t) / 2)


@UNHURRIED
@given(st.integers(0, 2**32 - 1), st.floats(0.01, 100), st.floats(-50, 50), st.integers(2, 30))
def test_scaling_and_shifting_all_scores_together_changes_nothing(seed, scale, shift, top_n):
    scores, enrol, test = example(seed=seed)
    moved = as_norm(*(scale * x + shift for x in (scores, enrol, test)), top_n)
    assert moved == pytest.approx(as_norm(scores, enrol, test, top_n), rel=1e-6, abs=1e-6)


@UNHURRIED
@given(st.integers(0, 2**32 - 1))
def test_swapping_the_sides_changes_nothing(seed):
    scores, enrol, test = example(seed=seed)
    assert as_norm(scores, test, enrol, 5) == pytest.approx(as_norm(scores, enrol, test, 5), rel=1e-12)


@pytest.mark.parametrize("cohort", [
    np.full((2, 5), 0.1), np.full((2, 5), 0.1, np.float32), np.zeros((2, 5)), np.ones((2, 1)),
])  # fmt: skip
def test_a_cohort_without_spread_is_refused(cohort):
    for top_n in (3, 300):
        with pytest.raises(InputError, match="row 0 of enrol_cohort are all equal"):
            as_norm(np.zeros(2), cohort, np.eye(2, 5), top_n)


def test_what_cannot_be_normalised_is_refused():
    scores, enrol, test = example()
    broken = test.copy()
    broken[4, 3] = np.nan
    for arguments, says in (
        ((scores, enrol, broken, 5), "row 4 of test_cohort"),
        ((scores, enrol, broken, None), "row 4 of test_cohort"),
        ((np.where(scores == scores[2], np.nan, scores), enrol, test, 5), "score 3 is not finite"),
        ((scores[:1], enrol, test, 5), "same trials"),
        ((scores, enrol[0], test, 5), "trials by cohort"),
        ((scores, enrol[:, :0], test, 5), "trials by cohort"),
        ((scores, enrol, test, 0), "top_n must be at least 1"),
        ((scores, enrol, test, 1), "top_n of 2 or more"),
    ):
        with pytest.raises(InputError) as error:
            as_norm(*arguments)
        assert says in str(error.value)


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@UNHURRIED
@given(st.integers(1, 9), st.integers(1, 40), st.sampled_from([None, 2, 3, 10, 35, 99]), st.integers(2, 40))
def test_blocked_statistics_equal_a_full_sort_for_any_block_sizes(rows, columns, top_n, size):
    draw = np.random.default_rng([rows, columns, size])
    vectors, cohort = unit(draw.normal(size=(7, 6))), unit(draw.normal(size=(size, 6)))
    best = np.sort(vectors.astype(float) @ cohort.T.astype(float), axis=1)[:, -(top_n or size) :]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(norm, "ROWS", rows)
        patch.setattr(norm, "COLUMNS", columns)
        mean, deviation = cohort_statistics(vectors, cohort, list("abcdefg"), top_n)
    assert mean == pytest.approx(best.mean(axis=1), abs=1e-6)
    assert deviation == pytest.approx(best.std(axis=1), abs=2e-6)


def test_a_cohort_of_equal_vectors_is_refused_with_the_id(train_set):
    vectors = unit(np.random.default_rng(0).normal(size=(3, 8)))
    for top_n in (None, 2):
        with pytest.raises(InputError, match="cohort scores of b are all equal"):
            cohort_statistics(vectors, vectors[[0] * 5], ["a", "b", "c"], top_n, rows=np.array([1, 2]))


def test_trials_are_normalised_as_by_hand_from_files(make_set, eval_set, train_set):
    scp, cohort_scp = make_set("eval", eval_set[0]), make_set("train", *train_set)
    mean = read_mean(cohort_scp)
    keys = sorted(eval_set[0])
    enroll, test = [keys[i] for i in (0, 3, 3, 9, 11)], [keys[i] for i in (5, 4, 0, 20, 1)]
    sides = Sides(enroll, test, scp, mean=mean)
    scores = np.array([0.3, 0.1, -0.2, 0.5, 0.0])
    cohort = Cohort(cohort_scp, mean).vectors
    e, t = ([sides.enroll[sides.enroll_keys.index(k)] @ cohort.T for k in ids] for ids in (enroll, test))
    for method, expected in {
        "asnorm": as_norm(scores, e, t, 7),
        "snorm": s_norm(scores, e, t),
        "znorm": z_norm(scores, e),
        "tnorm": t_norm(scores, t),
    }.items():
        assert norm_trials(method, scores, sides, cohort, 7) == pytest.approx(expected, rel=1e-4)
        apart = Sides(enroll, test, scp, make_set("models", {k: eval_set[0][k] for k in enroll}), mean)
        assert norm_trials(method, scores, apart, cohort, 7) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("block", [3, 7, 1000])
def test_speaker_cohort_is_the_mean_of_centred_normalised_embeddings(make_set, train_set, monkeypatch, block):
    vectors, utt2spk = train_set
    scp = make_set("train", vectors, utt2spk)
    mean = read_mean(scp)
    monkeypatch.setattr("wespk.scoring.vectors.BLOCK", block)
    cohort = Cohort(scp, mean, scp.replace("xvector.scp", "utt2spk"))
    assert cohort.speakers == sorted(set(utt2spk.values()))
    for speaker, row in zip(cohort.speakers, cohort.vectors):
        own = np.array([v for k, v in vectors.items() if utt2spk[k] == speaker]) - mean
        expected = (own / np.linalg.norm(own, axis=1, keepdims=True)).mean(axis=0)
        assert row == pytest.approx(expected / np.linalg.norm(expected), abs=1e-6)


def test_utterance_cohort_holds_every_utterance_in_any_blocks(make_set, train_set, monkeypatch):
    scp = make_set("train", train_set[0])
    whole = Cohort(scp).vectors
    monkeypatch.setattr("wespk.scoring.vectors.BLOCK", 7)
    assert np.array_equal(Cohort(scp).vectors, whole) and len(whole) == len(train_set[0])


@pytest.mark.parametrize("value", [0.0, np.nan])
@pytest.mark.parametrize("level", ["speaker", "utterance"])
def test_a_bad_embedding_in_the_cohort_is_named(make_set, train_set, value, level):
    vectors, utt2spk = train_set
    scp = make_set("train", {**vectors, "t003-s1-001": np.full(8, value)}, utt2spk)
    with pytest.raises(InputError, match="'t003-s1-001' is"):
        Cohort(scp, None, scp.replace("xvector.scp", "utt2spk") if level == "speaker" else "")


def test_a_cohort_utterance_without_a_speaker_is_named(make_set, train_set):
    vectors, utt2spk = train_set
    lost = {key: speaker for key, speaker in utt2spk.items() if key != "t003-s1-001"}
    scp = make_set("train", vectors, lost)
    with pytest.raises(InputError, match="no speaker for 't003-s1-001'"):
        Cohort(scp, None, scp.replace("xvector.scp", "utt2spk"))


@pytest.mark.parametrize("level", ["speaker", "utterance"])
def test_cohorts_with_evaluation_speakers_are_refused(make_set, train_set, level):
    scp = make_set("train", *train_set)
    table = scp.replace("xvector.scp", "utt2spk")
    cohort = Cohort(scp, None, table if level == "speaker" else "")
    cohort.check_apart(["e000-s0-000", "t-other", "t0035-s0-000"])
    cohort.check_apart(["e000-s0-000", "x"], {"e000-s0-000": "e000", "x": "y"})
    for ids, utt2spk in (
        (["e0", "t003-s1-001"], None),  # the very utterance
        (["e0", "t003-s1-001"], {"t003-s1-001": "elsewhere"}),
        (["e0", "somebody"], {"somebody": "t003"}),  # its speaker
    ):
        with pytest.raises(InputError, match="are one speaker"):
            cohort.check_apart(ids, utt2spk)
    assert read_table(table)["t003-s1-001"] == "t003"


def test_a_speaker_cohort_knows_its_speakers_in_unseen_utterance_ids(make_set, train_set):
    scp = make_set("train", *train_set)
    cohort = Cohort(scp, None, scp.replace("xvector.scp", "utt2spk"))
    with pytest.raises(InputError, match="'t003-s9-999' of the trials and 't003' of the cohort are one speaker"):
        cohort.check_apart(["t003-s9-999"])
