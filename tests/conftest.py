"""Fixtures shared by all tests: everything runs on the CPU, and real speech is optional."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# commands that tests start must find the package from any folder
os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])

@pytest.fixture(scope="session")
def real_speech():
    """The folder with real speech in VoxCeleb's layout (minivox/, noise/, rirs/, golden_kaldi/), or a skip."""
    folder = os.environ.get("WESPK_TEST_DATA")
    if not folder:
        pytest.skip("WESPK_TEST_DATA does not name a folder with real speech")
    return Path(folder)
