"""Chunks out of arks: the frames that a full read would give, the same for any worker, short ones repeated."""

import itertools

import numpy as np
import pytest
import torch

from wespk.corpora.label_noise import write_labels
from wespk.data import build_source
from wespk.data.labels import label_for_training, with_label
from wespk.data.loader import stream
from wespk.data.sampler import EpochPlan
from wespk.data.stored import write_stamp
from wespk.io.ark import ArkWriter, read_array, read_scp
from wespk.io.tables import read_table, write_table
from wespk.utils import config
from wespk.utils.errors import InputError
from wespk.utils.strings import PackedStrings

SETS = "features.num_mel_bins=6 data.chunk_frames=50 data.min_frames=20 seed=3 "


def conf(sets=""):
    return config.load(sets=SETS + sets)


@pytest.fixture
def data_dir(tmp_path):
    """Ten utterances of three speakers, 10 to 100 frames, in two arks, with a VAD that keeps every other frame."""
    rng = np.random.default_rng(0)
    keys = [f"s{i % 3}-u{i}" for i in range(10)]
    feats = {k: rng.normal(size=(10 * (i + 1), 6)).astype(np.float32) for i, k in enumerate(keys)}
    for part in range(2):
        with ArkWriter(tmp_path / f"{part}.ark", tmp_path / f"{part}.scp", compress=2) as ark:
            for key in keys[part::2]:
                ark.write(key, feats[key])
    write_table(tmp_path / "feats.scp", read_scp(tmp_path / "0.scp") | read_scp(tmp_path / "1.scp"))
    with ArkWriter(tmp_path / "vad.ark", tmp_path / "vad.scp") as ark:
        for key in keys:
            ark.write(key, (np.arange(len(feats[key])) % 2).astype(np.float32))
    write_table(tmp_path / "utt2num_frames", {k: str(len(v)) for k, v in feats.items()})
    write_table(tmp_path / "utt2spk", {k: k.split("-")[0] for k in keys})
    return tmp_path


def batches(source, epochs=2, workers=0):
    plan = EpochPlan(len(source.labels), 3, 1, 3)
    return list(stream(source, plan, 0, epochs * plan.steps_per_epoch, workers))


def test_labels_follow_the_speaker_names(data_dir):
    source = build_source(conf(), data_dir)
    assert source.speakers == ["s0", "s1", "s2"]
    names = source.describe(range(len(source.labels))).split()
    assert [source.speakers[i] for i in source.labels] == [n.split("-")[0] for n in names]


def test_labels_of_a_file_are_trained_on_without_those_that_it_lacks_and_without_the_datas_own(data_dir):
    (data_dir / "utt2spk").unlink()
    given = {f"s{i % 3}-u{i}": f"cl{i // 4}" for i in range(3, 10)}
    write_table(data_dir / "given", given)
    source = build_source(conf(f"labels.file={data_dir / 'given'} data.min_frames=50"), data_dir)
    names = source.describe(range(len(source.labels))).split()
    assert sorted(names) == sorted(given.keys() - {"s0-u3"})  # which is too short
    assert {name: source.speakers[label] for name, label in zip(names, source.labels, strict=True)} == {n: given[n] for n in names}
    assert source.summary() == "3 left out as not in labels.file, 1 left out as too short"


def test_copies_get_their_originals_label_of_a_file_and_speeds_a_name_of_their_own(data_dir):
    given = data_dir / "given"
    write_table(given, {"a": "x", "b": "y", "a-noise-b": "y"})
    asked = conf(f"labels.file={given} copies.speeds=[0.9] copies.kinds=[noise]")
    names = ["a", "a-noise", "a-noise-b", "b", "b-noise", "b-reverb", "c", "c-noise", "sp0.9-a", "sp0.9-c", "sp1.1-a"]
    kept = with_label(asked, "data", PackedStrings(names))
    assert [name for name, is_kept in zip(names, kept, strict=True) if is_kept] == ["a", "a-noise", "a-noise-b", "b", "b-noise", "sp0.9-a"]
    speakers, labels, wrong = label_for_training(asked, "data", PackedStrings(["a-noise", "a-noise-b", "sp0.9-a"]))
    assert ([speakers[i] for i in labels], wrong) == (["x", "y", "sp0.9-x"], 0)
    assert with_label(conf(), "data", PackedStrings(names)).all()


