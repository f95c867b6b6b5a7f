"""Crops out of audio files: the samples of the file, the same in any company, classes by speed."""

import numpy as np
import pytest
import soundfile
import torch

from wespk.corpora.label_noise import write_labels
from wespk.data import build_source
from wespk.data.loader import stream
from wespk.data.sampler import EpochPlan
from wespk.data.waves import read_bank
from wespk.features.front_end import FrontEnd
from wespk.io.audio import floating
from wespk.io.tables import read_table, write_table
from wespk.utils import config
from wespk.utils.errors import InputError

SETS = "data.input=waves data.chunk_frames=50 data.min_frames=20 features.num_mel_bins=20 seed=3 "


def conf(sets=""):
    return config.load(sets=SETS + sets)


def write_audio(path, seconds, seed, rate=16000):
    samples = np.random.default_rng(seed).normal(scale=0.1, size=int(seconds * rate))
    soundfile.write(path, samples, rate, subtype="PCM_16")
    return str(path)


@pytest.fixture
def data_dir(tmp_path):
    seconds = {f"s{i % 2}-u{i}": 0.3 + 0.2 * i for i in range(8)}
    write_table(tmp_path / "wav.scp", {k: write_audio(tmp_path / f"{k}.wav", s, i) for i, (k, s) in enumerate(seconds.items())})
    write_table(tmp_path / "utt2dur", {k: f"{int(s * 16000) / 16000:.7g}" for k, s in seconds.items()})
    write_table(tmp_path / "utt2spk", {k: k[:2] for k in seconds})
    for kind in ("noise", "music", "speech", "rirs"):
        table = {f"{kind}{i}": write_audio(tmp_path / f"{kind}{i}.wav", 0.4, 100 + i) for i in range(8)}
        write_table(tmp_path / f"{kind}.scp", table)
    return tmp_path


def run(source, epochs=1, workers=0):
    plan = EpochPlan(len(source.labels), 4, 1, 3)
    for batch in stream(source, plan, 0, epochs * plan.steps_per_epoch, workers):
        yield batch, source.finish(batch, torch.device("cpu"))


def test_without_augmentation_features_are_those_of_a_piece_of_the_file(data_dir):
    source = build_source(conf("features.cmn=none"), data_dir)
    front_end, seen = FrontEnd(conf()["features"]), 0
    for batch, feats in run(source):
        assert feats.shape == (len(batch.items), 50, 20)
        for item, wave, row in zip(batch.items, batch.inputs["waves"], feats, strict=True):
            whole, _ = soundfile.read(data_dir / f"{source.describe([item])}.wav", dtype="int16")
            if len(whole) >= source.chunk:
                starts = [s for s in range(len(whole) - source.chunk + 1) if whole[s] == wave[0]]
                assert any(np.array_equal(whole[s:s + source.chunk], wave.numpy()) for s in starts)
            else:
                assert np.array_equal(np.resize(whole, source.chunk), wave.numpy())
            torch.testing.assert_close(row, front_end(floating(wave)), atol=2e-4, rtol=0)
            seen += 1
    assert seen == len(source.labels)


@pytest.mark.parametrize("part", [1, 2])
def test_features_are_the_same_whether_samples_are_kept_as_integers_or_as_floating_point(data_dir, part):
    """Every recording, or every other one, is written again in 32-bit floating point: batches are of another type."""
    sets = "augment.prob=0.9 augment.speeds=[0.9,1.1]"
    before = [(batch.inputs["waves"].dtype, feats) for batch, feats in run(build_source(conf(sets), data_dir, data_dir, data_dir))]
    for path in sorted(data_dir.glob("*u*.wav"))[::part]:
        samples, rate = soundfile.read(path, dtype="float32")
        soundfile.write(path, samples, rate, subtype="FLOAT")
    after = [(batch.inputs["waves"].dtype, feats) for batch, feats in run(build_source(conf(sets), data_dir, data_dir, data_dir))]
    assert {dtype for dtype, _ in before} == {torch.int16} and {dtype for dtype, _ in after} == {torch.float32}
    assert all(torch.equal(a, b) for (_, a), (_, b) in zip(before, after, strict=True))


def test_a_chunk_does_not_depend_on_workers_or_company(data_dir):
    sets = "augment.prob=0.9 augment.speeds=[0.9,1.1] augment.mask_prob=0.5"
    found = []
    for workers in (0, 2):
        source = build_source(conf(sets), data_dir, data_dir, data_dir)
        rows = {(b.epoch, int(i)): (f, int(label)) for b, feats in run(source, 2, workers)
                for i, f, label in zip(b.items, feats, b.labels)}
        found.append(rows)
    for key, (feats, label) in found[0].items():
        assert torch.equal(feats, found[1][key][0]) and label == found[1][key][1]
    assert not torch.equal(found[0][0, 7][0], found[0][1, 7][0])


