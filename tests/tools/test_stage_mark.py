"""tools/stage_mark.py: a stage is current only while options, inputs and outputs are what they were."""

import json
import subprocess
import sys

import pytest

from tests.conftest import ROOT


class Account:
    """One stage with an input file, an input folder and an output, and the tool's commands on it."""

    def __init__(self, folder):
        self.folder, self.mark = folder, folder / ".stages" / "2.json"
        self.input, self.root, self.output = folder / "in put", folder / "root", folder / "out"
        self.input.write_text("a\n")
        (self.root / "a").mkdir(parents=True)
        (self.root / "a" / "table").write_text("x")
        self.facts = ["--option", "nj=x y", "--input", str(self.input), "--input", str(self.root)]

    def call(self, command, *words):
        tool = str(ROOT / "tools" / "stage_mark.py")
        line = [sys.executable, tool, command, str(self.mark), *words]
        done = subprocess.run(line, capture_output=True, text=True, check=False)
        return done.returncode, (done.stdout + done.stderr).strip()

    def complete(self):
        assert self.call("begin", *self.facts) == (0, "")
        self.output.write_text("result")
        assert self.call("done", "--output", str(self.output)) == (0, "")
        return self


@pytest.fixture
def account(tmp_path):
    return Account(tmp_path)


def test_a_stage_is_current_after_done_and_not_before(account):
    assert account.call("check", *account.facts) == (1, "not done yet")
    account.call("begin", *account.facts)
    assert account.call("check", *account.facts) == (1, "was begun and not finished")
    account.complete()
    assert account.call("check", *account.facts) == (0, "")
    account.call("begin", *account.facts)
    assert account.call("check", *account.facts) == (1, "was begun and not finished")


def test_the_reason_names_what_changed(account):
    account.complete()
    assert account.call("check", "--option", "nj=z", *account.facts[2:]) == (1, "option nj was 'x y', is 'z'")
    assert account.call("check", *account.facts, "--input", "/new")[1] == "input /new was not there before"
    assert "is no longer used" in account.call("check", *account.facts[:4])[1]
    assert account.call("check", *account.facts[2:]) == (1, "option nj was 'x y', is not given now")
    assert account.call("check", *account.facts, "--option", "plda=") == (1, "option plda was not given, is ''")
    account.input.write_text("b\n")
    assert account.call("check", *account.facts) == (1, f"input {account.input} has changed")
    account.input.write_text("a\n")
    assert account.call("check", *account.facts) == (0, "")
    (account.root / "a" / "table").write_text("another length")
    assert account.call("check", *account.facts) == (1, f"input {account.root} has changed")


def test_a_lost_or_shortened_output_is_noticed(account):
    account.complete()
    account.output.write_text("resul")
    assert account.call("check", *account.facts) == (1, f"output {account.output} has changed")
    account.output.unlink()
    assert account.call("check", *account.facts) == (1, f"output {account.output} has gone")


def test_big_binaries_count_by_size_and_time(account):
    ark = account.folder / "feats.ark"
    with open(ark, "wb") as file:
        file.truncate(2**21)
    account.facts += ["--input", str(ark)]
    account.complete()
    assert '"size 2097152 changed' in account.mark.read_text()
    with open(ark, "r+b") as file:
        file.write(b"x")
    assert account.call("check", *account.facts) == (1, f"input {ark} has changed")


def test_a_big_ark_made_again_with_the_same_content_is_the_same_ark(account):
    ark = account.folder / "feats.7.ark"
    note = account.folder / "job.7.json"

    def make(content, digest):
        ark.write_bytes(content * 2**21)
        stat = ark.stat()
        note.write_text(json.dumps({"files": {ark.name: [stat.st_size, stat.st_mtime_ns]}, "digests": {ark.name: digest}}))

    make(b"a", "A")
    account.facts += ["--input", str(ark)]
    account.complete()
    before = ark.stat().st_mtime_ns
    make(b"a", "A")
    assert ark.stat().st_mtime_ns != before and account.call("check", *account.facts) == (0, "")
    changed = (1, f"input {ark} has changed")
    make(b"b", "B")
    assert account.call("check", *account.facts) == changed
    make(b"a", "A")
    ark.write_bytes(b"c" * 2**21)  # by someone who leaves no note
    assert account.call("check", *account.facts) == changed
    note.unlink()
    assert account.call("check", *account.facts) == changed


