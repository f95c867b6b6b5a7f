"""A full disk, a failing disk or a kill while writing: an error that names the file, and never half a file."""

import errno
import os
import resource
import signal
import subprocess
import sys

import numpy as np
import pytest

from wespk.io.ark import ArkWriter, merge_scp, read_array, read_scp
from wespk.io.tables import Trials, write_scores, write_table, write_trials

_COUNT = 3000


def _write_ark(folder, count=_COUNT):
    with ArkWriter(folder / "a.ark", folder / "a.scp", compress=2) as ark:
        for number in range(count):
            ark.write(f"key{number:06d}", np.full((9, 1), number))


def _write_vectors(folder, count=_COUNT):
    """An ark much smaller than its scp, for a disk that fills up when the ark is already written."""
    with ArkWriter(folder / "a.ark", folder / "a.scp") as ark:
        for number in range(count // 10):
            ark.write(f"key{number:06d}", [number])


_IDS = [f"id{number:08d}" for number in range(_COUNT)]
_WRITERS = {
    "a.ark": _write_ark,
    "a.scp": _write_vectors,
    "table": lambda folder: write_table(folder / "table", dict.fromkeys(_IDS, "value")),
    "trials": lambda folder: write_trials(folder / "trials", Trials(_IDS, _IDS, np.ones(_COUNT, dtype=np.int8))),
    "scores": lambda folder: write_scores(folder / "scores", _IDS, _IDS, np.ones(_COUNT)),
    "out": lambda folder: merge_scp([folder / "part"], folder / "out", _IDS),
}


def _in_child(work, limit):
    """Run ``work`` in a forked child that may write files of ``limit`` bytes; returns what it raised, as text."""
    source, sink = os.pipe()
    child = os.fork()
    if child == 0:
        said = b"nothing"
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
            work()
        except BaseException as error:  # noqa: BLE001 whatever ends the work is reported
            said = f"{type(error).__name__}: {error}".encode()
        os.write(sink, said)
        os._exit(0)
    os.close(sink)
    os.waitpid(child, 0)
    with open(source, "rb") as pipe:
        return pipe.read().decode()


@pytest.mark.parametrize("name", _WRITERS)
def test_a_full_disk_is_an_error_with_the_file_and_leaves_what_was_there(tmp_path, name):
    old = {}
    if name in ("a.ark", "a.scp"):
        _write_ark(tmp_path, 5)
    elif name == "out":
        write_table(tmp_path / "part", dict.fromkeys(_IDS, "value"))
        (tmp_path / name).write_text("old\n")
    else:
        (tmp_path / name).write_text("old\n")
    old = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    said = _in_child(lambda: _WRITERS[name](tmp_path), limit=10000)
    assert said.startswith("OSError") and "File too large" in said and f"{tmp_path}/{name}" in said, said
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == old


def test_a_disk_that_fails_at_the_last_flush_leaves_what_was_there(tmp_path, monkeypatch):
    _write_ark(tmp_path, 5)
    old = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def fail(_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="Input/output error.*a.scp"):
        _write_ark(tmp_path, 7)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == old


def test_a_kill_while_writing_leaves_nothing_that_looks_whole(tmp_path):
    script = (
        "import sys, pathlib\n"
        "from wespk.io.ark import ArkWriter\n"
        "folder = pathlib.Path(sys.argv[1])\n"
        "with ArkWriter(folder / 'a.ark', folder / 'a.scp') as ark:\n"
        "    for number in range(10**9):\n"
        "        ark.write(f'k{number}', [1.0] * 100)\n"
        "        number == 500 and print('started', flush=True)\n"
    )
    run = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE)
    assert run.stdout.readline() == b"started\n"
    run.send_signal(signal.SIGKILL)
    run.wait()
    run.stdout.close()
    assert not [path for path in tmp_path.iterdir() if not path.name.startswith(".")]
    _write_ark(tmp_path, 5)  # the next run is not disturbed
    assert read_array(read_scp(tmp_path / "a.scp")["key000004"])[0, 0] == 4


def test_a_kill_between_the_two_renames_leaves_no_scp_that_points_into_the_wrong_ark(tmp_path, monkeypatch):
    _write_ark(tmp_path, 5)
    replace = os.replace

    def die_before_the_scp(source, target):
        if str(target).endswith(".scp"):
            raise KeyboardInterrupt
        replace(source, target)

    monkeypatch.setattr(os, "replace", die_before_the_scp)
    with pytest.raises(KeyboardInterrupt):
        _write_vectors(tmp_path)
    assert not (tmp_path / "a.scp").exists()
