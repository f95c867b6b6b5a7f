"""What the tables of a data directory point to: recordings, decoded and looked at, and features and VAD in arks."""

import hashlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from wespk.io.ark_format import Malformed, map_file, parse_header, parse_headers, split_spec
from wespk.io.audio import read_audio
from wespk.io.column_kinds import Integers, Specs
from wespk.io.columns import Defective, read_values
from wespk.io.pipes import is_pipe
from wespk.utils.errors import InputError
from wespk.utils.log import get_logger

_BLOCK = 256  # recordings handed to a thread at once, fewer of a small set
_REPORT = 100_000  # recordings between two lines of the log
_SLACK = 0.2  # seconds by which utt2dur or a segment may miss the decoded length: AAC headers are off by that much


def check_audio_files(wav_scp, sample_rate, durations, spans, jobs, defects):
    """Decode every recording of ``wav.scp``, by ``jobs`` threads, and report what is wrong with it.

    durations: dict id -> seconds from utt2dur; spans: dict recording -> (end of its last segment, the utterance).
    """
    paths, contents = {}, {}
    for done, (key, (length, rate, digest, error)) in enumerate(_look_at_all(wav_scp, jobs), start=1):
        found = _faults(length, rate, error, sample_rate, durations.get(key), spans.get(key))
        path_before = paths.setdefault(wav_scp.value(key), key)
        same_before = contents.setdefault(digest, key) if digest else key
        if path_before != key:
            found.append((f"has the same recording as '{path_before}'", "give each id its own recording"))
        elif same_before != key:
            found.append((f"has the same samples as '{same_before}'", "drop one of the two copies"))
        defects.extend(wav_scp.defect(key, message, fix) for message, fix in found)
        if done % _REPORT == 0:
            get_logger().info("%s: looked at %d of %d recordings", wav_scp.path, done, len(wav_scp))


def _look_at_all(wav_scp, jobs):
    """(id, what ``_look`` finds) of every recording, in order, by ``jobs`` threads, in blocks: a million futures cost
    gigabytes."""
    jobs, keys = max(1, jobs), list(wav_scp)
    size = min(_BLOCK, -(-len(keys) // (4 * jobs)) or 1)  # of a small set, too, each thread has a share
    blocks = [keys[i : i + size] for i in range(0, len(keys), size)]
    with ThreadPoolExecutor(jobs) as pool:
        looks = pool.map(lambda block: [_look(wav_scp.value(key)) for key in block], blocks)
        for block, found in zip(blocks, looks, strict=True):
            yield from zip(block, found, strict=True)


def _look(spec):
    """(samples, rate, digest of the samples, what is wrong as (message, fix)) of a recording."""
    try:
        samples, rate = read_audio(spec)
    except (InputError, OSError) as error:
        message, _, fix = str(error).rpartition("; ")
        return 0, 0, None, (message or fix, fix if message else "look at the file and its permissions")
    if not samples.any():
        return len(samples), rate, None, (f"{spec}: every sample is zero", "fetch it again, or take it off the list")
    return len(samples), rate, hashlib.blake2b(np.ascontiguousarray(samples), digest_size=16).digest(), None


def _faults(length, rate, error, sample_rate, duration, span):
    """(message, fix) of everything wrong with one recording by itself."""
    if error:
        return [error]
    found, seconds = [], length / rate
    if rate != sample_rate:
        fix = f"resample it to {sample_rate} Hz, or set features.sample_rate to {rate} for all"
        found.append((f"has {rate} samples a second, not {sample_rate}", fix))
    if duration is not None and abs(duration - seconds) > _SLACK:
        found.append((f"lasts {seconds:.3f} s, but utt2dur says {duration} s", "measure utt2dur again (stage 1)"))
    if span is not None and span[0] > seconds + _SLACK:
        message = f"lasts {seconds:.3f} s, but segment '{span[1]}' ends at {span[0]} s"
        found.append((message, "correct segments, or fetch the recording again"))
    return found


def check_features(tables, frames, defects):
    """Check that feats.scp and vad.scp lead to whole matrices and vectors of the lengths in ``utt2num_frames``.

    frames: dict id -> number of frames.
    """
    for name, kind in (("feats.scp", b"M"), ("vad.scp", b"V")):
        table = tables.get(name)
        opened, width = {}, {}
        for key in table or ():
            if is_pipe(table.value(key)):
                continue  # a command is run when its output is wanted
            fault = _fault_in_ark(table.value(key), kind, frames.get(key), opened, width)
            if fault:
                defects.append(table.defect(key, fault, "compute it again (stage 2)"))


def features_are_sound(folder, names):
    """Whether ``check_features`` would certainly find nothing; False may have any reason.

    names: the tables that are in the folder, which list the same ids in the same order.
    """
    try:
        frames = read_values(folder / "utt2num_frames", Integers()) if "utt2num_frames" in names else None
        scps = {"feats.scp", "vad.scp"} & set(names)
        return all(_lead_to(read_values(folder / name, Specs()), name == "vad.scp", frames) for name in scps)
    except (Defective, InputError, OSError):
        return False


def _lead_to(places, vectors, frames):
    """Whether whole objects of one kind lie at ``places``, each of its number of ``frames`` (N,), none empty."""
    order, width = np.argsort(places.files, kind="stable"), None
    starts = np.searchsorted(places.files[order], np.arange(len(places.paths) + 1))
    for path, first, last in zip(places.paths, starts, starts[1:]):
        if is_pipe(path):
            return False
        lines = order[first:last]
        headers = parse_headers(np.frombuffer(map_file(path), np.uint8), places.offsets[lines])
        if headers is None or (headers[0][1:] == b"V") != vectors:
            return False
        _, rows, cols = headers
        width = cols[0] if width is None else width
        if not rows.all() or (cols != width).any() or (frames is not None and (rows != frames[lines]).any()):
            return False
    return True


def _fault_in_ark(spec, kind, frames, opened, width):
    """What is wrong with one object, or None. ``opened`` keeps the last ark; ``width`` the first dimension met."""
    try:
        path, position = split_spec(spec)
        if path not in opened:
            opened.clear()
            opened[path] = map_file(path)
        header = parse_header(opened[path], position)
    except (Malformed, InputError, OSError) as error:
        return f"in {spec}: {str(error).partition('; ')[0]}"
    if (header.kind[1:] == b"V") != (kind == b"V"):
        return f"in {spec}: a {header.kind.decode()} object where a {'vector' if kind == b'V' else 'matrix'} belongs"
    if header.rows == 0:
        return f"in {spec}: no frames"
    if frames is not None and header.rows != frames:
        return f"in {spec}: {header.rows} frames, but utt2num_frames says {frames}"
    if header.cols != width.setdefault("first", header.cols):
        return f"in {spec}: dimension {header.cols}, but {width['first']} before"
    return None
