"""Kaldi's own figures: small excerpts kept with the tests, whole utterances with the real speech."""

import json

import numpy as np
import pytest
import soundfile

from tests.conftest import ROOT
from tests.golden.make_features import read_matrices


@pytest.fixture(scope="session")
def kaldi():
    """tests/golden/kaldi_features.json (see its README)."""
    return json.loads((ROOT / "tests" / "golden" / "kaldi_features.json").read_text())


@pytest.fixture(scope="session")
def whole(real_speech):
    """``whole(name)`` -> (waves by utterance, matrices that Kaldi printed to golden_kaldi/NAME.txt)."""
    folder = real_speech / "golden_kaldi"
    waves = {path.stem: soundfile.read(path, dtype="float32")[0] for path in sorted((folder / "wav").iterdir())}

    def read(name):
        return waves, {key: np.array(rows) for key, rows in read_matrices(folder / f"{name}.txt").items()}

    return read


@pytest.fixture(scope="session")
def noise():
    """``noise(*shape, seed=0)`` -> float32 of speech-like level: every mel filter well above rounding."""
    return lambda *shape, seed=0: np.random.default_rng(seed).normal(0, 0.1, shape).astype(np.float32)
