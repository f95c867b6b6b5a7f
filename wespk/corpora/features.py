"""Stage 2, the work of one job: its share of a data folder's audio -> feature arks."""

import os
import re
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import torch

from wespk.corpora.copies import CopyMaker
from wespk.features.front_end import FrontEnd
from wespk.io.ark import ArkWriter
from wespk.io.atomic import final_name
from wespk.io.audio import read_audio
from wespk.io.job_marks import digest, read_mark, recording_state, write_mark
from wespk.io.tables import read_table, write_table
from wespk.utils.errors import InputError
from wespk.utils.log import get_logger

_READERS, _AHEAD = 2, 8  # recordings are decoded this many at a time, this far ahead
_TOGETHER = 60  # seconds of speech that are computed at once: reading, computing and writing in turn lose the caches' content
# what job J writes: feats.J.ark, feats.J.scp, utt2num_frames.J and so on, last of all job.J.json
_JOB_FILE = re.compile(r"(?:feats|vad|copies|copies_vad|utt2num_frames|copies_utt2num_frames|copies_utt2spk|job)"
                       r"\.(\d+)(?:\.(?:ark|scp|json))?")


def read_utterances(data_dir, sample_rate):
    """The utterances of a data folder, sorted: dict id -> (recording, first sample, samples or None for all).

    From ``segments`` (seconds, rounded to samples) where there is one, else each line of ``wav.scp``.
    """
    data_dir = Path(data_dir)
    recordings = read_table(data_dir / "wav.scp")
    path = data_dir / "segments"
    if not path.is_file():
        return {utterance: (spec, 0, None) for utterance, spec in sorted(recordings.items())}
    found = {}
    for utterance, line in sorted(read_table(path).items()):
        try:
            recording, start, end = line.split()
            first, last = round(float(start) * sample_rate), round(float(end) * sample_rate)
        except ValueError:
            raise InputError(f"{path}: utterance {utterance}: '{line}' is not 'recording start end'; correct it") from None
        if recording not in recordings or not 0 <= first < last:
            raise InputError(f"{path}: utterance {utterance}: '{line}' names a recording that wav.scp lacks, or an end that "
                             "is not after its start; correct it")
        found[utterance] = recordings[recording], first, last - first
    return found


