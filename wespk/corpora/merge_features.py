"""Stage 2, after the jobs: what they wrote, joined into the tables of the data folder."""

import json
import sys
from pathlib import Path

from wespk.corpora.features import clear_jobs
from wespk.data.stored import NAME as STAMP
from wespk.data.stored import write_stamp
from wespk.io.ark import merge_scp
from wespk.io.tables import read_table, spk2utt_of, write_table
from wespk.utils.errors import InputError

_ARKS = ("feats", "vad", "copies", "copies_vad")
_SET = ("feats.scp", "vad.scp", "utt2num_frames", "utt2spk", "spk2utt", STAMP)


def _read_marks(out_dir, num_jobs):
    """What the jobs said of themselves; they must all have ended, and have done the same."""
    marks = []
    for job in range(1, num_jobs + 1):
        path = out_dir / f"job.{job}.json"
        if not path.is_file():
            raise InputError(f"{path} does not exist: job {job} of {num_jobs} has not ended well; read its log, run it "
                             "again")
        marks.append(json.loads(path.read_text()))
        for key in ("num_jobs", "features", "copies", "seed"):
            if marks[-1][key] != (num_jobs if key == "num_jobs" else marks[0][key]):
                raise InputError(f"{path}: job {job} was run with another {key.replace('_', '-')}; run all jobs again")
    return marks


def merge_jobs(data_dir, out_dir, num_jobs):
    """Join the jobs' output: DATA/{feats.scp,utt2num_frames[,vad.scp]}, and with copies the folder DATA_aug.

    DATA_aug holds the originals and all copies, with utt2spk and spk2utt. Every utterance must be there once. Returns
    report lines. Raises ``InputError`` naming the job or utterance that is missing.
    """
    data_dir, out_dir = Path(data_dir), Path(out_dir)
    marks = _read_marks(out_dir, num_jobs)
    features, jobs = marks[0]["features"], range(1, num_jobs + 1)
    utt2spk = read_table(data_dir / "utt2spk")
    parts = {name: [out_dir / f"{name}.{job}.scp" for job in jobs] for name in _ARKS}
    frames = [out_dir / f"utt2num_frames.{job}" for job in jobs]
    _merge_set(data_dir, features, parts["feats"], parts["vad"], frames, utt2spk)
    hours, total = (sum(mark["counts"][key] for mark in marks) for key in ("hours", "frames"))
    report = [f"{data_dir}: {len(utt2spk)} utterances, {hours:.2f} hours, {total} frames"]
    aug_dir = data_dir.with_name(data_dir.name + "_aug")
    if marks[0]["copies"]:
        whole = dict(utt2spk)
        for job in jobs:
            whole.update((name, sys.intern(who)) for name, who in read_table(out_dir / f"copies_utt2spk.{job}").items())
        speakers = _write_speakers(aug_dir, whole)
        _merge_set(aug_dir, features, parts["feats"] + parts["copies"], parts["vad"] + parts["copies_vad"],
                   frames + [out_dir / f"copies_utt2num_frames.{job}" for job in jobs], whole)
        report.append(f"{aug_dir}: {len(whole)} utterances of {speakers} speakers, copies included")
    else:
        for name in _SET:  # copies of an earlier run: their arks are gone
            (aug_dir / name).unlink(missing_ok=True)
    clear_jobs(out_dir, lambda number: number > num_jobs)
    return report


def _write_speakers(folder, utt2spk):
    """Write FOLDER/{utt2spk,spk2utt}; returns the number of speakers."""
    spk2utt = spk2utt_of(utt2spk)
    write_table(folder / "utt2spk", utt2spk)
    for speaker, names in spk2utt.items():  # in place: the lists are of the size of the text
        spk2utt[speaker] = " ".join(names)
    write_table(folder / "spk2utt", spk2utt)
    return len(spk2utt)


def _merge_set(folder, features, feats, vad, frames, utt2spk):
    """Merge one set's tables; feats.scp goes first and comes last, as it is what later stages look for."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "feats.scp").unlink(missing_ok=True)
    (folder / "vad.scp").unlink(missing_ok=True)
    merge_scp(frames, folder / "utt2num_frames", utt2spk)
    if features["vad"]:
        merge_scp(vad, folder / "vad.scp", utt2spk)
    write_stamp(folder, features)
    merge_scp(feats, folder / "feats.scp", utt2spk)
