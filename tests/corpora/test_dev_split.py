"""Held-out speakers and the trials made from them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wespk.corpora.dev_split import MAX_UTTERANCES, make_trials, split
from wespk.corpora.registry import Utterance
from wespk.utils.errors import InputError


def corpus_of(*sessions):
    """One speaker for each argument, a list of numbers of utterances by session."""
    made = {}
    for speaker, counts in enumerate(sessions):
        for session, count in enumerate(counts):
            for number in range(count):
                name, place = f"id1{speaker:04d}", f"session{session:03d}"
                made[f"{name}-{place}-{number:05d}"] = Utterance(name, place, f"/{name}/{place}/{number}.wav")
    return made


def speakers(utterances):
    return {u.speaker for u in utterances.values()}


def test_no_speaker_is_on_both_sides_and_none_is_lost():
    everyone = corpus_of(*[[3, 2]] * 20)
    train, dev = split(everyone, 5, seed=1)
    assert len(speakers(dev)) == 5 and speakers(train) | speakers(dev) == speakers(everyone)
    assert not speakers(train) & speakers(dev)
    assert len(train) + len(dev) == len(everyone)


def test_the_seed_decides_who_is_held_out():
    everyone = corpus_of(*[[3]] * 50)
    assert split(everyone, 10, seed=1) == split(everyone, 10, seed=1)
    assert speakers(split(everyone, 10, seed=1)[1]) != speakers(split(everyone, 10, seed=2)[1])


def test_speakers_of_one_utterance_are_never_held_out():
    everyone = corpus_of(*[[1]] * 30, [2], [1, 1], [2])
    assert speakers(split(everyone, 2, seed=3)[1]) <= {"id10030", "id10031", "id10032"}


def test_zero_holds_nobody_out():
    everyone = corpus_of([2], [2])
    assert split(everyone, 0, seed=1) == (everyone, {})


@pytest.mark.parametrize(
    "sessions, number, message",
    [
        ([[2]] * 10, 9, "10 training speakers, 10 of them with two or more utterances.*at most 8"),
        ([[2]] * 3 + [[1]] * 10, 4, "13 training speakers, 3 of them.*at most 3"),
        ([[2]] * 10, 1, "give 0 or at least 2"),
        ([[2]] * 10, -3, "give 0 or at least 2"),
    ],
)
def test_a_number_that_cannot_be_held_out_is_refused(sessions, number, message):
    with pytest.raises(InputError, match=f"--dev-speakers {number}: .*{message}"):
        split(corpus_of(*sessions), number, seed=1)


def test_a_large_speaker_is_thinned_evenly_over_sessions():
    dev = split(corpus_of(*[[100, 3, 50]] * 4), 2, seed=1)[1]
    for speaker in speakers(dev):
        kept = [u.session for u in dev.values() if u.speaker == speaker]
        assert len(kept) == MAX_UTTERANCES and kept.count("session001") == 3
        assert abs(kept.count("session000") - kept.count("session002")) <= 1


@settings(max_examples=40, deadline=None)
@given(
    sessions=st.lists(st.lists(st.integers(1, 4), min_size=1, max_size=3), min_size=2, max_size=8),
    limit=st.integers(2, 60),
    seed=st.integers(0, 5),
)
def test_trials_are_balanced_distinct_and_right(sessions, limit, seed):
    sessions[0] = [2]
    sessions[1] = [1, 1]
    utterances = corpus_of(*sessions)
    enroll, test, labels = make_trials(utterances, seed, limit)
    assert 2 <= len(labels) <= limit and labels.sum() * 2 == len(labels)
    assert len({frozenset(pair) for pair in zip(enroll, test)}) == len(labels)
    for a, b, label in zip(enroll, test, labels):
        assert a != b and (utterances[a].speaker == utterances[b].speaker) == (label == 1)
    again = make_trials(utterances, seed, limit)
    assert (enroll, test, labels.tolist()) == (again[0], again[1], again[2].tolist())


def test_targets_are_across_sessions_where_a_speaker_has_several():
    utterances = corpus_of([4, 4], [1, 2], [5])
    enroll, test, labels = make_trials(utterances, seed=1)
    for a, b, label in zip(enroll, test, labels):
        if label and utterances[a].speaker != "id10002":
            assert utterances[a].session != utterances[b].session


def test_the_list_is_bounded_and_shared_evenly_among_speakers():
    utterances = corpus_of(*[[16, 16]] * 10)
    enroll, _, labels = make_trials(utterances, seed=1, max_trials=1000)
    assert len(labels) == 1000
    targets = [utterances[a].speaker for a, label in zip(enroll, labels) if label]
    assert {targets.count(speaker) for speaker in set(targets)} == {50}


def test_a_set_without_any_pair_is_refused():
    with pytest.raises(InputError, match="no trials can be made"):
        make_trials(corpus_of([1], [1]), seed=1)


def test_when_nontargets_run_out_the_targets_are_cut_to_their_number():
    utterances = corpus_of([12], [2])  # 67 pairs of one speaker, 24 of two
    _, _, labels = make_trials(utterances, seed=1)
    assert labels.sum() * 2 == len(labels) and len(labels) <= 48


def test_joined_utterances_that_share_a_session_are_not_across_sessions():
    sessions = {"x": "a+b", "y": "b+c", "z": "c"}
    made = {f"{speaker}-{key}": Utterance(speaker, session, "") for speaker in ("s", "t") for key, session in sessions.items()}
    enroll, test, labels = make_trials(made, seed=1)
    assert {frozenset((a[2:], b[2:])) for a, b, target in zip(enroll, test, labels) if target} == {frozenset("xz")}


def test_utterances_joined_of_two_sessions_count_for_both():
    """Of a, b and c each session has its share, which a third kind of utterance, a+b, does not lessen for c."""
    everyone = corpus_of([5], [5], [5])
    for session in ("a", "b", "c", "a+b"):
        for number in range(40):
            everyone[f"id10009-{session}-{number:05d}"] = Utterance("id10009", session, f"/{session}/{number}.wav")
    held_out = ([u.session for u in split(everyone, 2, seed)[1].values() if u.speaker == "id10009"] for seed in range(8))
    drawn = [kept for kept in held_out if kept]
    assert drawn and all(len(kept) == MAX_UTTERANCES and 11 <= kept.count("c") <= 15 for kept in drawn)
