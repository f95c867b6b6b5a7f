"""Fixtures shared by all tests: everything runs on the CPU, and real speech is optional."""

import os
from pathlib import Path

import pytest

from tests.schedulers import GridEngine, NotHere, Slurm

ROOT = Path(__file__).resolve().parent.parent
# commands that tests start must find the package from any folder
os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])

def pytest_collection_modifyitems(items):
    """What needs a scheduler comes first: it is slow by waiting, and one of several test processes then gets all of it."""
    items.sort(key=lambda item: not {"slurm", "grid_engine", "scenarios"} & set(getattr(item, "fixturenames", ())))


@pytest.fixture(scope="session")
def real_speech():
    """The folder with real speech in VoxCeleb's layout (minivox/, noise/, rirs/, golden_kaldi/), or a skip."""
    folder = os.environ.get("WESPK_TEST_DATA")
    if not folder:
        pytest.skip("WESPK_TEST_DATA does not name a folder with real speech")
    return Path(folder)


def _started(kind, **options):
    try:
        return kind(**options)
    except NotHere as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def slurm():
    """A real Slurm with two nodes of two make-believe GPUs each (``tests.schedulers.Slurm``), or a skip."""
    cluster = _started(Slurm)
    yield cluster
    cluster.stop()


@pytest.fixture(scope="session")
def grid_engine():
    """A real Grid Engine (``tests.schedulers.GridEngine``), or a skip."""
    cluster = _started(GridEngine)
    yield cluster
    cluster.stop()
