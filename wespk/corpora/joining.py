"""Short training utterances joined with their neighbours, until each lasts a given time.

Speaker and genre are never mixed, sessions may be. The rule is that of the published CN-Celeb recipes, which make 519,590
utterances of at least 5 s of the corpus's 2793 training speakers: neighbours in the order of the ids are joined, the last
short utterance first, to whichever neighbour makes the more even lengths.
"""

from collections import defaultdict

from wespk.corpora.registry import Utterance
from wespk.io.joined import join_command
from wespk.utils.errors import InputError

_SLACK = 1e-5  # seconds; below a sample, above what sums of durations may be off by
_JOINED_TYPES = (".wav", ".flac")  # what sox reads everywhere


def neighbours(seconds, least):
    """Runs of neighbours that last ``least`` seconds or more: (start, end) pairs that cover ``seconds`` (n,) in order.

    From the last to the first, what is too short is joined to the left if that is enough and the left neighbour is shorter
    than the right one, and else to the right; at an end, to its only neighbour. All together stay one run if they do not
    last so long.
    """
    runs, end, here = [], len(seconds), 0.0  # finished runs (start, end, seconds), the leftmost last; the run being built
    for i in range(len(seconds) - 1, -1, -1):
        here += seconds[i]
        if here < least - _SLACK:
            left, right = seconds[i - 1] if i else None, runs[-1] if runs else None
            if left is not None and (right is None or (left + here >= least - _SLACK and left < right[2] - _SLACK)):
                continue
            if right:
                runs.pop()
                end, here = right[1], here + right[2]
        runs.append((i, end, here))
        end, here = i, 0.0
    return [(first, last) for first, last, _ in reversed(runs)]


def join_short(utterances, seconds, least, formats=None):
    """Join what is shorter than ``least`` seconds: (utterances, seconds, made_of), each by id.

    utterances: {id: Utterance}; seconds: {id: s} of at least these; formats: {id: (Hz, channels)}, where known, which the parts
    of one must share. A joined utterance is called after its first part and
    their number, ``id00010-singing-01-001-comb3``, its path is the command that joins theirs (``wespk.io.joined``), its
    session says all of theirs, ``singing-01+singing-02``. made_of: {id: ids of its parts}, of one part for all others. Each
    utterance given is a part of exactly one. Raises ``InputError`` for recordings that are neither WAV nor FLAC, of several
    channels, or of another sample rate than those that they are joined with.
    """
    groups = defaultdict(list)
    for key in sorted(utterances):
        groups[utterances[key].speaker, utterances[key].genre].append(key)
    made_of = {}
    for ids in groups.values():
        for first, last in neighbours([seconds[key] for key in ids], least):
            parts = ids[first:last]
            key = parts[0] if len(parts) == 1 else f"{parts[0]}-comb{len(parts)}"
            if len(parts) > 1 and key in utterances:
                raise InputError(f"{utterances[key].path}: '{key}' is what joined utterances would be called; rename it")
            _check_formats(parts, utterances, formats or {})
            made_of[key] = parts
    joined = {key: _join([utterances[part] for part in parts]) for key, parts in made_of.items()}
    return joined, {key: sum(seconds[part] for part in parts) for key, parts in made_of.items()}, made_of


def _check_formats(parts, utterances, formats):
    """The recordings that are to be one must be mono and of one sample rate."""
    known = [(formats[key], utterances[key].path) for key in parts if key in formats] if len(parts) > 1 else []
    for (rate, channels), path in known:
        (first, _), other = known[0]
        if channels > 1:
            raise InputError(f"{path}: {channels} channels, where one is expected; convert it")
        if rate != first:
            raise InputError(f"{path}: {rate} Hz, but {other}, with which it would be joined, has {first} Hz; convert one of "
                             "them, or give --min-seconds 0")  # fmt: skip


def _join(parts):
    if len(parts) == 1:
        return parts[0]
    for part in parts:
        if not part.path.lower().endswith(_JOINED_TYPES):
            raise InputError(f"{part.path}: only WAV and FLAC files are joined: convert it, or give --min-seconds 0")
    session = "+".join(sorted({part.session for part in parts}))
    return Utterance(parts[0].speaker, session, join_command([part.path for part in parts]), parts[0].genre)


def summary(utterances, seconds, least, made_of, joined_seconds):
    """What joining did, for the report: a sentence."""
    short = sum(seconds[key] < least - _SLACK for key in utterances)
    still = sum(value < least - _SLACK for value in joined_seconds.values())
    left = f", of which {still} are shorter yet, all there is of their speaker and kind of speech" if still else ""
    return f"{len(utterances)} utterances, {short} of them shorter than {least:g} s, joined to {len(made_of)}{left}"
