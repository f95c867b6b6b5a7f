"""tools/setup.sh: quiet when whole, completes or remakes what is not, and says what is missing. No network is used."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

SETUP_PY = """
EXTRAS = {"test": ["pip>=1"], "absent": ["wespk-has-no-such-package"]}
"""


@pytest.fixture
def checkout(tmp_path):
    """A checkout whose only requirement, pip itself, is met without a network."""
    root = tmp_path / "check out"
    (root / "tools").mkdir(parents=True)
    for name in ("setup.sh", "path.sh", "venv_defects.py"):
        shutil.copy(ROOT / "tools" / name, root / "tools" / name)
    (root / "requirements.txt").write_text("# comment\npip>=1  # met\n")
    (root / "setup.py").write_text(SETUP_PY)
    return root


def run(checkout, *extras, path=None):
    env = {**os.environ, "PIP_NO_INDEX": "1", "PATH": path or f"{Path(sys.executable).resolve().parent}:/usr/bin:/bin"}
    line = ["bash", str(checkout / "tools" / "setup.sh"), *extras]
    return subprocess.run(line, capture_output=True, text=True, env=env, cwd="/", check=False)


def fake_python(folder, script):
    """A PATH on which every python is a script."""
    folder.mkdir()
    for name in ("python3", "python3.10", "python3.11", "python3.12"):
        (folder / name).write_text("#!/bin/sh\n" + script)
        (folder / name).chmod(0o755)
    for name in ("bash", "sh", "sed", "cat", "sha256sum", "cut", "grep", "dirname", "flock", "tail"):
        (folder / name).symlink_to(shutil.which(name))
    return str(folder)


def test_an_environment_is_made_once_completed_mended_and_left_alone(checkout):
    venv = checkout / "tools" / "venv"
    record = venv / "wespk-installed"
    (venv / "bin").mkdir(parents=True)
    (venv / "bin" / "python").symlink_to("/no/such/python")  # an environment whose Python has gone
    record.write_text("base 0\n")
    first = run(checkout)
    assert first.returncode == 0 and "installing base" in first.stderr
    again = run(checkout)
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")
    assert "installing base test" in run(checkout, "test").stderr
    assert run(checkout, "test").stderr == run(checkout).stderr == ""

    by_hand = venv / "made-by-hand"
    by_hand.touch()
    record.unlink()  # as if made by hand, or stopped half-way
    assert "installing base" in run(checkout).stderr
    assert by_hand.exists() and record.exists()

    (checkout / "requirements.txt").write_text("pip>=2\n")
    assert "installing base" in run(checkout).stderr

    failed = run(checkout, "absent")
    assert failed.returncode == 1 and "pip could not install" in failed.stderr and "venv.log" in failed.stderr
    unknown = run(checkout, "tset")
    assert unknown.returncode == 1 and "no extra 'tset' in setup.py; there is: test, absent" in unknown.stderr

    sourced = f"""set -eu; unset PYTHONPATH; cd /; . '{checkout}/tools/path.sh'
    echo "$WESPK_ROOT|$PYTHONPATH|$(command -v python)" """
    printed = subprocess.run(["bash", "-c", sourced], capture_output=True, text=True, check=True).stdout.strip()
    root = str(checkout.resolve())
    assert printed == f"{root}|{root}|{root}/tools/venv/bin/python"

    victim = next(venv.rglob("pip/__main__.py"))
    victim.write_text(victim.read_text()[:10])  # as a killed installation leaves it; this pip cannot mend itself
    record.unlink()
    damaged = run(checkout)
    assert damaged.returncode == 1 and "is damaged beyond repair (pip==" in damaged.stderr
    assert not record.exists()


def test_an_old_python_is_named(checkout, tmp_path):
    old = 'case "$1" in --version) echo Python 3.8.18 ;; *) exit 1 ;; esac'
    done = run(checkout, path=fake_python(tmp_path / "bin", old))
    assert done.returncode == 1
    assert "needs Python 3.10 or later, found Python 3.8.18" in done.stderr and "apt-get install" in done.stderr


def test_a_python_without_venv_names_the_package(checkout, tmp_path):
    bare = 'case "$2" in *ensurepip*) exit 1 ;; *print*) echo 3.11 ;; *) exit 0 ;; esac'
    done = run(checkout, path=fake_python(tmp_path / "bin", bare))
    assert done.returncode == 1
    assert "apt-get install python3.11-venv" in done.stderr
