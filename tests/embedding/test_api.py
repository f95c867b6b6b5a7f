"""The Python interface: audio in, embeddings and cosines out, the same as the recipe's."""

import numpy as np
import pytest
import soundfile
import torch

from tests.embedding.tiny_networks import tiny_checkpoint, tiny_config, voice
from wespk.embedding.api import load_model, resample
from wespk.embedding.files import write_npy, write_vectors
from wespk.features.front_end import FrontEnd
from wespk.utils.errors import InputError


def cosine(a, b):
    a, b = np.float64(a), np.float64(b)
    return a @ b / np.sqrt((a @ a) * (b @ b))


@pytest.fixture
def speaker(experiment):
    return load_model(experiment)


@pytest.fixture
def wav(tmp_path):
    """Two recordings of made-up voices, 16 bits."""
    paths = []
    for i in range(2):
        paths.append(tmp_path / f"voice{i}.wav")
        soundfile.write(paths[-1], voice(1.5 + 0.3 * i, seed=i), 16000)
    return paths


def test_an_embedding_is_the_network_applied_to_its_own_front_end(speaker, wav):
    samples, _ = soundfile.read(wav[0], dtype="float32")
    feats = FrontEnd(speaker.network.config["features"])(samples)
    with torch.no_grad():
        expected = speaker.network.model((feats - feats.mean(dim=0))[None])[0].numpy()
    found = speaker.embed(wav[0])
    assert found.dtype == np.float32 and found.shape == (speaker.embed_dim,)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_a_path_samples_and_16_bit_samples_are_the_same_audio(speaker, wav):
    floats, _ = soundfile.read(wav[0], dtype="float32")
    integers, _ = soundfile.read(wav[0], dtype="int16")
    found = speaker.embed(wav[0])
    for samples in (floats, integers, torch.from_numpy(floats), floats.astype(float)):
        np.testing.assert_array_equal(speaker.embed((samples, 16000)), found)
    np.testing.assert_array_equal(speaker.embed(str(wav[0])), found)


def test_many_recordings_keep_their_order_and_equal_one_by_one(speaker):
    audios = [(voice(0.3 + 0.17 * (i * 5 % 7), seed=i), 16000) for i in range(9)]
    together = speaker.embed_many(iter(audios), max_frames=500)
    alone = np.stack([speaker.embed(audio) for audio in audios])
    assert min(cosine(a, b) for a, b in zip(together, alone, strict=True)) > 1 - 1e-9
    assert speaker.embed_many([]).shape == (0, speaker.embed_dim)


def test_the_front_end_is_the_checkpoints_not_the_default(tmp_path, wav):
    features = {"num_mel_bins": 40, "window": "hamming", "low_freq": 100.0, "cmn": "none"}
    torch.save(tiny_checkpoint(tiny_config(**features)), tmp_path / "model.pt")
    speaker = load_model(tmp_path / "model.pt")
    samples, _ = soundfile.read(wav[0], dtype="float32")
    feats = FrontEnd(tiny_config(**features)["features"])(samples)
    with torch.no_grad():
        expected = speaker.network.model(feats[None])[0].numpy()
    np.testing.assert_allclose(speaker.embed(wav[0]), expected, rtol=1e-5, atol=1e-6)


def test_silence_is_dropped_if_the_model_was_trained_without_it(tmp_path):
    sound, pause = voice(1.0), (1e-4 * np.random.default_rng(0).standard_normal(16000)).astype(np.float32)
    padded = np.concatenate([pause, sound, pause])
    found = {}
    for vad in (False, True):
        torch.save(tiny_checkpoint(tiny_config(vad=vad)), tmp_path / "model.pt")
        speaker = load_model(tmp_path / "model.pt")
        found[vad] = speaker.similarity((padded, 16000), (sound, 16000)), len(speaker.features((padded, 16000)))
    assert found[True][0] > found[False][0]
    assert found[True][1] < 115
    assert found[False][1] > 290
    with pytest.raises(InputError, match="recording 0: the VAD finds no speech in it"):
        speaker.embed((pause, 16000))


def test_similarity_is_the_raw_cosine_of_paths_samples_or_embeddings(speaker, wav):
    a, b = speaker.embed(wav[0]), speaker.embed(wav[1])
    score = speaker.similarity(wav[0], wav[1])
    assert isinstance(score, float) and score == pytest.approx(cosine(a, b), abs=1e-12)
    assert score == speaker.similarity(a, torch.from_numpy(b)) == speaker.similarity(wav[1], (soundfile.read(wav[0])))
    assert speaker.similarity(a, a) == pytest.approx(1.0, abs=1e-12)
    assert speaker.similarity(a, -2 * a) == pytest.approx(-1.0, abs=1e-12)
    rng = np.random.default_rng(0)
    assert max(speaker.similarity(x, 3 * x) for x in rng.standard_normal((200, 16))) <= 1.0  # unclipped, some exceed it


