"""Kaldi's data directory: the rules it must keep, checked, with one line for each defect.

A folder holds ``utt2spk``, ``spk2utt``, ``wav.scp`` (and ``segments``) or ``feats.scp``, and may hold ``utt2dur``,
``utt2sess``, ``utt2genre``, ``utt2utts`` (what joined utterances are made of), ``utt2num_frames``, ``vad.scp``,
``trials/*`` and ``enroll_maps/*``. The tables are checked here, what they point to in ``wespk.io.data_dir_contents``,
trials and speakers against other sets in ``wespk.io.data_dir_trials``. Tables of millions of lines that are in order are
told so by ``wespk.io.data_dir_columns``; dicts of them are made only to name what is not.
"""

from pathlib import Path

from wespk.io.data_dir_columns import tables_are_sound
from wespk.io.data_dir_contents import check_audio_files, check_features, features_are_sound
from wespk.io.data_dir_trials import check_models, check_other_speakers, check_trials
from wespk.io.defects import Defect, compare_keys, scan_table
from wespk.io.joined import joined_paths
from wespk.io.tables import split_line

_TABLES = ("utt2spk", "spk2utt", "wav.scp", "segments", "feats.scp", "utt2dur", "utt2sess", "utt2genre",
           "utt2utts", "utt2num_frames", "vad.scp")  # fmt: skip
_OF_FEATURES = ("feats.scp", "utt2num_frames", "vad.scp")
_SAME = "the tables of a folder must list the same ids: prepare it again, or drop the line"


def validate(data_dir, sample_rate=16000, check_audio=True, train_dir=None, jobs=1, with_features=True):
    """Check a data directory; returns a list of ``Defect``, empty if all is well.

    data_dir: the folder. sample_rate: Hz that every recording must have. check_audio: decode every recording (by
    ``jobs`` threads) and look at it; without it only the tables, features and trials are checked. train_dir: a training
    set whose speakers must not occur here. with_features: without it feats.scp, utt2num_frames and vad.scp are not
    looked at, which a later stage than the other tables' writes.
    """
    folder, defects = Path(data_dir), []
    if not folder.is_dir():
        return [Defect(str(folder), 0, "", "no such folder", "run stage 1, or correct the path")]
    there = [name for name in _TABLES if (with_features or name not in _OF_FEATURES) and (folder / name).is_file()]
    if tables_are_sound(folder, there):
        wanted = _wanted(folder, there, check_audio, train_dir is not None)
        tables = {name: scan_table(folder / name, defects) for name in there if name in wanted}
    else:
        tables = {name: scan_table(folder / name, defects) for name in there}
        _check_tables(folder, tables, defects)
    if "utt2spk" in tables:
        check_trials(folder / "trials", tables["utt2spk"], defects)
        check_models(folder / "enroll_maps", tables["utt2spk"], defects)
        if train_dir is not None:
            check_other_speakers(tables["utt2spk"], Path(train_dir) / "utt2spk", defects)
    durations = _numbers(tables.get("utt2dur"), float, defects)
    frames = _numbers(tables.get("utt2num_frames"), int, defects)
    check_features(tables, frames, defects)
    spans = _check_segments(tables, defects)
    if check_audio and "wav.scp" in tables:
        check_audio_files(tables["wav.scp"], sample_rate, durations, spans, jobs, defects)
    return defects


def _wanted(folder, there, check_audio, with_train):
    """Of the tables ``there``, all of them sound, those that are still to be looked up in."""
    wanted = set() if features_are_sound(folder, there) else {*_OF_FEATURES}
    if with_train or any(path.is_file() for name in ("trials", "enroll_maps") for path in (folder / name).glob("*")):
        wanted.add("utt2spk")
    return wanted | {"wav.scp", "utt2dur"} if check_audio else wanted


def _check_tables(folder, tables, defects):
    """Report tables that are not there, and ids that the tables do not agree on."""
    for name in ("utt2spk", "spk2utt"):
        if name not in tables:
            defects.append(Defect(str(folder / name), 0, "", "no such file", "prepare the folder again (stage 1)"))
    if not {"wav.scp", "feats.scp"} & tables.keys():
        message = "no such file, and no feats.scp either"
        defects.append(Defect(str(folder / "wav.scp"), 0, "", message, "prepare the folder again (stage 1)"))
    if "utt2spk" in tables:
        _check_ids(tables, defects)


def _check_ids(tables, defects):
    utt2spk = tables["utt2spk"]
    _check_speakers(utt2spk, defects)
    if "spk2utt" in tables:
        _check_inverse(utt2spk, tables["spk2utt"], defects)
    for name in _TABLES:
        if name in tables and name not in ("utt2spk", "spk2utt", "wav.scp"):
            compare_keys(tables[name], utt2spk, defects, _SAME)
    if "wav.scp" in tables and "segments" not in tables:
        compare_keys(tables["wav.scp"], utt2spk, defects, _SAME)
    _check_parts(tables.get("utt2utts"), tables.get("wav.scp", {}), defects)


