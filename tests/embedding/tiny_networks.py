"""Small networks, experiments and utterances for the tests of this folder."""

import numpy as np
import torch

from wespk.models import build_model
from wespk.utils import config

TINY = {
    "resnet18": {"base_channels": 4, "embed_dim": 16},
    "resnet50": {"base_channels": 4, "embed_dim": 16},
    "ecapa_tdnn": {"channels": 16, "aggregate": 24, "embed_dim": 16},
    "xvector": {"hidden": 16, "stats": 24, "embed_dim": 16},
}


def tiny_model(name="resnet18", feat_dim=80, seed=0):
    """A small network in eval mode whose batch normalisation has seen data: nothing in it is still zero or one."""
    torch.manual_seed(seed)
    model = build_model({"name": name, "feat_dim": feat_dim, **TINY[name]})
    model.train()
    with torch.no_grad():
        for _ in range(3):
            model(torch.randn(4, 60, feat_dim) * 3)
    return model.eval()


def tiny_config(**features):
    """A whole configuration for the tiny ResNet, with ``features`` laid over the section of that name."""
    conf = config.load(sets="")
    conf["features"].update(features)
    conf["model"] = {"name": "resnet18", "feat_dim": conf["features"]["num_mel_bins"], **TINY["resnet18"]}
    return conf


def tiny_checkpoint(conf, seed=0):
    """A checkpoint dict as training writes it."""
    model = tiny_model("resnet18", conf["model"]["feat_dim"], seed)
    return {"format": 1, "config": conf, "speakers": ["a", "b"], "step": 7, "steps_per_epoch": 7, "fingerprint": "",
            "model": model.state_dict(), "loss": {"weight": torch.zeros(2, 16)}, "optimizer": {}}


def voice(seconds, seed=0, rate=16000):
    """A made-up voice: harmonics of a wandering pitch under a moving formant, with a little noise; float32 (N,)."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * rate)) / rate
    pitch = 90 + 15 * seed % 150 + 20 * np.sin(2 * np.pi * 0.7 * time + rng.uniform(0, 6))
    phase = 2 * np.pi * np.cumsum(pitch) / rate
    formant = 700 + 400 * np.sin(2 * np.pi * 1.3 * time + rng.uniform(0, 6))
    wave = sum(np.exp(-((k * pitch - formant) / 500) ** 2) * np.sin(k * phase) for k in range(1, 25))
    envelope = 0.3 + 0.7 * (np.sin(2 * np.pi * 2.1 * time + rng.uniform(0, 6)) > -0.6)
    return (0.05 * envelope * wave + 0.002 * rng.standard_normal(len(time))).astype(np.float32)
