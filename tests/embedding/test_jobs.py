"""Stage 4 by jobs: any number of jobs gives the same table, and nothing incomplete is taken for whole."""

import os
from types import SimpleNamespace

import kaldi_native_io
import numpy as np
import pytest
import soundfile
import torch

from tests.embedding.tiny_networks import tiny_checkpoint, tiny_config, voice
from wespk.data.stored import write_stamp
from wespk.embedding.extractor import embed_features
from wespk.embedding.jobs import extract_job, merge
from wespk.embedding.loading import load_network
from wespk.embedding.sources import FeatureArks, open_source
from wespk.io.ark import ArkWriter, read_array, read_scp, read_vectors
from wespk.io.frames import FrameReader
from wespk.io.tables import read_table, write_table
from wespk.utils.errors import InputError

SPEAKERS = 5


@pytest.fixture
def data(tmp_path):
    """A data folder: 20 utterances of 5 speakers, features of unequal lengths."""
    folder, rng = tmp_path / "data", np.random.default_rng(3)
    keys = [f"s{i % SPEAKERS}-rec-{i:02d}" for i in range(20)]
    with ArkWriter(folder / "feats.ark", folder / "feats.scp", compress=2) as ark:
        for key in keys:
            ark.write(key, 3 * rng.standard_normal((rng.integers(30, 150), 80)) - 8)
    write_table(folder / "utt2spk", {k: k.split("-")[0] for k in keys})
    return folder


def extract(experiment, data, out, num_jobs, kind="feats", **options):
    network = load_network(experiment)
    for job in range(1, num_jobs + 1):
        extract_job(network, open_source(data, network, kind), out, job, num_jobs, "cpu", **options)
    return merge(data, out, num_jobs)


def test_the_number_of_jobs_changes_no_bit(experiment, data, tmp_path):
    found = {}
    for num_jobs in (1, 2, 3, 7):
        assert extract(experiment, data, tmp_path / f"out{num_jobs}", num_jobs) == (20, 0)
        found[num_jobs] = read_vectors(tmp_path / f"out{num_jobs}" / "xvector.scp")
    keys, rows = found[1]
    assert keys == sorted(read_table(data / "utt2spk"))
    for other_keys, other_rows in found.values():
        assert other_keys == keys
        np.testing.assert_array_equal(other_rows, rows)


def test_the_table_holds_the_embeddings_of_the_features_and_kaldi_reads_it(experiment, data, tmp_path):
    extract(experiment, data, tmp_path / "out", 2)
    specs, network = read_scp(data / "feats.scp"), load_network(experiment)
    with kaldi_native_io.SequentialFloatVectorReader(f"scp:{tmp_path}/out/xvector.scp") as reader:
        found = {key: np.array(value) for key, value in reader}
    assert found.keys() == specs.keys()
    for key, spec in specs.items():
        np.testing.assert_allclose(found[key], embed_features(network.model, [read_array(spec)])[0], rtol=0, atol=1e-5)


def test_merging_leaves_one_table_and_no_parts_even_of_earlier_runs_with_more_jobs(experiment, data, tmp_path):
    out = tmp_path / "out"
    network = load_network(experiment)
    extract_job(network, open_source(data, network, "feats"), out, 5, 5, "cpu")
    extract(experiment, data, out, 2)
    assert sorted(p.name for p in out.iterdir()) == ["xvector.ark", "xvector.scp"]


def test_more_jobs_than_utterances_leave_empty_tables_that_merge(experiment, data, tmp_path):
    assert extract(experiment, data, tmp_path / "out", 40) == (20, 0)


def test_speaker_means_are_means_of_the_embeddings(experiment, data, tmp_path):
    out = tmp_path / "out"
    network = load_network(experiment)
    extract_job(network, open_source(data, network, "feats"), out, 1, 1, "cpu")
    assert merge(data, out, 1, speaker_means=True) == (20, SPEAKERS)
    keys, rows = read_vectors(out / "xvector.scp")
    speakers, means = read_vectors(out / "spk_xvector.scp")
    assert speakers == [f"s{i}" for i in range(SPEAKERS)]
    for speaker, mean in zip(speakers, means, strict=True):
        mine = [row.astype(np.float64) for key, row in zip(keys, rows, strict=True) if key.startswith(speaker)]
        np.testing.assert_allclose(mean, np.mean(mine, axis=0), rtol=1e-6, atol=1e-7)