@pytest.mark.parametrize("table, sets, says", [
    (None, "", "does not exist: give a table with a line"),
    ({"s0-u0": "x", "elsewhere": "y"}, "", "has a label for 'elsewhere', which is not in"),
    ({"s0-u6": "x", "s0-u9": "x"}, "", "training needs at least two speakers"),
    ({}, "labels.noise=uniform labels.rate=0.1", "keep one of them"),
])
def test_a_file_of_labels_that_is_of_no_use_is_refused(data_dir, table, sets, says):
    if table:
        write_table(data_dir / "given", table)
    with pytest.raises(InputError, match=says):
        build_source(conf(f"labels.file={data_dir / 'given'} {sets}"), data_dir)


def test_labels_wrong_on_purpose_are_those_of_their_table(data_dir):
    sets = "labels.noise=uniform labels.rate=0.6 data.min_frames=35"
    with pytest.raises(InputError, match="label_noise/uniform-60-seed0/relabelled does not exist: make it with"):
        build_source(conf(sets), data_dir)
    write_labels(conf(sets)["labels"], data_dir, data_dir)
    source = build_source(conf(sets), data_dir)
    given = read_table(data_dir / "label_noise" / "uniform-60-seed0" / "utt2spk")
    names = source.describe(range(len(source.labels))).split()
    assert [source.speakers[i] for i in source.labels] == [given[n] for n in names]
    assert source.relabelled == sum(given[n] != n.split("-")[0] for n in names) > 0
    for batch in batches(source):
        assert [source.speakers[i] for i in batch.labels] == [given[source.describe([i])] for i in batch.items]
    clean = build_source(conf("data.min_frames=35"), data_dir)
    assert clean.relabelled == 0 and list(clean.identity()) != list(source.identity())


def test_utterances_below_min_frames_are_left_out_and_counted(data_dir):
    source = build_source(conf("data.min_frames=35"), data_dir)
    assert len(source.labels) == 7 and source.too_short == 3 and "3 left out" in source.summary()
    assert source.shorter == 1 and source.summary().endswith("too short, 1 shorter than a chunk of 50 frames and repeated to fill it")
    with pytest.raises(InputError, match="none of 10 training utterances has data.min_frames=101"):
        build_source(conf("data.min_frames=101"), data_dir)
    (data_dir / "none").write_text("")
    with pytest.raises(InputError, match="no utterance to train on: the data folder, or labels.file, lists none"):
        build_source(conf(f"labels.file={data_dir / 'none'}"), data_dir)


def test_copies_at_other_speeds_are_left_out_on_request_and_noisy_ones_are_not(data_dir):
    feats, frames, speakers = (read_table(data_dir / name) for name in ("feats.scp", "utt2num_frames", "utt2spk"))
    for table in (feats, frames, speakers):  # sp0.9-lone is no copy: there is no utterance `lone`
        table |= {"sp0.9-s0-u9": table["s0-u9"], "s0-u9-noise": table["s0-u9"], "sp0.9-lone": table["s1-u7"]}
    speakers |= {"sp0.9-s0-u9": "sp0.9-s0", "sp0.9-lone": "sp0.9-lone"}
    for name, table in (("feats.scp", feats), ("utt2num_frames", frames), ("utt2spk", speakers)):
        write_table(data_dir / name, table)
    sets = "copies.speeds=[0.9,1.1] data.speed_copies="
    every, slow = (build_source(conf(sets + value), data_dir) for value in ("true", "false"))
    assert every.speakers == ["s0", "s1", "s2", "sp0.9-lone", "sp0.9-s0"] and len(every.labels) == 12
    assert slow.speakers == ["s0", "s1", "s2", "sp0.9-lone"] and len(slow.labels) == 11
    assert "1 left out as copies at other speeds, 1 left out as too short" in slow.summary()
    assert "speeds" not in every.summary() and "s0-u9-noise" in slow.describe(range(11)).split()