def test_each_speed_of_a_speaker_is_a_class_by_name(data_dir):
    source = build_source(conf("augment.speeds=[0.9,1.1]"), data_dir)
    assert source.speakers == ["s0", "s1", "sp0.9-s0", "sp0.9-s1", "sp1.1-s0", "sp1.1-s1"]
    seen = set()
    for batch, _ in run(source, epochs=12):
        for item, label in zip(batch.items, batch.labels, strict=True):
            assert source.speakers[label].endswith(source.describe([item])[:2])
            seen.add(int(label))
    assert seen == set(range(6))


def test_labels_of_a_file_leave_out_what_it_lacks_and_each_speed_of_one_is_a_class(data_dir):
    table = read_table(data_dir / "utt2spk")
    given = dict(zip(list(table)[1:], ["cl1", "cl2"] * 10))
    write_table(data_dir / "given", given)
    (data_dir / "utt2spk").unlink()
    source = build_source(conf(f"augment.speeds=[0.9] labels.file={data_dir / 'given'}"), data_dir)
    assert source.speakers == ["cl1", "cl2", "sp0.9-cl1", "sp0.9-cl2"] and source.describe(range(len(source.labels))).split() == list(given)
    assert [source.speakers[i] for i in source.labels] == list(given.values())
    assert "1 left out as not in labels.file" in source.summary()


def test_utterances_shorter_than_a_chunk_are_counted(data_dir):
    source = build_source(conf("data.chunk_frames=89"), data_dir)  # 0.905 s with the frames' overlap: more than 0.9 s
    assert source.shorter == 4 and "4 shorter than a chunk of 89 frames and repeated to fill it; augm" in source.summary()
    assert "shorter" not in build_source(conf("data.chunk_frames=25"), data_dir).summary()


def test_a_speed_of_an_utterance_labelled_wrong_on_purpose_is_of_the_given_speaker(data_dir):
    sets = conf("augment.speeds=[0.9] labels.noise=uniform labels.rate=0.5 labels.seed=2")
    write_labels(sets["labels"], data_dir, data_dir)
    given = read_table(data_dir / "label_noise" / "uniform-50-seed2" / "utt2spk")
    source = build_source(sets, data_dir)
    assert source.relabelled == 4
    seen = set()
    for batch, _ in run(source, epochs=8):
        for item, label in zip(batch.items, batch.labels, strict=True):
            speaker = given[source.describe([item])]
            assert source.speakers[label] in (speaker, f"sp0.9-{speaker}")
            seen.add((int(item), int(label)))
    assert len(seen) == 16


def test_augmentation_changes_the_share_of_chunks_it_is_asked_to(data_dir):
    plain = build_source(conf(), data_dir)
    spoilt = build_source(conf("augment.prob=0.5"), data_dir, data_dir, data_dir)
    assert spoilt.banks == {"noise": 8, "music": 8, "babble": 8, "rir": 8}
    changed = [not torch.allclose(a, b) for (_, x), (_, y) in zip(run(plain, 20), run(spoilt, 20), strict=True)
               for a, b in zip(x, y, strict=True)]
    assert 0.35 < np.mean(changed) < 0.65  # 160 draws at one half: three standard deviations are 0.12


def test_a_bank_takes_a_seeded_selection_of_a_large_corpus(data_dir):
    tables = {"noise": data_dir / "noise.scp"}
    bank, count = read_bank(tables, 16000, 1.0 / 60, 3, "cpu")  # one second of 0.4 s files: three
    again, _ = read_bank(tables, 16000, 1.0 / 60, 3, "cpu")
    assert count == {"noise": 3} and bank.count("noise") == 3
    files = np.arange(3)
    assert torch.equal(bank.fetch("noise", files, np.zeros(3, int), 100), again.fetch("noise", files, np.zeros(3, int), 100))


@pytest.mark.parametrize("sets, musan, says", [
    ("augment.prob=0.5 augment.reverb_share=0", False, "give the noises"),
    ("augment.prob=0.5 augment.reverb_share=1", True, "give impulse responses"),
])
def test_augmentation_without_its_material_is_refused(data_dir, sets, musan, says):
    with pytest.raises(InputError, match=says):
        build_source(conf(sets), data_dir, data_dir if musan else None, None)


def test_a_missing_noise_list_is_named(data_dir):
    (data_dir / "music.scp").unlink()
    with pytest.raises(InputError, match="music.scp does not exist"):
        build_source(conf("augment.prob=0.5"), data_dir, data_dir, data_dir)


def test_a_silent_noise_is_refused_by_name(data_dir):
    soundfile.write(data_dir / "rirs3.wav", np.zeros(100), 16000)
    with pytest.raises(InputError, match="'rirs3' .* is silent"):
        build_source(conf("augment.prob=0.5"), data_dir, data_dir, data_dir)


def test_segments_are_refused(data_dir):
    (data_dir / "segments").write_text("a s0-u0 0 1\n")
    with pytest.raises(InputError, match="takes whole recordings"):
        build_source(conf(), data_dir)


def test_audio_at_another_rate_is_refused_by_name(data_dir):
    write_audio(data_dir / "s1-u7.wav", 3.4, 0, rate=8000)
    with pytest.raises(InputError, match=r"'s1-u7' .*8000 Hz, but features.sample_rate is 16000"):
        list(run(build_source(conf(), data_dir), workers=1))