def test_a_missing_job_is_named(experiment, data, tmp_path):
    out = tmp_path / "out"
    network = load_network(experiment)
    for job in (1, 3):
        extract_job(network, open_source(data, network, "feats"), out, job, 3, "cpu")
    with pytest.raises(InputError, match=r"xvector.2.json is not there: job 2 of 3 failed or has not run"):
        merge(data, out, 3)
    assert not (out / "xvector.scp").exists()


def test_missing_foreign_and_doubled_utterances_are_named(experiment, data, tmp_path):
    out = tmp_path / "out"
    network = load_network(experiment)

    def job(number, of):
        extract_job(network, open_source(data, network, "feats"), out, number, of, "cpu")

    job(1, 1)
    table = read_table(out / "xvector.1.scp")
    write_table(out / "xvector.1.scp", {k: v for k, v in table.items() if k != "s3-rec-08"})
    with pytest.raises(InputError, match="1 of 20 utterances have no embedding .* the first is s3-rec-08"):
        merge(data, out, 1)
    write_table(out / "xvector.1.scp", table | {"s9-foreign": table["s3-rec-08"]})
    with pytest.raises(InputError, match="xvector.1.scp: utterance s9-foreign is not in the data folder"):
        merge(data, out, 1)
    job(1, 2)
    job(2, 2)
    write_table(out / "xvector.2.scp", read_table(out / "xvector.2.scp") | read_table(out / "xvector.1.scp"))
    with pytest.raises(InputError, match=r"xvector.2.scp: utterance s\S+ was extracted by an earlier job too"):
        merge(data, out, 2)
    assert not (out / "xvector.scp").exists()


def test_jobs_of_two_runs_are_not_mixed(experiment, data, tmp_path):
    out, first = tmp_path / "out", load_network(experiment)
    torch.save(tiny_checkpoint(tiny_config(), seed=9), tmp_path / "other.pt")
    second = load_network(tmp_path / "other.pt")
    extract_job(first, open_source(data, first, "feats"), out, 1, 2, "cpu")
    extract_job(first, open_source(data, first, "feats"), out, 2, 2, "cpu")
    extract_job(second, open_source(data, second, "feats"), out, 1, 2, "cpu")
    with pytest.raises(InputError, match=r"xvector.2.json: job 2 used another model \(\S+epoch_0001.pt\) than job 1 "):
        merge(data, out, 2)
    extract_job(second, open_source(data, second, "feats"), out, 2, 3, "cpu")
    with pytest.raises(InputError, match=r"xvector.2.json: was one of 3 jobs, not of 2"):
        merge(data, out, 2)


def test_a_job_that_fails_leaves_nothing_of_an_earlier_run(experiment, data, tmp_path):
    out, network = tmp_path / "out", load_network(experiment)
    source = open_source(data, network, "feats")
    extract_job(network, source, out, 1, 1, "cpu")
    (out / ".xvector.1.ark.123.tmp").write_text("left by a kill")
    (out / ".xvector.2.ark.123.tmp").write_text("another job's")
    os.utime(data / "feats.scp")
    source = open_source(data, network, "feats")
    source.read = lambda index: np.zeros((1, 80), np.float32)
    with pytest.raises(InputError, match="1 frames, but the model needs"):
        extract_job(network, source, out, 1, 1, "cpu")
    assert [path.name for path in out.iterdir()] == [".xvector.2.ark.123.tmp"]


def was_done_again(network, data, out, job=2, num_jobs=3, kind="feats", **options):
    mark = out / f"xvector.{job}.json"
    before = mark.stat().st_mtime_ns
    extract_job(network, open_source(data, network, kind), out, job, num_jobs, "cpu", **options)
    return mark.stat().st_mtime_ns != before


