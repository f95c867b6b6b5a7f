"""Held-out training speakers and the trial list made from them, for watching training without the test lists."""

from collections import defaultdict
from itertools import combinations

import numpy as np

from wespk.utils.errors import InputError
from wespk.utils.seed import generator

MAX_UTTERANCES = 32  # kept of each held-out speaker: enough for its share of the trials, and extraction stays short
MAX_TRIALS = 20_000
_TRIES = 100


def group(utterances):
    """{id: Utterance} -> {speaker: sorted ids}."""
    by_speaker = defaultdict(list)
    for utterance_id in sorted(utterances):
        by_speaker[utterances[utterance_id].speaker].append(utterance_id)
    return by_speaker


def split(utterances, num_speakers, seed):
    """Hold out ``num_speakers`` speakers of at least two utterances: (remaining, held out), both {id: Utterance}.

    Of a held-out speaker at most ``MAX_UTTERANCES`` are kept, evenly over the sessions; the rest is in neither part.
    Raises ``InputError`` when there are too few such speakers or fewer than two would remain to train on.
    """
    if num_speakers == 0:
        return utterances, {}
    if num_speakers < 2:
        raise InputError(f"--dev-speakers {num_speakers}: nontarget trials take two speakers; give 0 or at least 2")
    by_speaker = group(utterances)
    able = [speaker for speaker in sorted(by_speaker) if len(by_speaker[speaker]) >= 2]
    most = min(len(able), len(by_speaker) - 2)
    if num_speakers > most:
        raise InputError(
            f"--dev-speakers {num_speakers}: {len(by_speaker)} training speakers, {len(able)} of them with two or more "
            f"utterances; two must remain to train on, so at most {max(most, 0)}"
        )
    rng = generator(seed, "held-out speakers")
    chosen = {able[i] for i in rng.permutation(len(able))[:num_speakers]}
    kept = {i for speaker in sorted(chosen) for i in _some_of_each_session(by_speaker[speaker], utterances, rng)}
    remaining = {i: u for i, u in utterances.items() if u.speaker not in chosen}
    return remaining, {i: utterances[i] for i in sorted(kept)}


def _some_of_each_session(ids, utterances, rng):
    """At most ``MAX_UTTERANCES`` of one speaker's ids: the first of every session, then the second, and so on.

    A joined utterance is one of each of its sessions, and its turn comes with the one that has the fewest before it.
    """
    rank, ranked = defaultdict(int), []
    for i in rng.permutation(len(ids)):
        sessions = _sessions(utterances[ids[i]])
        ranked.append((min(rank[session] for session in sessions), len(ranked), ids[i]))
        for session in sessions:
            rank[session] += 1
    return [utterance_id for _, _, utterance_id in sorted(ranked)[:MAX_UTTERANCES]]


def make_trials(utterances, seed, max_trials=MAX_TRIALS):
    """A balanced trial list over all speakers in ``utterances`` {id: Utterance}.

    Targets are across sessions for every speaker with several, and each speaker has an equal share of them as far as
    its pairs go. Each nontarget keeps the first side of a target and draws the other from another speaker. No pair is
    there twice, in either order. Returns (enroll, test, labels): lists of ids and int8 (n,), sorted.
    """
    rng = generator(seed, "trials")
    by_speaker = group(utterances)
    targets = _targets(by_speaker, utterances, max_trials // 2, rng)
    nontargets = _nontargets(targets, by_speaker, utterances, rng)
    targets = targets[: len(nontargets)]
    if not targets:
        raise InputError("no trials can be made: they take two speakers, of two utterances each")
    trials = sorted([(a, b, 1) for a, b in targets] + [(a, b, 0) for a, b in nontargets])
    return [t[0] for t in trials], [t[1] for t in trials], np.array([t[2] for t in trials], dtype=np.int8)


def _sessions(utterance):
    """The sessions of an utterance, several where it is joined (``a+b``, see ``wespk.corpora.joining``)."""
    return set(utterance.session.split("+"))


def _targets(by_speaker, utterances, limit, rng):
    share = max(1, limit // len(by_speaker))
    chosen = []
    for speaker in sorted(by_speaker):
        pairs = list(combinations(by_speaker[speaker], 2))
        across = [(a, b) for a, b in pairs if _sessions(utterances[a]).isdisjoint(_sessions(utterances[b]))]
        pairs = across or pairs
        for i in rng.permutation(len(pairs))[:share]:
            chosen.append(pairs[i] if rng.random() < 0.5 else pairs[i][::-1])
    return [chosen[i] for i in rng.permutation(len(chosen))[:limit]]


def _nontargets(targets, by_speaker, utterances, rng):
    speakers, taken, chosen = sorted(by_speaker), set(), []
    for enroll, _ in targets:
        for _ in range(_TRIES):
            other = speakers[rng.integers(len(speakers))]
            test = by_speaker[other][rng.integers(len(by_speaker[other]))]
            pair = frozenset((enroll, test))
            if other != utterances[enroll].speaker and pair not in taken:
                taken.add(pair)
                chosen.append((enroll, test))
                break
    return chosen