def job_share(items, job, num_jobs):
    """The part of a list that job 1..num_jobs takes: contiguous, sizes differing by at most one, none empty."""
    if not 1 <= num_jobs <= len(items):
        raise InputError(f"--num-jobs is {num_jobs}, for {len(items)} utterances; it lies in 1 to their number")
    if not 1 <= job <= num_jobs:
        raise InputError(f"--job is {job}; it lies in 1 to --num-jobs ({num_jobs})")
    return items[len(items) * (job - 1) // num_jobs : len(items) * job // num_jobs]


class _Output:
    """Features, decisions and tables of one job for one set; appear when the block ends well, and not otherwise."""

    def __init__(self, folder, job, feats, vad, prefix, compress):
        self.folder, self.job, self.prefix = folder, job, prefix
        self.feats = ArkWriter(folder / f"{feats}.{job}.ark", folder / f"{feats}.{job}.scp", compress)
        self.vad = ArkWriter(folder / f"{vad}.{job}.ark", folder / f"{vad}.{job}.scp") if vad else None
        self.frames, self.speakers = {}, {}

    def files(self):
        """The paths of what the block leaves."""
        arks = [path for writer in (self.feats, self.vad) if writer for path in (writer.ark_path, writer.scp_path)]
        tables = ("utt2num_frames", "utt2spk") if self.prefix else ("utt2num_frames",)
        return arks + [self.folder / f"{self.prefix}{table}.{self.job}" for table in tables]

    def digests(self):
        """{file name: digest of the content} of the arks."""
        return {writer.ark_path.name: writer.digest() for writer in (self.feats, self.vad) if writer}

    def __enter__(self):
        self._stack = ExitStack().__enter__()
        for writer in filter(None, (self.feats, self.vad)):
            self._stack.enter_context(writer)
        return self

    def __exit__(self, *error):
        self._stack.__exit__(*error)
        if error[0] is None:
            write_table(self.folder / f"{self.prefix}utt2num_frames.{self.job}", self.frames)
            if self.prefix:
                write_table(self.folder / f"{self.prefix}utt2spk.{self.job}", self.speakers)

    def add(self, utterance, speaker, feats, speech):
        self.feats.write(utterance, feats.numpy())
        if self.vad:
            self.vad.write(utterance, speech.numpy().astype("float32"))
        self.frames[utterance], self.speakers[utterance] = len(feats), speaker


def _in_order(function, items):
    """``function`` of each item, in order, computed a few ahead in threads."""
    with ThreadPoolExecutor(_READERS) as pool:
        waiting = deque()
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > _AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _batches(items, samples):
    """Lists of (id, wave) out of ``items``, each of ``samples`` samples at least except the last; 0: each item alone.

    What comes before an item that cannot be read is given out before that is told.
    """
    batch, left = [], samples
    try:
        for item in items:
            batch.append(item)
            left -= len(item[1])
            if left <= 0:
                yield batch
                batch, left = [], samples
    except InputError:
        if batch:
            yield batch
        raise
    if batch:
        yield batch


class _Worker:
    """Turns utterances into features and writes them."""

    def __init__(self, conf, utterances, utt2spk, copy_maker):
        self.front_end = FrontEnd(conf["features"])
        self.utterances, self.utt2spk, self.copies = utterances, utt2spk, copy_maker
        self.seconds = 0.0

    def read(self, utterance):
        """The samples of an utterance; every complaint names it."""
        spec, first, num = self.utterances[utterance]
        try:
            samples, rate = read_audio(spec, first, num)
        except InputError as error:
            raise InputError(f"utterance {utterance}: {error}") from None
        if rate != self.front_end.sample_rate:
            raise InputError(f"utterance {utterance} ({spec}): {rate} Hz, but features.sample_rate is "
                             f"{self.front_end.sample_rate}; resample the recording, or change the option")
        if not self.front_end.num_frames(len(samples)):
            raise InputError(f"utterance {utterance} ({spec}): {len(samples)} samples are too short for a single frame; "
                             "take it off the list")
        return utterance, torch.from_numpy(samples)

    def write(self, batch, plain, copies):
        """Compute the utterances (id, samples) of a list and write them to ``plain``, their copies (unless None) to ``copies``."""
        versions = [self._versions(utterance, wave, copies) for utterance, wave in batch]
        computed = iter(self._compute([wave for own, spoilt in versions for _, _, wave in own + spoilt]))
        for own, spoilt in versions:
            clean = None
            for number, ((name, who, _), (feats, speech)) in enumerate(zip(own + spoilt, computed)):
                clean = clean if number else speech
                if number >= len(own):
                    speech = clean  # noise must not be taken for speech: the clean utterance decides
                if speech is not None and not speech.any():
                    raise InputError(f"utterance {name}: the energy VAD finds no speech in it; take it off the list, or set "
                                     "features.vad=false")
                (copies if number else plain).add(name, who, feats, speech)
        self.seconds += sum(len(wave) for _, wave in batch) / self.front_end.sample_rate

    def _versions(self, utterance, wave, copies):
        """Two lists of (id, speaker, samples): the utterance and its copies at other speeds; its noisy copies."""
        speaker = self.utt2spk[utterance]
        own = [(utterance, speaker, wave)]
        if not copies:
            return own, []
        return own + self.copies.speeds(utterance, speaker, wave), self.copies.spoilt(utterance, speaker, wave)

    def _compute(self, waves):
        if self.front_end.vad:
            return self.front_end.many_with_speech(waves)
        return [(feats, None) for feats in self.front_end.many(waves)]


def clear_jobs(out_dir, chosen):
    """Remove what jobs of the numbers ``chosen`` left in earlier runs, unfinished files included, their mark first."""
    out_dir.mkdir(parents=True, exist_ok=True)
    found = [(path, _JOB_FILE.fullmatch(final_name(path.name))) for path in out_dir.iterdir()]
    mine = [path for path, match in found if match and chosen(int(match[1]))]
    for path in sorted(mine, key=lambda path: path.suffix != ".json"):
        path.unlink()


def _what_is_asked(conf, out_dir, num_jobs, share, utterances, utt2spk, copies, noise_dirs):
    """What decides a job's files, for its mark: options, its share of the tables, its recordings, lists of noises."""
    listed = [os.path.abspath(out_dir)]
    listed += ((name, utt2spk[name], *utterances[name]) for name in share)
    listed += map(recording_state, dict.fromkeys(utterances[name][0] for name in share))
    if copies:
        for folder in filter(None, noise_dirs):
            listed += ((path.name, path.read_bytes()) for path in sorted(Path(folder).glob("*.scp")))
    return {"num_jobs": num_jobs, "features": conf["features"], "copies": copies, "seed": conf["seed"],
            "share": digest(listed)}


def compute_job(data_dir, conf, out_dir, job, num_jobs, musan_dir=None, rirs_dir=None, with_copies=False):
    """Compute the features of job ``job``'s share of a data folder and write them to ``out_dir``.

    conf: the whole configuration. With ``with_copies`` also the copies that its section `copies` asks for, which needs
    the folders of stage 1. The result for an utterance depends on nothing but its samples, its id and the
    configuration. Returns a dict of counts. Raises ``InputError`` naming the first utterance that cannot be used; there is
    then no OUT/job.JOB.json, which ``merge_jobs`` insists on.

    A job that OUT/job.JOB.json shows to be done already, with the same options and tables, is not done again. Recordings
    count by size and time of change; a change to what a ``command |`` reads, to noises or responses under their old
    names, or to the program is not seen: remove OUT/job.*.json then.
    """
    data_dir, out_dir = Path(data_dir), Path(out_dir)
    features, wanted = conf["features"], conf["copies"] if with_copies else None
    if with_copies and not (wanted["speeds"] or wanted["kinds"]):
        raise InputError("--copies true, but the configuration asks for none: set copies.speeds or copies.kinds")
    utterances, utt2spk = read_utterances(data_dir, features["sample_rate"]), read_table(data_dir / "utt2spk")
    if utterances.keys() != utt2spk.keys():
        odd = min(utterances.keys() ^ utt2spk.keys())
        raise InputError(f"{data_dir}: utterance {odd} is in utt2spk or in wav.scp (segments), but not in both; run "
                         "validate_data on the folder")
    share = job_share(list(utterances), job, num_jobs)
    asked = _what_is_asked(conf, out_dir, num_jobs, share, utterances, utt2spk, wanted, (musan_dir, rirs_dir))
    done = read_mark(out_dir / f"job.{job}.json", asked)
    if done:
        get_logger().info("job %d of %d is done already; remove %s/job.%d.json to do it again", job, num_jobs, out_dir, job)
        return done["counts"]
    maker = CopyMaker(wanted, conf["seed"], features["sample_rate"], musan_dir, rirs_dir) if with_copies else None
    worker = _Worker(conf, utterances, utt2spk, maker)
    clear_jobs(out_dir, lambda number: number == job)
    with ExitStack() as stack:
        vad, method = features["vad"], features["compress"]
        plain = stack.enter_context(_Output(out_dir, job, "feats", "vad" if vad else None, "", method))
        copies = None
        if with_copies:
            copies = _Output(out_dir, job, "copies", "copies_vad" if vad else None, "copies_", method)
            stack.enter_context(copies)
        together = 0 if with_copies else _TOGETHER * features["sample_rate"]
        for batch in _batches(_in_order(worker.read, share), together):
            worker.write(batch, plain, copies)
    counts = {"utterances": len(plain.frames), "copies": len(copies.frames) if copies else 0,
              "frames": sum(plain.frames.values()), "hours": round(worker.seconds / 3600, 4)}
    files = plain.files() + (copies.files() if copies else [])
    digests = {**plain.digests(), **(copies.digests() if copies else {})}  # by which tools/stage_mark.py knows an ark again
    write_mark(out_dir / f"job.{job}.json", asked, files, counts=counts, digests=digests)
    return counts