def test_a_job_that_is_done_is_not_done_again_and_says_so(experiment, data, tmp_path):
    out, network, said = tmp_path / "out", load_network(experiment), []
    assert extract(experiment, data, tmp_path / "whole", 3) == (20, 0)
    logger = SimpleNamespace(info=lambda text, *words: said.append(text % words))
    for job in (1, 2, 3, 1):
        extract_job(network, open_source(data, network, "feats"), out, job, 3, "cpu", logger=logger)
    assert said == [f"job 1 of 3 is done already; remove {out}/xvector.1.json to do it again"]
    assert merge(data, out, 3) == (20, 0)
    for mine, theirs in zip(read_vectors(out / "xvector.scp"), read_vectors(tmp_path / "whole" / "xvector.scp")):
        np.testing.assert_array_equal(mine, theirs)


def test_a_job_that_is_not_as_it_was_is_done_again(experiment, data, tmp_path):
    out, network = tmp_path / "out", load_network(experiment)
    extract_job(network, open_source(data, network, "feats"), out, 2, 3, "cpu")
    assert not was_done_again(network, data, out)
    for change in (lambda: os.utime(data / "feats.scp"), lambda: os.truncate(out / "xvector.2.ark", 40),
                   (out / "xvector.2.scp").unlink, lambda: network.config["features"].update(cmn="none"),
                   lambda: network.model.linear.weight.data.mul_(1.5)):
        change()
        assert was_done_again(network, data, out) and not was_done_again(network, data, out)
    for options in ({"max_frames": 300}, {"num_jobs": 4}):
        assert was_done_again(network, data, out, **options) and not was_done_again(network, data, out, **options)


def test_a_job_whose_recording_has_changed_is_done_again(experiment, tmp_path):
    folder, network = tmp_path / "data", load_network(experiment)
    folder.mkdir()
    for name in "ab":
        soundfile.write(folder / f"{name}.wav", voice(1.0), 16000)
    write_table(folder / "wav.scp", {name: folder / f"{name}.wav" for name in "ab"})
    write_table(folder / "utt2dur", {name: 1.0 for name in "ab"})
    extract_job(network, open_source(folder, network, "waves"), tmp_path / "out", 1, 1, "cpu")
    assert not was_done_again(network, folder, tmp_path / "out", 1, 1, "waves")
    soundfile.write(folder / "b.wav", voice(1.0, seed=3), 16000)
    assert was_done_again(network, folder, tmp_path / "out", 1, 1, "waves")


def test_speaker_means_without_utt2spk_are_refused_before_anything_is_merged(experiment, data, tmp_path):
    network = load_network(experiment)
    extract_job(network, open_source(data, network, "feats"), tmp_path / "out", 1, 1, "cpu")
    (data / "utt2spk").unlink()
    with pytest.raises(InputError, match="--speaker-means true needs .*utt2spk"):
        merge(data, tmp_path / "out", 1, speaker_means=True)
    assert (tmp_path / "out" / "xvector.1.scp").exists()


def test_an_utterance_without_features_is_named_before_anything_is_computed(experiment, data):
    write_table(data / "utt2spk", read_table(data / "utt2spk") | {"s9-new": "s9"})
    with pytest.raises(InputError, match=r"feats.scp: utterance s9-new is not there; compute its features \(stage 2\)"):
        open_source(data, load_network(experiment), "feats")


def test_features_made_with_other_options_than_the_models_are_refused(experiment, data):
    network = load_network(experiment)
    write_stamp(data, network.config["features"])
    open_source(data, network, "feats")
    write_stamp(data, network.config["features"] | {"window": "hamming", "low_freq": 64.0, "compress": 0})
    with pytest.raises(InputError, match=r"low_freq 64.0 \(now 20.0\), window hamming \(now povey\); run stage 2 with"):
        open_source(data, network, "feats")


def test_with_utt2num_frames_no_header_is_read_but_those_of_the_share(experiment, data, monkeypatch):
    network = load_network(experiment)
    counted = open_source(data, network, "feats").num_frames
    write_table(data / "utt2num_frames", {key: len(read_array(spec)) for key, spec in read_scp(data / "feats.scp").items()})
    read, header = [], FrameReader._header
    monkeypatch.setattr(FrameReader, "_header", lambda self, index: read.append(index) or header(self, index))
    source = open_source(data, network, "feats")
    source.read(5)
    assert source.num_frames.tolist() == counted.tolist() and set(read) <= {0, 5}


