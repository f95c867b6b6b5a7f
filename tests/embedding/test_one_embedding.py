"""One utterance has one embedding: as training sees it, as stage 4 extracts it, as the Python interface gives it."""

import numpy as np
import pytest
import soundfile
import torch

from tests.embedding.tiny_networks import tiny_checkpoint, tiny_config, voice
from wespk.data import build_source
from wespk.data.loader import Batch
from wespk.embedding.api import load_model
from wespk.embedding.jobs import extract_job, merge
from wespk.embedding.loading import load_network
from wespk.embedding.sources import open_source
from wespk.features.front_end import FrontEnd
from wespk.io.ark import ArkWriter, read_vectors
from wespk.io.tables import write_table

# Windows of 25 ms every 10 ms: samples that make whole numbers of frames, so that a chunk can be the whole utterance.
LENGTHS = [400 + 160 * n for n in (160, 119, 211, 143)]


def made_up():
    """Utterances without any data at hand, int16 samples."""
    return [(32767 * voice(n / 16000 + 0.01, seed=i)[:n]).astype(np.int16) for i, n in enumerate(LENGTHS)]


def real(folder):
    """Utterances of four test speakers of a real corpus, int16 samples, cut to LENGTHS."""
    paths = [min(speaker.rglob("*.flac")) for speaker in sorted((folder / "minivox" / "test").iterdir())[:4]]
    return [soundfile.read(path, dtype="int16")[0][:n] for path, n in zip(paths, LENGTHS, strict=True)]


def make_data(folder, utterances, conf):
    """A data folder with audio and features, as stages 1 and 2 leave it."""
    folder.mkdir()
    front_end, waves, frames = FrontEnd(conf["features"]), {}, {}
    with ArkWriter(folder / "feats.ark", folder / "feats.scp", compress=conf["features"]["compress"]) as ark:
        for i, samples in enumerate(utterances):
            key = f"s{i}-rec-0"
            waves[key] = folder / f"{key}.wav"
            soundfile.write(waves[key], samples, 16000)
            feats = front_end(samples / np.float32(32768))
            ark.write(key, feats)
            frames[key] = len(feats)
    write_table(folder / "wav.scp", waves)
    write_table(folder / "utt2dur", {key: len(x) / 16000 for key, x in zip(waves, utterances, strict=True)})
    write_table(folder / "utt2num_frames", frames)
    write_table(folder / "utt2spk", {key: key.split("-")[0] for key in waves})
    return list(waves.values()), list(frames.values())


def as_training_sees_them(model, data, conf, frames, kind):
    """Embeddings (N, D) by training's input, with chunks as long as each utterance."""
    rows = []
    for item, num in enumerate(frames):
        conf = {**conf, "data": {"input": kind, "chunk_frames": num, "min_frames": 10, "speed_copies": True}}
        source = build_source(conf, data)
        inputs, labels = source.fetch(3, np.array([item]))
        assert source.speakers[labels[0]] == f"s{item}"
        batch = Batch(inputs, torch.tensor([item]), torch.from_numpy(labels), epoch=3, whole=1)
        with torch.no_grad():
            rows.append(model(source.finish(batch, torch.device("cpu")))[0].numpy())
    return np.stack(rows)


def as_extracted(checkpoint, data, out, kind):
    network = load_network(checkpoint)
    extract_job(network, open_source(data, network, kind), out, 1, 1, "cpu")
    merge(data, out, 1)
    return read_vectors(out / "xvector.scp")[1]


def largest_distance(a, b):
    a, b = a.astype(np.float64), b.astype(np.float64)
    return (1 - (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)).max()


@pytest.fixture(params=["made_up", "real"])
def utterances(request):
    """int16 samples of four utterances: made on the spot, or real speech if there is some."""
    return made_up() if request.param == "made_up" else real(request.getfixturevalue("real_speech"))


@pytest.mark.parametrize("features", [{}, {"type": "mfcc", "num_mel_bins": 30, "cmn": "mean_var", "window": "hamming"}])
def test_every_way_to_an_embedding_gives_the_same(utterances, features, tmp_path):
    conf = tiny_config(compress=0, **features)
    paths, frames = make_data(tmp_path / "data", utterances, conf)
    torch.save(tiny_checkpoint(conf), tmp_path / "model.pt")
    speaker = load_model(tmp_path / "model.pt")
    found = {
        "training, features": as_training_sees_them(speaker.network.model, tmp_path / "data", conf, frames, "feats"),
        "training, audio": as_training_sees_them(speaker.network.model, tmp_path / "data", conf, frames, "waves"),
        "stage 4, audio": as_extracted(tmp_path / "model.pt", tmp_path / "data", tmp_path / "waves", "waves"),
        "api, files": speaker.embed_many(paths),
        "api, samples": np.stack([speaker.embed((x, 16000)) for x in utterances]),
    }
    reference = as_extracted(tmp_path / "model.pt", tmp_path / "data", tmp_path / "feats", "feats")
    for way, rows in found.items():
        assert largest_distance(rows, reference) < 1e-9, way
    assert largest_distance(reference, np.roll(reference, 1, axis=0)) > 1e-4  # the utterances do differ


def test_compressed_features_move_an_embedding_by_less_than_speakers_differ(utterances, tmp_path):
    conf = tiny_config(compress=2)
    paths, frames = make_data(tmp_path / "data", utterances, conf)
    torch.save(tiny_checkpoint(conf), tmp_path / "model.pt")
    speaker = load_model(tmp_path / "model.pt")
    stored = as_extracted(tmp_path / "model.pt", tmp_path / "data", tmp_path / "out", "feats")
    trained = as_training_sees_them(speaker.network.model, tmp_path / "data", conf, frames, "feats")
    assert largest_distance(stored, trained) < 1e-9
    assert largest_distance(stored, speaker.embed_many(paths)) < 1e-4
