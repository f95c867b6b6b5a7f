#!/usr/bin/env python3
"""Keep account of which stages are whole and current.

    stage_mark.py check MARK [--option NAME=VALUE ...] [--input PATH ...]   exit 0: current; 1: not, and prints why
    stage_mark.py begin MARK [--option NAME=VALUE ...] [--input PATH ...]   note the start; MARK disappears
    stage_mark.py done  MARK [--output PATH ...]                            note the end; MARK appears
    stage_mark.py ready MARK [--option NAME=VALUE ...] [--input PATH ...]   exit 0: a later stage may build on it
    stage_mark.py note  NOTE [--input PATH ...]                             note what these files are
    stage_mark.py alike NOTE [--input PATH ...] [--like PATTERN ...]        exit 0: those that match are what was noted

Both check and ready take --beyond BEGINNING: recorded options and inputs whose names begin so do not count unless they
are asked for, as the stage then did more than is wanted now.

MARK is a JSON file with the options of a stage and fingerprints of its inputs and outputs. A file counts by its content,
but an ark or checkpoint above 1 MiB by its size and time of change, or, as long as it has those that the job which wrote
it noted beside it (job.N.json, see wespk/io/job_marks.py), by the digest noted there: an ark made again with the same
content is the same. A folder counts by what lies in it, down to two levels (names, sizes and times).

``ready`` looks at the options given, at the inputs that are still there, and at whether the stage was begun and not
finished; its --input are the files that the later stage is about to read, which must be as the stage's last run left
them. It prints why if not. Where there is no mark at all (files brought along) it is content.

``alike`` compares the contents alone, as a training may go on when its data lie elsewhere now; NOTE may be a MARK too.
"""

import collections
import fnmatch
import hashlib
import json
import os
import re
import sys
from pathlib import Path

SMALL_BYTES = 2**20
BINARIES = (".ark", ".pt")  # too big to read every time
ABSENT = "absent"


def folder_entries(folder, levels):
    """Lines that describe the entries of a folder, down to so many levels."""
    for name in sorted(os.listdir(folder)):
        path = os.path.join(folder, name)
        try:
            stat = os.stat(path)
        except OSError:
            yield f"{name} {ABSENT}"
            continue
        if os.path.isdir(path):
            yield f"{name}/ {stat.st_mtime_ns}"
            if levels > 1:
                yield from (f"{name}/{line}" for line in folder_entries(path, levels - 1))
        else:
            yield f"{name} {stat.st_size} {stat.st_mtime_ns}"


def noted_digest(path, stat):
    """The digest that the job which wrote feats.N.ark left of it in job.N.json; None if it is not that job's file."""
    number = re.search(r"\.(\d+)\.ark$", str(path))
    if not number:
        return None
    try:
        job = json.loads(Path(path).with_name(f"job.{number[1]}.json").read_text(encoding="utf-8"))
        if job["files"][Path(path).name] == [stat.st_size, stat.st_mtime_ns]:
            return job["digests"][Path(path).name]
    except (OSError, ValueError, KeyError, TypeError):
        pass
    return None


def fingerprint(path):
    """A short text that changes when the file or folder does; ``absent`` if there is none."""
    try:
        stat = os.stat(path)
    except FileNotFoundError:
        return ABSENT
    if os.path.isdir(path):
        lines = "\n".join(folder_entries(path, 2))
        return "folder " + hashlib.sha256(lines.encode("utf-8", "surrogateescape")).hexdigest()
    if stat.st_size > SMALL_BYTES and str(path).endswith(BINARIES):
        known = noted_digest(path, stat)
        return f"digest {known}" if known else f"size {stat.st_size} changed {stat.st_mtime_ns}"
    content = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(SMALL_BYTES):
            content.update(block)
    return "content " + content.hexdigest()


