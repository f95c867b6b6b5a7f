"""Enrolments made of several utterances: what their vector is, and what is refused."""

import numpy as np
import pytest

from tests.scoring.conftest import random_set, write_set
from wespk.bin.score_norm import score_norm
from wespk.io.tables import Trials, read_scores, write_scores, write_table
from wespk.scoring import backend
from wespk.scoring.cosine import score_trials
from wespk.scoring.evaluation import speakers_behind
from wespk.scoring.vectors import Sides
from wespk.utils.errors import InputError

UTTERANCES = {"e000-model": ["e000-s0-000", "e000-s1-001"], "e001-s0-000": ["e001-s1-001"],
              "e002-model": ["e002-s0-000", "e002-s1-001", "e002-s0-002"]}  # fmt: skip


@pytest.fixture
def models(tmp_path):
    """The path of a table of ``UTTERANCES``."""
    (tmp_path / "models").write_text("".join(f"{key} {' '.join(ids)}\n" for key, ids in UTTERANCES.items()))
    return str(tmp_path / "models")


def unit(vector):
    return vector / np.linalg.norm(vector)


def average(key, vectors, mean):
    return unit(np.mean([unit(vectors[name].astype(float) - mean) for name in UTTERANCES[key]], axis=0))


def test_an_enrolment_is_the_mean_of_its_centred_normalised_utterances(make_set, eval_set, train_set, models):
    mean = np.mean([v.astype(float) for v in train_set[0].values()], axis=0)
    enroll, test = [*UTTERANCES, "e000-model"], ["e003-s0-000", "e001-s0-000", "e002-s1-003", "e000-s0-002"]
    scores = score_trials(enroll, test, make_set("eval", eval_set[0]), mean_embeddings=make_set("train", train_set[0]),
                          models=models)  # fmt: skip
    expected = [average(a, eval_set[0], mean) @ unit(eval_set[0][b] - mean) for a, b in zip(enroll, test)]
    assert scores == pytest.approx(expected, abs=5e-7)


def test_an_id_is_a_model_among_the_enrolments_and_an_utterance_among_the_tests(make_set, eval_set, models):
    sides = Sides(["e001-s0-000"], ["e001-s0-000"], make_set("eval", eval_set[0]), models=models)
    assert (sides.enroll_keys, sides.test_keys) == (["e001-s0-000"], ["e001-s0-000"])
    assert sides.enroll[0] == pytest.approx(unit(eval_set[0]["e001-s1-001"]), abs=1e-6)
    assert sides.test[0] == pytest.approx(unit(eval_set[0]["e001-s0-000"]), abs=1e-6)


def test_normalisation_treats_a_model_as_it_would_its_vector(tmp_path, eval_set, models):
    vectors, training = eval_set[0], random_set("t", 9, 3, seed=5)
    scp, train = write_set(tmp_path / "eval", vectors), write_set(tmp_path / "train", *training)
    own = write_set(tmp_path / "own", {key: average(key, vectors, 0) for key in UTTERANCES})
    enroll, test = ["e000-model", "e002-model", "e001-s0-000"] * 2, ["e000-s0-002", "e003-s0-000", "e004-s1-001"] * 2
    write_scores(tmp_path / "raw", enroll, test, score_trials(enroll, test, scp, models=models))
    for name, more in (("a", {"models": models}), ("b", {"enroll_embeddings": own})):
        score_norm(str(tmp_path / "raw"), scp, "none", train, str(tmp_path / name), top_n=4, **more)
    ours, theirs = (read_scores(tmp_path / name)[2] for name in "ab")
    assert ours == pytest.approx(theirs, abs=1e-4) and len(set(ours)) == 3


def test_an_enrolment_without_a_line_or_an_utterance_without_an_embedding_is_named(
    make_set, eval_set, models, tmp_path
):
    scp = make_set("eval", eval_set[0])
    with pytest.raises(
        InputError, match="models: no line for the enrolment 'e003-s0-000'; give the table that belongs"
    ):
        score_trials(["e000-model", "e003-s0-000"], ["e001-s0-000"] * 2, scp, models=models)
    (tmp_path / "models").write_text("e000-model e000-s0-000 e000-s9-999\n")
    with pytest.raises(InputError, match="no embedding of 'e000-s9-999'"):
        score_trials(["e000-model"], ["e001-s0-000"], scp, models=models)