def test_a_mean_is_subtracted_only_when_given(experiment, wav, tmp_path):
    rng = np.random.default_rng(0)
    cohort = rng.standard_normal((5, 16)).astype(np.float32) / 10
    write_vectors(tmp_path / "xvector.scp", {f"u{i}": row for i, row in enumerate(cohort)})
    write_npy(tmp_path / "mean.npy", cohort.mean(axis=0))
    raw = load_model(experiment)
    a, b = raw.embed(wav[0]), raw.embed(wav[1])
    mean = cohort.astype(np.float64).mean(axis=0)
    expected = cosine(a - mean, b - mean)
    assert abs(expected - raw.similarity(a, b)) > 1e-3
    np.save(tmp_path / "cohort.npy", cohort)
    for given in (tmp_path / "xvector.scp", str(tmp_path / "mean.npy"), tmp_path / "cohort.npy", mean):
        centred = load_model(experiment, mean=given)
        assert centred.similarity(*wav) == pytest.approx(expected, abs=1e-6)
        np.testing.assert_array_equal(centred.embed(wav[0]), a)


def test_a_mean_of_another_model_is_refused(experiment, tmp_path):
    write_vectors(tmp_path / "xvector.scp", {"u": np.ones(12)})
    (tmp_path / "cut.npy").write_bytes(b"\x93NUMPY\x01\x00")
    for mean, message in ((tmp_path / "xvector.scp", r"16 finite numbers, .* shape \(12,\)"),
                          (np.full(16, np.nan), "16 finite numbers"),
                          (tmp_path / "none.scp", "none.scp: no such file"),
                          (tmp_path / "cut.npy", "not a whole .npy file")):
        with pytest.raises(InputError, match=message):
            load_model(experiment, mean=mean)


def test_audio_at_other_rates_is_resampled_to_the_models(speaker):
    whole = voice(1.5, rate=48000)
    at_16k = speaker.embed((resample(whole, 48000, 16000), 16000))
    np.testing.assert_allclose(speaker.embed((whole, 48000)), at_16k, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("rate", [8000, 11025, 44100, 48000])
def test_a_resampled_tone_is_the_tone(rate):
    time = np.arange(rate) / rate
    found = resample(np.sin(2 * np.pi * 1000 * time).astype(np.float32), rate, 16000)
    assert len(found) == 16000 and found.dtype == np.float32
    inside = slice(400, -400)  # edges ring: the tone begins and ends abruptly
    expected = np.sin(2 * np.pi * 1000 * np.arange(16000) / 16000)
    assert np.abs(found - expected)[inside].max() < 1e-3


@pytest.mark.parametrize(("audio", "message"), [
    ("nowhere.wav", "nowhere.wav: no such audio file"),
    ("echo gotcha |", "no such audio file"),
    ((voice(0.09), 16000), r"recording 0: 0.090 s is too short; the model needs 0.105 s"),
    ((np.zeros(0, np.float32), 16000), "recording 0: 0.000 s is too short"),
    ((np.zeros(16000, np.float32), 16000), "recording 0: silent, every sample is 0"),
    ((np.zeros((2, 16000), np.float32), 16000), r"recording 0: samples of shape \(2, 16000\); give one channel"),
    ((np.zeros(16000, np.int32), 16000), "recording 0: samples of type int32; give floats in"),
    ((32768 * voice(1), 16000), r"recording 0: samples reach \d+.* give floats in \[-1, 1\] or int16"),
    ((np.append(voice(1), np.nan).astype(np.float32), 16000), "recording 0: sample 16000 is not finite"),
    ((voice(1), 0), "sample rate must be a positive whole number of Hz, not 0"),
    ((voice(1), "16k"), "sample rate must be a positive whole number of Hz, not '16k'"),
    (voice(1), r"recording 0: give a path or \(samples, rate\), not a ndarray"),
])
def test_audio_that_cannot_be_embedded_is_named_with_the_reason(speaker, audio, message):
    with pytest.raises(InputError, match=message):
        speaker.embed(audio)


@pytest.mark.parametrize(("side", "message"), [
    (np.zeros(16), "side second: its embedding is zero"),
    (np.full(16, np.nan), "side second: its embedding is not finite"),
    (np.ones(12), r"the second side is an array of shape \(12,\); an embedding has 16 values"),
    (voice(1), r"the second side is an array of shape \(16000,\)"),
    ([1.0] * 16, r"give a path or \(samples, rate\), not a list"),
])
def test_a_side_that_cannot_be_compared_is_named(speaker, side, message):
    with pytest.raises(InputError, match=message):
        speaker.similarity(np.ones(16), side)


def test_only_given_commands_are_run_never_names(speaker, tmp_path):
    trap = tmp_path / "touch done; cat |"
    soundfile.write(tmp_path / "a.wav", voice(1), 16000)
    (tmp_path / "a.wav").rename(trap)
    with pytest.raises(InputError, match="no such audio file"):
        speaker.embed(trap)
