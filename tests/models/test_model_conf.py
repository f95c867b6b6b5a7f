"""Every file under conf/model builds the network it names, with all of that network's options written out."""

import inspect
from pathlib import Path

import pytest
import torch
import yaml

import wespk
from wespk.models import build_model

FILES = sorted((Path(wespk.__file__).parent / "conf" / "model").rglob("*.yaml"))


def test_some_files_are_found():
    assert len(FILES) >= 10


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_the_file_builds_and_states_the_defaults(path):
    conf = yaml.safe_load(path.read_text())["model"]
    with torch.device("meta"):
        model = build_model(conf)
    defaults = {p.name: p.default for p in inspect.signature(type(model)).parameters.values()
                if p.default is not p.empty}
    if conf["name"].endswith("_p"):  # the name says it
        assert defaults.pop("activation") == "relu"
    given = {k: v for k, v in conf.items() if k != "name"}
    assert set(given) == set(defaults)
    assert {k for k in given if given[k] != defaults[k]} <= {"channels"}
