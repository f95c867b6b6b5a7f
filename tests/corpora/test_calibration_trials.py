"""Calibration trials among training speakers."""

import numpy as np
import pytest

from wespk.corpora.calibration_trials import calibration_set
from wespk.io.tables import write_table
from wespk.utils.errors import InputError


@pytest.fixture
def tables(tmp_path):
    """utt2spk and utt2sess of 30 speakers of three sessions of four utterances."""
    keys = [f"s{s:02d}-v{v}-{u}" for s in range(30) for v in range(3) for u in range(4)]
    write_table(tmp_path / "utt2spk", {key: key[:3] for key in keys})
    write_table(tmp_path / "utt2sess", {key: key[:6] for key in keys})
    return str(tmp_path / "utt2spk"), str(tmp_path / "utt2sess")


def test_no_utterance_meets_itself_no_pair_comes_twice_and_sessions_are_crossed(tables):
    chosen, _, (enroll, test, labels) = calibration_set(*tables)
    assert len({frozenset(pair) for pair in zip(enroll, test)}) == len(labels) > 100
    assert labels.sum() * 2 == len(labels)
    assert all(a != b for a, b in zip(enroll, test))
    assert {*enroll, *test} <= chosen.keys()
    assert [a[:3] == b[:3] for a, b in zip(enroll, test)] == (labels == 1).tolist()
    assert all(a[:6] != b[:6] for a, b in zip(enroll, test))


def test_the_cohort_shares_no_speaker_and_a_fifth_of_the_speakers_is_taken(tables):
    chosen, others, _ = calibration_set(*tables)
    assert len(set(chosen.values())) == 6
    assert {key[:3] for key in others}.isdisjoint(chosen.values()) and len(others) == 24 * 12


def test_the_seed_alone_decides(tables):
    one, again, other = (calibration_set(*tables, num_speakers=4, seed=seed) for seed in (1, 1, 2))
    assert one[:2] == again[:2] and one[2][:2] == again[2][:2] and np.array_equal(one[2][2], again[2][2])
    assert set(one[0].values()) != set(other[0].values())
    assert 40 <= len(calibration_set(*tables, max_trials=50)[2][2]) <= 50


def test_without_sessions_utterances_of_one_session_may_meet(tables):
    _, _, (enroll, test, _) = calibration_set(tables[0])
    assert any(a[:6] == b[:6] for a, b in zip(enroll, test))


def test_tables_that_do_not_fit_and_too_few_speakers_are_refused(tables, tmp_path):
    write_table(tmp_path / "short", {"s00-v0-0": "s00-v0"})
    with pytest.raises(InputError, match=r"short: no session for 's00-v0-1'"):
        calibration_set(tables[0], str(tmp_path / "short"))
    with pytest.raises(InputError, match=r"utt2spk: calibration speakers 29: .* so at most 28"):
        calibration_set(*tables, num_speakers=29)
    with pytest.raises(InputError, match="at least 2 trials"):
        calibration_set(*tables, max_trials=1)