def read(path):
    """The record in ``path``; None if it is not there or cannot be read as one."""
    try:
        record = json.loads(Path(path).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return record if isinstance(record, dict) and {"options", "inputs"} <= record.keys() else None


def write(path, record):
    """Write ``record`` so that it is there whole or not at all."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "w", encoding="utf-8") as file:
            json.dump(record, file, indent=1, sort_keys=True)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def begun(mark):
    return Path(f"{mark}.begun")


def without(beyond, old, new=()):
    """The recorded dict ``old`` without the names that begin with one of ``beyond``, a tuple, and are not in ``new``."""
    return {name: value for name, value in old.items() if name in new or not name.startswith(beyond)}


def changed_options(old, new):
    """Sentences on the options of ``new`` that differ from ``old``."""
    for name in sorted({*old, *new}):
        if old.get(name) != new.get(name):
            before = f"was '{old[name]}'" if name in old else "was not given"
            yield f"option {name} {before}, is " + (f"'{new[name]}'" if name in new else "not given now")


def changed_files(old, kind):
    """Sentences on the recorded files ``old`` ({path: fingerprint}) that are not what they were."""
    for path, before in sorted(old.items()):
        now = fingerprint(path)
        if now != before:
            how = "has gone" if now == ABSENT else "is new" if before == ABSENT else "has changed"
            yield f"{kind} {path} {how}"


def first(reasons):
    """The first two reasons as one text and how many more there are; empty without any."""
    reasons = list(reasons)
    more = f"; and {len(reasons) - 2} more" if len(reasons) > 2 else ""
    return "; ".join(reasons[:2]) + more


def why_not_current(mark, options, inputs, beyond=()):
    """Why the stage must be run, or an empty text."""
    record = read(mark)
    if record is None:
        return "was begun and not finished" if begun(mark).exists() else "not done yet"
    used = without(beyond, record["inputs"], inputs)
    reasons = list(changed_options(without(beyond, record["options"], options), options))
    reasons += [f"input {path} was not there before" for path in inputs if path not in used]
    reasons += [f"input {path} is no longer used" for path in used if path not in inputs]
    reasons += changed_files({p: f for p, f in used.items() if p in inputs}, "input")
    reasons += changed_files(record.get("outputs", {}), "output")
    return first(reasons)


def why_not_ready(mark, options, consumed, beyond=()):
    """Why a later stage with these options must not read the files ``consumed`` of this one, or an empty text."""
    record = read(mark)
    if record is None:
        return "was begun and not finished" if begun(mark).exists() else ""
    known = {name: record["options"].get(name, "") for name in options}
    still_there = {path: f for path, f in without(beyond, record["inputs"]).items() if os.path.exists(path)}
    outputs = record.get("outputs", {})
    reasons = [*changed_options(known, options), *changed_files(still_there, "its input")]
    reasons += [f"{path} is not of its last run" for path in consumed if path not in outputs]
    reasons += changed_files({path: outputs[path] for path in consumed if path in outputs}, "its output")
    return first(reasons)


def why_not_alike(note, inputs, patterns):
    """Why the files ``inputs`` that match are not those noted, wherever they lay, or an empty text; None noted will do."""
    record = read(note)
    if record is None:
        return ""

    def matching(paths):
        return [path for path in paths if any(fnmatch.fnmatchcase(path, pattern) for pattern in patterns)]

    before = collections.Counter(record["inputs"][path] for path in matching(record["inputs"]))
    reasons = []
    for path in matching(inputs):
        now = fingerprint(path)
        if not before[now]:
            reasons.append(f"{path} is new or has changed")
        before[now] -= 1
    gone = sum(number for number in before.values() if number > 0)
    return first(reasons) or (f"{gone} files less than there were" if gone else "")


def begin(mark, options, inputs):
    """Record the start of a stage; its mark disappears until ``done``."""
    write(begun(mark), {"options": options, "inputs": {path: fingerprint(path) for path in inputs}})
    Path(mark).unlink(missing_ok=True)


def done(mark, outputs):
    """Record the end of a stage. Exits with a message if an input changed meanwhile or an output is not there."""
    record = read(begun(mark))
    if record is None:
        sys.exit(f"stage_mark.py: error: {begun(mark)} is not there: the stage was never begun")
    changed = first(changed_files(record["inputs"], "input"))
    if changed:
        sys.exit(f"stage_mark.py: error: {changed} while the stage was running; run it again")
    record["outputs"] = {path: fingerprint(path) for path in outputs}
    missing = [path for path, found in record["outputs"].items() if found == ABSENT]
    if missing:
        sys.exit(f"stage_mark.py: error: the stage did not write {missing[0]}")
    write(mark, record)
    begun(mark).unlink(missing_ok=True)


def parse(words):
    """(command, mark, options, inputs, outputs, beginnings or patterns) from the command line."""
    if len(words) < 2 or words[0] not in ("check", "begin", "done", "ready", "note", "alike"):
        sys.exit(__doc__)
    options, paths, names = {}, {"--input": [], "--output": []}, ()
    rest = words[2:]
    for flag, value in zip(rest[::2], rest[1::2], strict=True):
        if flag == "--option":
            name, _, text = value.partition("=")
            options[name] = text
        elif flag in ("--beyond", "--like"):
            names += (value,)
        else:
            paths[flag].append(os.path.abspath(value))
    return words[0], words[1], options, paths["--input"], paths["--output"], names


def main():
    command, mark, options, inputs, outputs, names = parse(sys.argv[1:])
    if command == "begin":
        begin(mark, options, inputs)
    elif command == "done":
        done(mark, outputs)
    elif command == "note":
        write(mark, {"options": {}, "inputs": {path: fingerprint(path) for path in inputs}})
    else:
        if command == "alike":
            reason = why_not_alike(mark, inputs, names)
        else:
            reason = (why_not_current if command == "check" else why_not_ready)(mark, options, inputs, names)
        if reason:
            print(reason)
            sys.exit(1)


if __name__ == "__main__":
    main()
