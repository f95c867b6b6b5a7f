"""Recipe folders with fake entry points, and benchmarks as modules."""

import importlib

import pytest

from tests.conftest import ROOT
from tests.tools.staged_recipe import Stages, as_kept, keep_copy


@pytest.fixture
def bench(monkeypatch):
    """bench("fbank"): tools/bench/fbank.py as a module, which finds those beside it."""
    monkeypatch.syspath_prepend(str(ROOT / "tools" / "bench"))
    return importlib.import_module


@pytest.fixture
def stages(tmp_path):
    return Stages(tmp_path / "a JOB")


@pytest.fixture(scope="session")
def kept(tmp_path_factory):
    """The folder of a recipe after stage 6, and a copy of it."""
    folder = tmp_path_factory.mktemp("kept") / "a JOB"
    Stages(folder).run("--stop-stage", 6)
    return keep_copy(folder)


@pytest.fixture
def scored(kept):
    return Stages(as_kept(kept))
