"""The command reports each defect on a line of stdout and fails; a valid directory passes."""

import subprocess
import sys


def _run(*words):
    command = [sys.executable, "-m", "wespk.bin.validate_data", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def _make(folder, lines):
    folder.mkdir()
    (folder / "utt2spk").write_text("".join(f"{line} {line[0]}\n" for line in lines))
    (folder / "spk2utt").write_text("".join(f"{line[0]} {line}\n" for line in lines))
    (folder / "wav.scp").write_text("".join(f"{line} {folder}/{line}.wav\n" for line in lines))
    return folder


def test_tables_without_defect_pass(tmp_path):
    done = _run("--data", _make(tmp_path / "a", ["a-1", "b-1"]), "--check_audio", "false")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{tmp_path}/a: valid\n", "")


def test_defects_are_printed_counted_and_fail_the_command(tmp_path):
    one, two = _make(tmp_path / "a", ["a-1", "b-1", "c-1"]), _make(tmp_path / "b", ["a-1"])
    done = _run("--data", f"{one},{two}", "--limit", 2, "--jobs", 2)
    lines = done.stdout.splitlines()
    assert done.returncode == 1 and "4 defects" in done.stderr and "Traceback" not in done.stderr
    assert lines[0].startswith(f"{one}/wav.scp:1: 'a-1' {one}/a-1.wav: no such file; ")
    assert lines[2:4] == [f"{one}: 1 more defects (--limit shows more)", f"{one}: 3 defects"]
    assert lines[4].startswith(f"{two}/wav.scp:1: 'a-1'") and lines[5] == f"{two}: 1 defects"


def test_training_speakers_fail_the_command(tmp_path):
    train, test = _make(tmp_path / "a", ["a-1"]), _make(tmp_path / "b", ["a-2"])
    done = _run("--data", test, "--train", train, "--check_audio", "no")
    assert done.returncode == 1 and "who is in training" in done.stdout


def test_no_directory_is_an_error():
    done = _run("--data", ",")
    assert done.returncode == 1 and "names no directory" in done.stderr