def test_a_big_table_written_again_is_the_same_table(account):
    account.input.write_text("a line\n" * 2**18)
    account.complete()
    account.input.write_text("a line\n" * 2**18)
    assert account.call("check", *account.facts) == (0, "")
    account.input.write_text("a lime\n" * 2**18)
    assert account.call("check", *account.facts) == (1, f"input {account.input} has changed")


def test_done_refuses_a_missing_output_and_an_input_changed_meanwhile(account):
    account.call("begin", *account.facts)
    status, message = account.call("done", "--output", str(account.output))
    assert status == 1 and f"did not write {account.output}" in message
    account.output.write_text("result")
    account.input.write_text("changed while running")
    status, message = account.call("done", "--output", str(account.output))
    assert status == 1 and "while the stage was running" in message
    assert not account.mark.exists()


def test_a_later_stage_builds_on_finished_work_with_the_same_options(account):
    assert account.call("ready") == (0, "")
    account.call("begin", *account.facts)
    assert account.call("ready") == (1, "was begun and not finished")
    account.complete()
    assert account.call("ready", "--option", "nj=x y") == (0, "")
    assert account.call("ready", "--option", "nj=3")[0] == 1
    account.input.write_text("other")
    assert account.call("ready") == (1, f"its input {account.input} has changed")
    account.input.unlink()
    assert account.call("ready") == (0, "")


def test_a_damaged_mark_counts_as_not_done(account):
    account.complete()
    account.mark.write_text(account.mark.read_text()[:40])
    assert account.call("check", *account.facts) == (1, "not done yet")


def test_what_a_later_stage_reads_must_be_of_the_last_run(account):
    assert account.call("ready", "--input", str(account.output)) == (0, "")
    account.complete()
    assert account.call("ready", "--input", str(account.output)) == (0, "")
    assert account.call("ready", "--input", "/else") == (1, "/else is not of its last run")
    account.output.write_text("older")
    assert account.call("ready", "--input", str(account.output)) == (1, f"its output {account.output} has changed")


def test_what_was_done_beyond_the_wanted_does_not_count(account):
    account.facts += ["--option", "copies.kinds=x"]
    account.complete()
    less = ["--option", "nj=x y", "--input", str(account.root), "--beyond", "copies.", "--beyond", str(account.input)]
    assert account.call("check", *less) == (0, "")
    assert account.call("check", *less, "--option", "copies.kinds=y")[0] == 1
    account.input.write_text("other")
    assert account.call("check", *less) == (0, "") and account.call("ready", *less[-4:]) == (0, "")
    assert account.call("check", *less, "--input", str(account.input)) == (1, f"input {account.input} has changed")


def test_alike_are_the_same_contents_wherever_they_lie(account):
    folder, note = account.folder, account.mark
    for name in ("feats.1.ark", "feats.2.ark", "feats.scp"):
        (folder / name).write_text(name)
    words = [word for name in ("feats.1.ark", "feats.2.ark", "feats.scp") for word in ("--input", str(folder / name))]
    like = ("--like", "*/feats.*.ark")
    assert account.call("alike", *words, *like) == (0, "")  # nothing was noted
    assert account.call("note", *words) == (0, "") and note.exists()
    (folder / "feats.scp").write_text("not asked for")
    moved = [word.replace(str(folder), str(folder / "moved")) for word in words]
    (folder / "moved").mkdir()
    for name in ("feats.1.ark", "feats.2.ark", "feats.scp"):
        (folder / name).rename(folder / "moved" / name)
    assert account.call("alike", *moved, *like) == (0, "")
    assert account.call("alike", *moved[:2], *like) == (1, "1 files less than there were")
    assert account.call("alike", *moved, *like, "--like", "*.scp")[0] == 1
    (folder / "moved" / "feats.2.ark").write_text("other")
    assert account.call("alike", *moved, *like) == (1, f"{folder}/moved/feats.2.ark is new or has changed")
