"""Short training utterances are joined to a minimum length: which, under what names, and that all readers read them."""

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.corpora.feature_folders import burst, conf, make_audio
from wespk.corpora.features import compute_job
from wespk.corpora.joining import join_short, neighbours
from wespk.corpora.merge_features import merge_jobs
from wespk.corpora.prepare import prepare
from wespk.corpora.registry import Corpus, Utterance
from wespk.data.waves import WaveChunks
from wespk.embedding.sources import WaveFiles
from wespk.features.front_end import FrontEnd
from wespk.io.ark import read_array, read_scp
from wespk.io.audio import floating, read_audio
from wespk.io.data_dir import validate
from wespk.io.tables import read_spk2utt, read_table
from wespk.utils.errors import InputError

LENGTHS = {"id00001-play-01-001": 0.5, "id00001-play-01-002": 0.4, "id00001-play-02-001": 0.6, "id00001-vlog-01-001": 0.3,
           "id00002-play-01-001": 1.2, "id00002-play-01-002": 0.7}  # fmt: skip
JOINED = {"id00001-play-01-001-comb3": ["id00001-play-01-001", "id00001-play-01-002", "id00001-play-02-001"],
          "id00001-vlog-01-001": ["id00001-vlog-01-001"],
          "id00002-play-01-001-comb2": ["id00002-play-01-001", "id00002-play-01-002"]}  # fmt: skip


def bystander(key):
    return Utterance(key[:7], key[8:15], f"/audio/{key}.flac", key[8:12])


@pytest.fixture
def corpus(tmp_path):
    """A ``Corpus`` of recordings on disk that last ``LENGTHS``, and nothing to test on."""
    def recording(number, key):
        path = make_audio(tmp_path / "audio", key, burst(LENGTHS[key], number))
        return Utterance(key[:7], key[8:15], path, key[8:12])

    return Corpus({key: recording(number, key) for number, key in enumerate(LENGTHS)}, {}, [])


def test_parts_of_another_sample_rate_are_found_before_anything_is_written(corpus, tmp_path):
    strange = corpus.train["id00001-play-02-001"].path
    soundfile.write(strange, np.full(4000, 0.1), 8000)  # half a second
    other = corpus.train["id00001-play-01-001"].path
    with pytest.raises(InputError, match=f"{strange}: 8000 Hz, but {other}, with which it would be joined, has 16000 Hz"):
        prepare(corpus, str(tmp_path / "data"), 0, 1, 1, 1.0)
    assert not (tmp_path / "data").exists()
    prepare(corpus, str(tmp_path / "data"), 0, 1, 1, 0.0)  # by itself it is validation that tells
    soundfile.write(strange, np.full((9600, 2), 0.1), 16000)
    with pytest.raises(InputError, match=f"{strange}: 2 channels, where one is expected"):
        prepare(corpus, str(tmp_path / "data"), 0, 1, 1, 1.0)


@pytest.fixture
def joined(corpus, tmp_path):
    """(the corpus, its training folder with utterances joined to 1 s)."""
    prepare(corpus, str(tmp_path / "data"), 0, 1, 1, 1.0)
    return corpus, tmp_path / "data" / "train"


def samples_of(corpus, parts):
    return np.concatenate([read_audio(corpus.train[part].path)[0] for part in parts])


@pytest.mark.parametrize(
    "seconds, runs",
    [([], []), ([6.0, 5.0], [(0, 1), (1, 2)]), ([2.0], [(0, 1)]), ([1.0, 2.0, 1.0], [(0, 3)]),
     ([9.0, 1.0, 7.0], [(0, 1), (1, 3)]), ([7.0, 1.0, 9.0], [(0, 2), (2, 3)]), ([9.0, 1.0, 9.0], [(0, 1), (1, 3)]),
     ([5.0, 1.0], [(0, 2)]), ([1.0, 5.0], [(0, 2)]), ([3.0, 1.0, 9.0], [(0, 3)]), ([4.0, 1.0, 9.0], [(0, 2), (2, 3)]),
     ([5.0, 3.0, 2.0, 9.0], [(0, 1), (1, 3), (3, 4)]), ([0.1] * 50, [(0, 50)]), ([4.999999999] * 2, [(0, 1), (1, 2)])],
)  # fmt: skip
def test_neighbours_make_lengths_as_even_as_may_be(seconds, runs):
    assert neighbours(seconds, 5.0) == runs


@given(st.lists(st.integers(1, 160_000), max_size=30))
def test_every_utterance_is_in_one_run_and_every_run_is_long_if_there_are_two(samples):
    runs = neighbours([number / 16000 for number in samples], 5.0)
    assert [i for first, last in runs for i in range(first, last)] == list(range(len(samples)))
    assert len(runs) < 2 or all(sum(samples[first:last]) >= 80_000 for first, last in runs)
    for first, last in runs:  # no more than needed: without an utterance at one end or the other, a run would be too short
        assert last - first == 1 or min(samples[first], samples[last - 1]) < 80_000


@given(st.permutations(sorted(LENGTHS)))
def test_the_order_in_which_files_are_found_changes_nothing(order):
    found = join_short({key: bystander(key) for key in order}, LENGTHS, 1.0)
    assert found[2] == JOINED
    assert found == join_short({key: bystander(key) for key in LENGTHS}, LENGTHS, 1.0)


