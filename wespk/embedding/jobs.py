"""Stage 4 by array jobs: each job's share of a data folder -> xvector.JOB.{ark,scp}; then one table, and speaker means.

The batches are chosen over the whole folder and dealt out to the jobs, so a batch holds the same utterances however
many jobs there are: on one kind of machine with one number of threads the embeddings are the same bit for bit whatever
num_jobs is; elsewhere they are the same to float32 rounding.
"""

import json
import os
import re
import time
from pathlib import Path

import numpy as np

from wespk.embedding.batching import length_batches, share
from wespk.embedding.extractor import check_embeddings, embed_batches, max_frames_for
from wespk.embedding.files import write_vectors
from wespk.embedding.sources import data_utterances
from wespk.io.ark import read_vectors
from wespk.io.atomic import final_name
from wespk.io.job_marks import digest, read_mark, write_mark
from wespk.io.tables import read_table, spk2utt_of
from wespk.utils.errors import InputError

_REPORT_SECONDS = 60
_JOB_FILE = re.compile(r"xvector\.(\d+)\.(?:ark|scp|json)")


def extract_job(network, source, out, job, num_jobs, device, max_frames=0, num_workers=2, logger=None):
    """Embed job ``job``'s (1..num_jobs) share of ``source`` into OUT/xvector.JOB.{ark,scp}; returns the number written.

    source: see ``wespk.embedding.sources``. The table appears whole, sorted by key, or not at all; after it
    xvector.JOB.json, by which ``merge`` knows that it is whole and whose it is.

    A job that xvector.JOB.json shows to be done already, by the same network from the same tables, is not done again.
    Recordings count by size and time of change; what a ``command |`` reads, and a change to the program, is not seen:
    remove OUT/xvector.*.json then.
    """
    if not 1 <= job <= num_jobs:
        raise InputError(f"--job {job} is not among 1..{num_jobs} (--num-jobs)")
    batches = share(length_batches(source.num_frames, max_frames_for(device, max_frames)), job, num_jobs)
    total, started, reported = sum(map(len, batches)), time.monotonic(), time.monotonic()
    asked = {"num_jobs": num_jobs, "weights": network.fingerprint(),
             "share": _digest_of_share(network, source, out, device, batches)}
    if read_mark(_job_mark(out, job), asked):
        if logger:
            logger.info("job %d of %d is done already; remove %s to do it again", job, num_jobs, _job_mark(out, job))
        return total

    def report(done):
        nonlocal reported
        if logger and time.monotonic() - reported > _REPORT_SECONDS:
            reported = time.monotonic()
            logger.info("%d of %d utterances, %.1f a second", done, total, done / (reported - started))

    clear_jobs(out, lambda number: number == job)  # should it fail, nothing of an earlier run may pass for its result
    order, rows = embed_batches(network.model, batches, source.read, source.keys, device, network.cmn, num_workers,
                                report)
    table = _job_table(out, job)
    write_vectors(table, {source.keys[i]: row for i, row in zip(order, rows, strict=True)})
    write_mark(_job_mark(out, job), asked, (table, table.with_suffix(".ark")), utterances=total,
               checkpoint=str(network.path))
    return total


def _digest_of_share(network, source, out, device, batches):
    """What decides a job's table beside the weights: configuration, kind of device, batches, and what is read."""
    sections = [network.config[name] for name in ("features", "model")]
    batches = [np.asarray(batch).tolist() for batch in batches]
    return digest([os.path.abspath(out), json.dumps(sections, sort_keys=True), str(device).partition(":")[0], *batches,
                   *source.state([index for batch in batches for index in batch])])


def clear_jobs(out, chosen):
    """Remove what jobs of the numbers ``chosen`` left in OUT, unfinished files included, their mark first."""
    if not Path(out).is_dir():
        return
    found = [(path, _JOB_FILE.fullmatch(final_name(path.name))) for path in Path(out).iterdir()]
    mine = [path for path, match in found if match and chosen(int(match[1]))]
    for path in sorted(mine, key=lambda path: path.suffix != ".json"):
        path.unlink()


def merge(data, out, num_jobs, speaker_means=False, utt2spk=None):
    """Join OUT/xvector.1 .. xvector.NUM_JOBS into OUT/xvector.{ark,scp} and delete them; also spk_xvector if asked.

    Every utterance of the folder ``data`` must be there, once, and no other. utt2spk: a table of their speakers, which may
    list more, in place of DATA/utt2spk. Returns (utterances, speakers or 0).
    """
    keys = data_utterances(data)
    spk2utt = _utterances_of_speakers(data, utt2spk, keys) if speaker_means else None
    rows = read_jobs(out, num_jobs, keys)
    write_vectors(Path(out) / "xvector.scp", dict(zip(keys, rows, strict=True)))
    speakers = 0
    if speaker_means:
        speakers = write_speaker_means(out, spk2utt, keys, rows)
    clear_jobs(out, lambda number: True)
    return len(keys), speakers


