"""Small banks of signals that can be told apart."""

import numpy as np
import pytest

from wespk.augment.bank import TensorBank
from wespk.utils import config


def tone(number, num):
    """A sine of (number + 1) * 100 Hz at 16 kHz, level depending on the number."""
    return (0.01 * (number + 1) * np.sin(2 * np.pi * 100 * (number + 1) * np.arange(num) / 16000)).astype(np.float32)


@pytest.fixture(scope="session")
def noise_bank():
    """12 noises, 3 pieces of music, 10 talkers, of 0.1 to 3 s."""
    draw = np.random.default_rng(0)
    lengths = {"noise": range(1600, 48000, 4000), "music": (5000, 40000, 30000), "babble": range(16000, 26000, 1000)}
    return TensorBank({
        "noise": [draw.normal(0, 0.1, num).astype(np.float32) for num in lengths["noise"]],
        "music": [draw.normal(0, 0.1, num).astype(np.float32) for num in lengths["music"]],
        "babble": [tone(i, num) for i, num in enumerate(lengths["babble"])],
    })


@pytest.fixture(scope="session")
def rir_bank():
    """Decaying responses of several lengths with the direct sound 10 to 50 samples in."""
    draw = np.random.default_rng(1)
    responses = []
    for number in range(5):
        response = draw.normal(0, 0.05, 800 * (number + 1)) * np.exp(-np.arange(800 * (number + 1)) / 300)
        response[10 * (number + 1)] = 1
        responses.append(response.astype(np.float32))
    return TensorBank({"rir": responses})


@pytest.fixture
def section():
    """``section(**changes)``: the `augment` section of the defaults, changed."""
    return lambda **changes: {**config.load()["augment"], **changes}


@pytest.fixture(scope="session")
def waves():
    """8 chunks of half a second, (8, 8000) float32."""
    import torch

    return torch.from_numpy(np.random.default_rng(2).normal(0, 0.1, (8, 8000)).astype(np.float32))