def test_a_joined_utterance_says_of_what_speaker_genre_and_sessions_it_is():
    utterances, seconds, _ = join_short({key: bystander(key) for key in LENGTHS}, LENGTHS, 1.0)
    three = utterances["id00001-play-01-001-comb3"]
    assert (three.speaker, three.session, three.genre) == ("id00001", "play-01+play-02", "play")
    assert three.path == "sox " + " ".join(f"/audio/{key}.flac" for key in list(LENGTHS)[:3]) + " -t wav - |"
    assert seconds["id00001-play-01-001-comb3"] == pytest.approx(1.5)
    assert utterances["id00001-vlog-01-001"] == bystander("id00001-vlog-01-001")  # of another genre, all there is


def test_what_cannot_be_joined_or_named_is_refused():
    utterances = {key: bystander(key) for key in LENGTHS}
    utterances["id00002-play-01-002"] = Utterance("id00002", "play-01", "/audio/x.m4a", "play")
    with pytest.raises(InputError, match="/audio/x.m4a: only WAV and FLAC files are joined: convert it, or give --min-sec"):
        join_short(utterances, LENGTHS, 1.0)
    taken = {key: Utterance("a", "x", f"/{key}.wav") for key in ("a-1", "a-1-comb2")}
    with pytest.raises(InputError, match="'a-1-comb2' is what joined utterances would be called; rename it"):
        join_short(taken, {"a-1": 1, "a-1-comb2": 1}, 2.0)


def test_the_folder_is_valid_the_same_bytes_again_and_says_what_was_joined(joined, tmp_path):
    corpus, train = joined
    assert read_spk2utt(train / "utt2utts") == JOINED
    assert list(read_table(train / "wav.scp")) == list(read_table(train / "utt2spk")) == sorted(JOINED)
    assert float(read_table(train / "utt2dur")["id00002-play-01-001-comb2"]) == pytest.approx(1.9)
    assert validate(train) == []
    shuffled = Corpus(dict(reversed(corpus.train.items())), {}, [])
    said = prepare(shuffled, str(tmp_path / "again"), 0, 1, 3, 1.0)
    assert {p.name: p.read_bytes() for p in train.iterdir()} == {
        p.name: p.read_bytes() for p in (tmp_path / "again/train").iterdir()
    }
    assert said[0] == (f"{tmp_path}/again/train: 6 utterances, 5 of them shorter than 1 s, joined to 3, of which 1 are "
                       "shorter yet, all there is of their speaker and kind of speech")  # fmt: skip


def test_without_the_option_nothing_is_joined_and_no_old_table_says_otherwise(joined):
    corpus, train = joined
    prepare(corpus, str(train.parent), 0, 1)
    assert sorted(read_table(train / "wav.scp")) == sorted(LENGTHS) and not (train / "utt2utts").exists()


@pytest.mark.parametrize(
    "old, new, message",
    [(" id00002-play-01-002", "", "'id00002-play-01-001-comb2' is made of 1 utterances, but wav.scp has 2 recordings"),
     ("-comb2 id00002-play-01-001", "-comb2 id00001-vlog-01-001", "which is a part of 'id00001-vlog-01-001' already"),
     ("id00002-play-01-001-comb2 ", "id00003-play ", "'id00003-play' ")],
)  # fmt: skip
def test_a_table_that_says_of_what_utterances_are_made_is_checked(joined, old, new, message):
    path = joined[1] / "utt2utts"
    path.write_text(path.read_text().replace(old, new, 1))
    assert message in "\n".join(map(str, validate(joined[1], check_audio=False)))


def test_features_of_stage_2_are_those_of_the_concatenated_samples(joined, tmp_path):
    corpus, train = joined
    options = conf({"compress": 0})
    for job in (1, 2):
        compute_job(train, options, tmp_path / "feats", job, 2)
    merge_jobs(train, tmp_path / "feats", 2)
    front_end, table = FrontEnd(options["features"]), read_scp(train / "feats.scp")
    assert sorted(table) == sorted(JOINED)
    for key, parts in JOINED.items():
        expected = front_end(torch.from_numpy(samples_of(corpus, parts)))
        np.testing.assert_allclose(read_array(table[key]), expected.numpy(), atol=1e-3)


def test_a_job_of_stage_2_is_done_again_only_when_a_part_has_changed(joined, tmp_path):
    train = joined[1]
    options, mark = conf(), tmp_path / "feats" / "job.1.json"
    compute_job(train, options, tmp_path / "feats", 1, 1)
    before = mark.stat().st_mtime_ns
    compute_job(train, options, tmp_path / "feats", 1, 1)
    assert mark.stat().st_mtime_ns == before
    make_audio(tmp_path / "audio", "id00001-play-01-002", burst(0.4, 99)[:-1])
    compute_job(train, options, tmp_path / "feats", 1, 1)
    assert mark.stat().st_mtime_ns > before


def test_training_on_waveforms_and_extraction_read_across_the_joins(joined):
    corpus, train = joined
    options = conf()
    options["data"].update({"chunk_frames": 120, "min_frames": 20})
    options["augment"].update({"speeds": [], "prob": 0.0})
    chunks = WaveChunks(train, options, None, None)
    whole = {key: samples_of(corpus, parts) for key, parts in JOINED.items()}
    items = np.arange(3)
    crops = floating(chunks.fetch(1, items)[0]["waves"].numpy())
    for key, crop in zip(chunks.keys, crops):
        assert any(np.array_equal(crop, np.resize(whole[key][i:], len(crop))) for i in range(len(whole[key]))), key
    source = WaveFiles(train, chunks.front_end)
    for number, key in enumerate(source.keys):
        feats = source.read(number)
        np.testing.assert_allclose(feats, chunks.front_end(torch.from_numpy(whole[key])), atol=1e-4)
        assert len(feats) == source.num_frames[number]