def _utterances_of_speakers(data, utt2spk, keys):
    """Speaker -> utterances: of DATA/utt2spk, or of ``keys`` as far as the table ``utt2spk`` goes beyond them."""
    path = Path(utt2spk or Path(data) / "utt2spk")
    if not path.is_file():
        raise InputError(f"--speaker-means true needs {path}, which is not there")
    table = read_table(path)
    if utt2spk:
        missing = next((key for key in keys if key not in table), None)
        if missing is not None:
            raise InputError(f"{path}: no speaker for '{missing}' of {data}; give a table that lists all its utterances")
        table = {key: table[key] for key in keys}
    return spk2utt_of(table)


def read_jobs(out, num_jobs, keys):
    """Read the tables of all jobs -> (N, D) float32, in the order of ``keys``.

    keys: the utterances that must be there, sorted, no more and no fewer; ``InputError`` names the first that is
    missing, foreign or there twice, one without a sound embedding, or the job whose table is not there.
    """
    position, rows, seen = {key: i for i, key in enumerate(keys)}, None, np.zeros(len(keys), dtype=bool)
    for job, mark in _read_marks(out, num_jobs):
        if not mark["utterances"]:
            continue  # more jobs than batches
        table = _job_table(out, job)
        found, vectors = read_vectors(table)
        if rows is None:
            rows = np.empty((len(keys), vectors.shape[1]), dtype=np.float32)
        for key, vector in zip(found, vectors, strict=True):
            if key not in position:
                raise InputError(f"{table}: utterance {key} is not in the data folder; remove {out} and extract again")
            if seen[position[key]]:
                raise InputError(f"{table}: utterance {key} was extracted by an earlier job too; run all jobs again")
            seen[position[key]], rows[position[key]] = True, vector
    if not seen.all():
        absent = [keys[i] for i in np.flatnonzero(~seen)]
        raise InputError(f"{len(absent)} of {len(keys)} utterances have no embedding in {out}/xvector.1..{num_jobs}.scp"
                         f", the first is {absent[0]}; run all jobs again")
    check_embeddings(rows, keys)
    return rows


def _read_marks(out, num_jobs):
    """(job, what it said of itself) for all jobs, which must have ended and used one model and one number of jobs."""
    marks = []
    for job in range(1, num_jobs + 1):
        path = _job_mark(out, job)
        if not path.is_file() or not _job_table(out, job).is_file():
            raise InputError(f"{path} is not there: job {job} of {num_jobs} failed or has not run; run it again")
        marks.append((job, json.loads(path.read_text(encoding="utf-8"))))
        mark, first = marks[-1][1], marks[0][1]
        if mark["num_jobs"] != num_jobs:
            raise InputError(f"{path}: was one of {mark['num_jobs']} jobs, not of {num_jobs}; run all jobs again with "
                             "one --num-jobs")
        if mark["weights"] != first["weights"]:
            raise InputError(f"{path}: job {job} used another model ({mark['checkpoint']}) than job 1 "
                             f"({first['checkpoint']}); run all jobs again")
    return marks


def write_speaker_means(out, spk2utt, keys, rows):
    """Write OUT/spk_xvector.{ark,scp}: the mean, not length-normalised, of each speaker's embeddings.

    spk2utt: speaker -> utterances; keys, rows: (N,) and (N, D). Means are taken in float64. Returns their number.
    """
    position = {key: i for i, key in enumerate(keys)}
    means = {}
    for speaker, utterances in spk2utt.items():
        absent = next((u for u in utterances if u not in position), None)
        if absent is not None:
            raise InputError(f"speaker {speaker}: utterance {absent} has no embedding in {out}")
        means[speaker] = rows[[position[u] for u in utterances]].mean(axis=0, dtype=np.float64)
    check_embeddings(np.stack(list(means.values())), list(means), "mean of speaker")
    write_vectors(Path(out) / "spk_xvector.scp", means)
    return len(means)


def _job_mark(out, job):
    return Path(out) / f"xvector.{job}.json"


def _job_table(out, job):
    return Path(out) / f"xvector.{job}.scp"