def test_a_wrong_or_missing_number_of_frames_is_named(experiment, data):
    network, keys = load_network(experiment), sorted(read_table(data / "utt2spk"))
    frames = {key: len(read_array(spec)) for key, spec in read_scp(data / "feats.scp").items()}
    write_table(data / "utt2num_frames", frames | {keys[3]: 7})
    with pytest.raises(InputError, match=f"'{keys[3]}' in .*not 7 frames"):
        open_source(data, network, "feats").read(3)
    del frames[keys[3]]
    write_table(data / "utt2num_frames", frames)
    with pytest.raises(InputError, match=f"utt2num_frames: utterance {keys[3]} is not there; repeat stage 2"):
        open_source(data, network, "feats")


def test_features_of_another_dimension_are_refused_by_name(experiment, data, tmp_path):
    with ArkWriter(data / "feats.ark", data / "feats.scp") as ark:
        for key in sorted(read_table(data / "utt2spk")):
            ark.write(key, np.ones((30, 40)))
    network = load_network(experiment)
    with pytest.raises(InputError, match=r"utterance s\S+: features of shape \(30, 40\), but the model takes .* 80"):
        extract_job(network, open_source(data, network, "feats"), tmp_path / "out", 1, 1, "cpu")
    assert not list((tmp_path / "out").glob("*"))


def test_vad_decisions_that_do_not_fit_the_features_are_refused_by_name(experiment, data):
    keys = sorted(read_table(data / "utt2spk"))
    section = load_network(experiment).config["features"] | {"vad": True}
    frames = {key: len(read_array(spec)) for key, spec in read_scp(data / "feats.scp").items()}
    with ArkWriter(data / "vad.ark", data / "vad.scp") as ark:
        for key in keys:
            ark.write(key, np.ones(frames[key] - (key == keys[2])) * (key != keys[3]))
    source = FeatureArks(data, section)
    assert len(source.read(0)) == frames[keys[0]]
    fewer = frames[keys[2]] - 1
    with pytest.raises(InputError, match=f"{keys[2]}: {fewer} VAD decisions for {fewer + 1} frames"):
        source.read(2)
    with pytest.raises(InputError, match=f"{keys[3]}: the VAD finds no speech in it"):
        source.read(3)


def test_segments_of_long_recordings_are_utterances_too(experiment, tmp_path):
    folder, network = tmp_path / "data", load_network(experiment)
    folder.mkdir()
    wave = np.concatenate([voice(1.0, seed=1), voice(1.25, seed=2)])
    soundfile.write(folder / "r.wav", wave, 16000, subtype="FLOAT")
    write_table(folder / "wav.scp", {"r": folder / "r.wav"})
    write_table(folder / "segments", {"a-1": "r 0.0 1.0", "b-1": "r 1.0 2.25"})
    write_table(folder / "utt2spk", {"a-1": "a", "b-1": "b"})
    write_table(folder / "utt2dur", {"a-1": 1.0, "b-1": 1.25})
    extract(experiment, folder, tmp_path / "out", 2, kind="waves")
    keys, rows = read_vectors(tmp_path / "out" / "xvector.scp")
    expected = embed_features(network.model, map(network.front_end, (wave[:16000], wave[16000:])))
    assert keys == ["a-1", "b-1"]
    np.testing.assert_allclose(rows, expected, rtol=0, atol=1e-5)


def test_audio_at_fault_is_named_with_its_utterance(experiment, tmp_path):
    folder, network = tmp_path / "data", load_network(experiment)
    folder.mkdir()
    soundfile.write(folder / "slow.wav", voice(1.0, rate=8000), 8000)
    write_table(folder / "utt2dur", {"s-1": 1.0})
    for name, message in (("none.wav", r"utterance s-1: \S*none.wav: no such file"),
                          ("slow.wav", r"utterance s-1 \(\S*slow.wav\): 8000 Hz, but the model was trained at 16000")):
        write_table(folder / "wav.scp", {"s-1": folder / name})
        with pytest.raises(InputError, match=message):
            open_source(folder, network, "waves").read(0)


def test_a_job_number_outside_the_range_is_refused(experiment, data, tmp_path):
    network = load_network(experiment)
    for job in (0, 4):
        with pytest.raises(InputError, match=f"--job {job} is not among 1..3"):
            extract_job(network, open_source(data, network, "feats"), tmp_path, job, 3, "cpu")