def _check_parts(utt2utts, wav_scp, defects):
    """Each joined utterance must be made of as many recordings as parts, and no part be in two of them."""
    whole, fix = {}, "prepare the folder again (stage 1)"
    for utterance in utt2utts or ():
        parts = split_line(utt2utts.value(utterance))
        for part in parts:
            if part in whole:
                message = f"is made of '{part}', which is a part of '{whole[part]}' already"
                defects.append(utt2utts.defect(utterance, message, fix))
            whole[part] = utterance
        spec = wav_scp.value(utterance) if utterance in wav_scp else None
        recordings = 0 if spec is None else len(joined_paths(spec) or [spec])
        if spec is not None and recordings != len(parts):
            message = f"is made of {len(parts)} utterances, but wav.scp has {recordings} recordings for it"
            defects.append(utt2utts.defect(utterance, message, fix))


def _check_speakers(utt2spk, defects):
    """One speaker a line, the start of the utterance id, and both columns in order."""
    last = ""
    for utterance in utt2spk:
        speaker = utt2spk.value(utterance)
        if len(split_line(speaker)) != 1:
            fix = "a line of utt2spk is an utterance and one speaker"
            defects.append(utt2spk.defect(utterance, f"has the speaker '{speaker}', which is not one word", fix))
        elif not utterance.startswith(speaker):
            fix = f"name it '{speaker}-{utterance}' in every table, so that utterances sort by speaker"
            defects.append(utt2spk.defect(utterance, f"does not begin with its speaker '{speaker}'", fix))
        elif speaker < last:
            fix = "put a '-' between speaker and the rest in the ids, so that both columns sort alike"
            defects.append(utt2spk.defect(utterance, f"of speaker '{speaker}' comes after speaker '{last}'", fix))
        last = max(last, speaker)


def _check_inverse(utt2spk, spk2utt, defects):
    """spk2utt must say what utt2spk says."""
    fix = "make spk2utt from utt2spk again"
    listed = set()
    for speaker in spk2utt:
        for utterance in split_line(spk2utt.value(speaker)):
            if utterance in listed:
                defects.append(spk2utt.defect(speaker, f"lists '{utterance}', which is listed before", fix))
            elif utterance not in utt2spk:
                defects.append(spk2utt.defect(speaker, f"lists '{utterance}', which is not in utt2spk", fix))
            elif utt2spk.value(utterance) != speaker:
                real = utt2spk.value(utterance)
                message = f"lists '{utterance}', which utt2spk gives to '{real}'"
                defects.append(spk2utt.defect(speaker, message, fix))
            listed.add(utterance)
    for utterance in utt2spk:
        if utterance not in listed:
            defects.append(utt2spk.defect(utterance, "has no place in spk2utt", fix))


def _numbers(table, kind, defects):
    """dict key -> positive number of a table (empty without one); a defect for each value that is none."""
    numbers = {}
    for key in table or ():
        try:
            number = kind(table.value(key))
            if not 0 < number < float("inf"):
                raise ValueError
            numbers[key] = number
        except ValueError:
            word = "a positive integer" if kind is int else "a positive number of seconds"
            message = f"has the value '{table.value(key)}', which is not {word}"
            defects.append(table.defect(key, message, "measure it again by the stage that writes the file"))
    return numbers


def _check_segments(tables, defects):
    """Check ``segments`` against ``wav.scp``; returns dict recording -> (latest end in seconds, its utterance)."""
    spans, used = {}, set()
    segments, recordings = tables.get("segments"), tables.get("wav.scp", ())
    for utterance in segments or ():
        fields = split_line(segments.value(utterance))
        used.update(fields[:1])
        try:
            recording, start, end = fields[0], float(fields[1]), float(fields[2])
            good = len(fields) == 3 and 0 <= start < end < float("inf")
        except (ValueError, IndexError):
            good = False
        if not good:
            fix = "a line is utterance, recording, start, end, in seconds, with 0 <= start < end"
            defects.append(segments.defect(utterance, f"has '{segments.value(utterance)}'", fix))
        elif recording not in recordings:
            fix = "add the recording to wav.scp, or drop the segment"
            defects.append(segments.defect(utterance, f"lies in '{recording}', which is not in wav.scp", fix))
        else:
            spans[recording] = max(spans.get(recording, (0.0, "")), (end, utterance))
    if segments is not None:
        for recording in recordings:
            if recording not in used:
                fix = "drop it from wav.scp, or segment it"
                defects.append(recordings.defect(recording, "has no segment", fix))
    return spans
