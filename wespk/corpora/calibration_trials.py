"""Trials for calibration, made from some of the training speakers; the others remain to be the cohort."""

from wespk.corpora.dev_split import MAX_TRIALS, make_trials, split
from wespk.corpora.registry import Utterance
from wespk.io.tables import read_table
from wespk.utils.errors import InputError

SHARE, MOST = 5, 1000  # by default one in SHARE training speakers, at most MOST


def calibration_set(utt2spk, utt2sess="", num_speakers=0, seed=42, max_trials=MAX_TRIALS):
    """(utterance ids of the chosen speakers: dict id -> speaker, set of all others' ids, (enroll, test, labels)).

    utt2spk, utt2sess: tables of the training set; without sessions every utterance counts as one. num_speakers: how
    many to choose among those with two or more utterances, 0: one in ``SHARE``, at most ``MOST``. The trials are those
    of ``dev_split.make_trials``: across sessions where a speaker has several, no utterance with itself, no pair twice,
    decided by the seed alone. Raises ``InputError`` for too few speakers or an utterance without a session.
    """
    speaker_of = read_table(utt2spk)
    session_of = read_table(utt2sess) if utt2sess else {key: key for key in speaker_of}
    lost = next((key for key in speaker_of if key not in session_of), None)
    if lost is not None:
        raise InputError(f"{utt2sess}: no session for '{lost}' of {utt2spk}; give both tables of one set")
    if max_trials < 2 or num_speakers < 0:
        raise InputError(f"--max-trials {max_trials}, --speakers {num_speakers}: at least 2 trials, no negative number")
    number = num_speakers or max(2, min(MOST, len(set(speaker_of.values())) // SHARE))
    everyone = {key: Utterance(speaker, session_of[key], "") for key, speaker in speaker_of.items()}
    try:
        others, chosen = split(everyone, number, seed)
    except InputError as error:
        raise InputError(f"{utt2spk}: " + str(error).replace("--dev-speakers", "calibration speakers")) from None
    return {key: u.speaker for key, u in chosen.items()}, set(others), make_trials(chosen, seed, max_trials)