def test_utterances_that_cancel_out_are_named(make_set, models):
    vectors = {"e001-s1-001": [1.0, 1.0], "e000-s0-000": [0.0, 2.0], "e000-s1-001": [0.0, -1.0]}
    with pytest.raises(
        InputError, match="averages over the utterances of .*: the embedding of 'e000-model' is all zeros"
    ):
        score_trials(["e000-model"], ["e001-s1-001"], make_set("eval", vectors), models=models)


def test_a_model_of_a_training_speaker_is_found_out_by_its_utterances(tmp_path, eval_set, models):
    vectors, utt2spk = eval_set
    scp = write_set(tmp_path / "eval", vectors, utt2spk)
    training, speaker_of = random_set("t", 9, 3, seed=5)
    train = write_set(tmp_path / "train", training, {**speaker_of, "t000-s0-000": "e000"})
    (tmp_path / "models").write_text("someone e000-s0-000 e000-s1-001\n")
    write_scores(tmp_path / "raw", ["someone"], ["e003-s0-000"], [0.5])
    with pytest.raises(InputError, match="'e000-s0-000' of the trials and 'e000' of the cohort are one speaker"):
        score_norm(str(tmp_path / "raw"), scp, "none", train, str(tmp_path / "out"), models=models,
                   cohort_utt2spk=str(tmp_path / "train/utt2spk"), utt2spk=str(tmp_path / "eval/utt2spk"))  # fmt: skip


def test_the_speakers_behind_models_are_those_of_their_utterances(tmp_path):
    (tmp_path / "maps").mkdir()
    (tmp_path / "maps" / "list").write_text("someone a-1 a-2\nother b-1\n")
    trials = Trials(["someone", "other", "someone"], ["a-3", "b-2", "b-2"], None)
    speaker_of = {"a-1": "a", "a-2": "a", "a-3": "a", "b-1": "b", "b-2": "b"}
    (enroll, test), source = speakers_behind(trials, speaker_of, str(tmp_path / "trials" / "list"), tmp_path / "maps")
    assert (enroll, test, source) == ([0, 1, 0], [0, 1, 1], "from utt2spk")
    with pytest.raises(InputError, match="list: 'someone' has no speaker in the --utt2spk given; .* --models"):
        speakers_behind(trials, speaker_of, str(tmp_path / "trials" / "list"))
    with pytest.raises(InputError, match="'other' has no speaker"):  # a test is an utterance
        speakers_behind(trials._replace(test=["a-3", "other", "b-2"]), speaker_of, "list", tmp_path / "maps")


def test_a_plain_mean_is_of_the_embeddings_as_they_are(make_set, eval_set, train_set, models, tmp_path):
    mean = np.mean([v.astype(float) for v in train_set[0].values()], axis=0)
    scp, train = make_set("eval", eval_set[0]), make_set("train", train_set[0], train_set[1])
    enroll, test = [*UTTERANCES], ["e003-s0-000", "e001-s0-000", "e002-s1-003"]
    plain = {key: np.mean([eval_set[0][name].astype(float) for name in ids], axis=0) for key, ids in UTTERANCES.items()}
    scores = score_trials(enroll, test, scp, "", train, models, "plain")
    expected = [unit(plain[a] - mean) @ unit(eval_set[0][b] - mean) for a, b in zip(enroll, test)]
    assert scores == pytest.approx(expected, abs=5e-7)
    assert np.abs(scores - score_trials(enroll, test, scp, "", train, models)).max() > 1e-4
    own = make_set("own", plain)
    backend.train(train, str(tmp_path / "train/utt2spk"), backend.Options())[0].save(tmp_path / "plda", {})
    trained = backend.load(tmp_path / "plda")
    counted = {key: " ".join([key] * len(ids)) for key, ids in UTTERANCES.items()}  # PLDA counts the utterances of the same means
    write_table(tmp_path / "one", counted)
    found = backend.score_trials(trained, enroll, test, scp, "", models, True, "plain")
    assert found == pytest.approx(backend.score_trials(trained, enroll, test, scp, own, str(tmp_path / "one")), abs=1e-5)


@pytest.mark.parametrize("kind, table, says", [("mean", True, "'mean' is unknown.*known: normalised, plain"),
                                               ("plain", False, "plain is about .*give --models, or leave it out")])  # fmt: skip
def test_a_kind_of_mean_that_means_nothing_is_refused(make_set, eval_set, models, kind, table, says):
    with pytest.raises(InputError, match=f"--enroll-mean {says}"):
        score_trials(["e000-model"], ["e001-s0-000"], make_set("e", eval_set[0]), "", "none", models if table else "", kind)
