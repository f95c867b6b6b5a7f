"""A recipe folder in which tools/stages.sh is run with fake entry points."""

import contextlib
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

from tests.conftest import ROOT

FAKE = Path(__file__).with_name("fake_entry_points.py")
# all entry points are fakes except stage_mark.py, conf_lines.py and what the scripts under test do with them
SCRIPT = f"""
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
python() {{
  case $1 in
    -m | */submit/local.py) "$PYTHON" '{FAKE}' "$@" ;;
    *) "$PYTHON" "$@" ;;
  esac
}}
if [ -n "${{NO_FLOCK-}}" ]; then
  command() {{ [ "$*" != "-v flock" ] && builtin command "$@"; }}
fi
. '{ROOT}/tools/stages.sh' --recipe "$here" --corpus voxceleb --default-config "$here/conf/plain.yaml" "$@"
"""
CONF = """
train: {num_epochs: 1, average: 1}
schedule: {warmup_epochs: 0}
margin: {start_epoch: 0, end_epoch: 1}
copies: {speeds: [], kinds: []}
"""
COPIES = "copies.speeds=[] copies.kinds=[noise]"
CURRENT = "stage {} is done already and current"


class Stages:
    """A recipe folder of its own, with blanks and the word JOB in its path."""

    def __init__(self, folder):
        self.folder, self.data, self.exp = folder, folder / "data", folder / "exp" / "plain"
        (folder / "conf").mkdir(parents=True, exist_ok=True)
        (folder / "conf" / "plain.yaml").write_text(CONF)
        (folder / "run.sh").write_text(SCRIPT)
        (folder / "vox").mkdir(exist_ok=True)
        self.log = folder / "log"
        self.env = {**os.environ, "PYTHON": sys.executable, "FAKE_LOG": str(self.log)}

    def line(self, *words):
        return ["bash", str(self.folder / "run.sh"), "--gpus", "0", "--nj", "1", *map(str, words)]

    def run(self, *words, text="a", check=True):
        """(exit status, lines without the time, errors); the calls of this run alone are in ``log``."""
        self.log.unlink(missing_ok=True)
        env = {**self.env, "FAKE_TEXT": text}
        line = self.line(*words)
        done = subprocess.run(line, capture_output=True, text=True, env=env, cwd="/", check=False, timeout=600)
        assert done.returncode == 0 or not check, done.stderr
        return done.returncode, [line.partition(" ")[2] for line in done.stdout.splitlines()], done.stderr

    def only(self, number, *words, **options):
        return self.run("--stage", number, "--stop-stage", number, *words, **options)

    @contextlib.contextmanager
    def waiting_in(self, name, *words):
        """A run that is held up in the entry point ``name``; ended afterwards."""
        self.log.unlink(missing_ok=True)
        wait = self.folder / f"log.{name}.wait"
        wait.touch()
        null = subprocess.DEVNULL
        process = subprocess.Popen(self.line(*words), env=self.env, stdout=null, stderr=null, cwd="/")
        try:
            for _ in range(2400):
                if f"wespk.bin.{name}" in self.calls():
                    break
                time.sleep(0.025)
            yield process
        finally:
            wait.unlink()
            process.wait(timeout=60)

    def calls(self):
        return self.log.read_text() if self.log.exists() else ""

    def calls_of(self, name):
        """The calls of the entry point ``name``, by itself or through a submitter."""
        return [line for line in self.calls().splitlines() if f"wespk.bin.{name} " in line]


def keep_copy(folder):
    """Keep ``folder`` as it is now, for ``as_kept``; returns it."""
    shutil.copytree(folder, folder.with_name("copy"))
    return folder


def as_kept(folder):
    """Make ``folder`` what it was at ``keep_copy``; returns it."""
    shutil.rmtree(folder)
    shutil.copytree(folder.with_name("copy"), folder)
    return folder


def words_of(calls, name, option):
    """What each call of the entry point ``name`` is given as ``option``, if it is."""
    return re.findall(rf"^-m wespk\.bin\.{name} .*{option} (.*?)(?= --|$)", calls, re.MULTILINE)