@pytest.mark.parametrize("cmn", ["none", "mean"])
def test_a_chunk_is_a_piece_of_its_utterance(data_dir, cmn):
    source = build_source(conf(f"features.cmn={cmn}"), data_dir)
    table = read_scp(data_dir / "feats.scp")
    starts = set()
    for batch in batches(source, epochs=6):
        feats = source.finish(batch, torch.device("cpu"))
        assert feats.shape == (len(batch.items), 50, 6) and feats.dtype == torch.float32
        for item, label, chunk in zip(batch.items, batch.labels, feats.numpy(), strict=True):
            key = source.describe([item])
            assert source.speakers[label] == key.split("-")[0]
            whole = read_array(table[key])
            if len(whole) < 50:
                candidates = {0: whole[np.arange(50) % len(whole)]}
            else:
                candidates = {s: whole[s:s + 50] for s in range(len(whole) - 49)}
            if cmn == "mean":
                candidates = {s: c - c.mean(0) for s, c in candidates.items()}
            matches = [s for s, c in candidates.items() if np.allclose(c, chunk, atol=1e-5)]
            assert matches
            starts.add((key, matches[0]))
    assert len(starts) > len(source.labels)


def test_crops_repeat_for_a_seed_and_change_with_the_epoch(data_dir):
    def crops(workers=0, sets=""):
        source = build_source(conf(sets), data_dir)
        return {(b.epoch, int(i)): b.inputs["codes"][j] for b in batches(source, workers=workers)
                for j, i in enumerate(b.items)}

    first, again, helped, other = crops(), crops(), crops(workers=2), crops(sets="seed=4")
    assert first.keys() == again.keys() == helped.keys()
    assert all(torch.equal(first[k], again[k]) and torch.equal(first[k], helped[k]) for k in first)
    longest = max(i for _, i in first)
    assert not torch.equal(first[0, longest], first[1, longest])
    assert not all(torch.equal(first[k], other[k]) for k in first if k in other)


def test_with_vad_only_speech_frames_are_used(data_dir):
    source = build_source(conf("features.vad=true features.cmn=none"), data_dir)
    table = read_scp(data_dir / "feats.scp")
    for batch in batches(source):
        for item, chunk in zip(batch.items, source.finish(batch, torch.device("cpu")).numpy(), strict=True):
            speech = read_array(table[source.describe([item])])[1::2]
            rows = [np.flatnonzero((speech == frame).all(1))[0] for frame in chunk]
            assert all((b - a) % len(speech) == 1 or len(speech) == 1 for a, b in itertools.pairwise(rows))


def test_masks_are_drawn_for_each_utterance(data_dir):
    source = build_source(conf("augment.mask_prob=1.0 augment.time_width=20 augment.freq_width=3"), data_dir)
    batch = batches(source)[0]
    masked = source.finish(batch, torch.device("cpu")) == 0
    assert masked.any()
    assert not torch.equal(masked[0], masked[1])


@pytest.mark.parametrize("spoil, says", [
    (lambda d: (d / "feats.scp").unlink(), "compute the features first"),
    (lambda d: write_table(d / "utt2num_frames", {"x": "3"}), "utt2num_frames lacks 's0-u0'"),
    (lambda d: write_table(d / "utt2spk", {"x": "s"}), "no speaker for utterance"),
    (lambda d: write_table(d / "utt2spk", {f"s{i % 3}-u{i}": "same" for i in range(10)}), "at least two speakers"),
])
def test_a_broken_data_folder_is_refused_by_name(data_dir, spoil, says):
    spoil(data_dir)
    with pytest.raises(InputError, match=says):
        build_source(conf(), data_dir)


def test_features_of_another_configuration_are_refused(data_dir):
    write_stamp(data_dir, conf()["features"])
    build_source(conf(), data_dir)
    with pytest.raises(InputError, match=r"low_freq 20.0 \(now 40.0\)"):
        build_source(conf("features.low_freq=40.0"), data_dir)
    (data_dir / "features.json").unlink()
    with pytest.raises(InputError, match="has 6 columns, the section 'features' describes 40"):
        build_source(conf("features.num_mel_bins=40"), data_dir)


def test_a_truncated_ark_stops_training_naming_the_utterance(data_dir):
    source = build_source(conf(), data_dir)
    ark = data_dir / "1.ark"
    ark.write_bytes(ark.read_bytes()[:200])
    with pytest.raises(InputError, match="1.ark"):
        batches(source, workers=1)


def test_vad_without_any_speech_is_refused_by_name(data_dir):
    with ArkWriter(data_dir / "vad.ark", data_dir / "vad.scp") as ark:
        for i in range(10):
            ark.write(f"s{i % 3}-u{i}", np.zeros(10 * (i + 1), np.float32))
    with pytest.raises(InputError, match="the VAD found no speech"):
        batches(build_source(conf("features.vad=true"), data_dir))
