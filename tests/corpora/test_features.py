import json

import numpy as np
import pytest
import soundfile
import torch

from tests.corpora.feature_folders import burst, conf, make_data, make_noises
from tests.golden.make_features import read_matrices
from wespk.corpora import features
from wespk.corpora.features import compute_job, job_share, read_utterances
from wespk.corpora.merge_features import merge_jobs
from wespk.features.front_end import FrontEnd
from wespk.io.ark import read_array, read_scp
from wespk.io.data_dir import validate
from wespk.io.tables import read_numbers, read_spk2utt, read_table, write_table
from wespk.utils.errors import InputError

ALL_COPIES = {"speeds": [0.9, 1.1], "kinds": ["noise", "music", "babble", "reverb"]}
PLAIN = {"compress": 0}


def run(data, whole, jobs=1, **more):
    for job in range(1, jobs + 1):
        compute_job(data, whole, data / "feats", job, jobs, **more)
    return merge_jobs(data, data / "feats", jobs)


def arrays(scp):
    return {key: read_array(spec, key) for key, spec in read_scp(scp).items()}


def audio(data, name):
    return soundfile.read(read_table(data / "wav.scp")[name], dtype="float32")[0]


@pytest.mark.parametrize("changes", [{}, {"type": "mfcc", "num_ceps": 20, "use_energy": True}, {"use_energy": True}])
def test_stored_features_are_the_front_ends(tmp_path, changes):
    data, whole = make_data(tmp_path / "train", 3), conf({**PLAIN, **changes})
    run(data, whole)
    front_end = FrontEnd(whole["features"])
    found = arrays(data / "feats.scp")
    assert list(found) == list(read_table(data / "utt2spk"))
    for name, feats in found.items():
        np.testing.assert_array_equal(feats, front_end(audio(data, name)))
    assert read_numbers(data / "utt2num_frames") == {name: len(feats) for name, feats in found.items()}


def test_the_folder_passes_validation_with_and_without_copies(tmp_path):
    data, (musan, rirs) = make_data(tmp_path / "train"), make_noises(tmp_path)
    run(data, conf({"vad": True}, ALL_COPIES), 2, musan_dir=musan, rirs_dir=rirs, with_copies=True)
    assert validate(data) == []
    assert validate(tmp_path / "train_aug") == []


@pytest.mark.parametrize("method", [0, 2, 5])
def test_any_number_of_jobs_gives_the_same_bytes_for_every_utterance(tmp_path, method):
    musan, rirs = make_noises(tmp_path)
    whole = conf({"vad": True, "compress": method}, ALL_COPIES)
    stored = []
    for jobs in (1, 3):
        data = make_data(tmp_path / f"train{jobs}")
        run(data, whole, jobs, musan_dir=musan, rirs_dir=rirs, with_copies=True)
        aug = tmp_path / f"train{jobs}_aug"
        stored.append({(scp, key): array.tobytes() for scp in ("feats.scp", "vad.scp")
                       for key, array in arrays(aug / scp).items()})
    assert stored[0] == stored[1] and len(stored[0]) == 2 * 7 * 7


@pytest.mark.parametrize("vad", [False, True])
def test_how_many_utterances_are_computed_at_once_changes_no_byte(tmp_path, monkeypatch, vad):
    data, stored = make_data(tmp_path / "train"), []
    for together in (0, 2, 60):
        monkeypatch.setattr(features, "_TOGETHER", together)
        compute_job(data, conf({"vad": vad}), tmp_path / str(together), 1, 1)
        stored.append({path.name: path.read_bytes() for path in (tmp_path / str(together)).glob("*.ark")})
    assert stored[0] == stored[1] == stored[2] and len(stored[0]) == 1 + vad


def test_batches_are_whole_and_what_comes_before_an_error_is_given_out_first():
    items = [(number, [0] * size) for number, size in enumerate((5, 5, 9, 20, 1))]
    assert [[key for key, _ in batch] for batch in features._batches(items, 10)] == [[0, 1], [2, 3], [4]]
    assert [len(batch) for batch in features._batches(items, 0)] == [1] * 5

    def failing():
        yield from items[:3]
        raise InputError("the fourth")

    batches = features._batches(failing(), 10)
    assert [len(next(batches)), len(next(batches))] == [2, 1]
    with pytest.raises(InputError, match="the fourth"):
        next(batches)


def test_originals_are_the_same_bytes_with_copies_and_without(tmp_path):
    data, (musan, rirs) = make_data(tmp_path / "train", 4), make_noises(tmp_path)
    run(data, conf())
    alone = {key: array.tobytes() for key, array in arrays(data / "feats.scp").items()}
    run(data, conf({}, ALL_COPIES), 2, musan_dir=musan, rirs_dir=rirs, with_copies=True)
    assert {key: array.tobytes() for key, array in arrays(data / "feats.scp").items()} == alone
    assert alone.items() <= {k: a.tobytes() for k, a in arrays(tmp_path / "train_aug" / "feats.scp").items()}.items()


def test_copies_carry_the_right_speakers_and_originals_keep_theirs(tmp_path):
    data, (musan, rirs) = make_data(tmp_path / "train", 3), make_noises(tmp_path)
    run(data, conf({}, {"speeds": [0.9], "kinds": ["noise", "reverb"]}), musan_dir=musan, rirs_dir=rirs, with_copies=True)
    speakers = read_table(tmp_path / "train_aug" / "utt2spk")
    assert speakers["sp0.9-id10001-session-00000"] == "sp0.9-id10001"
    assert {u for u, s in speakers.items() if s == "id10001"} == {
        f"id10001-session-0000{i}{kind}" for i in range(3) for kind in ("", "-noise", "-reverb")}
    assert list(read_spk2utt(tmp_path / "train_aug" / "spk2utt")) == ["id10001", "sp0.9-id10001"]
    assert set(read_table(data / "feats.scp")) == set(read_table(data / "utt2spk"))


def test_speed_copies_have_the_frames_of_their_length(tmp_path):
    data = make_data(tmp_path / "train", 1, seconds=1)
    run(data, conf({}, {"speeds": [0.9, 1.1]}), with_copies=True)
    frames = read_numbers(tmp_path / "train_aug" / "utt2num_frames")
    assert [frames[p + "id10001-session-00000"] for p in ("", "sp0.9-", "sp1.1-")] == [98, 109, 89]


def test_speech_decisions_of_noisy_copies_are_the_clean_ones_and_of_speed_copies_their_own(tmp_path):
    data, (musan, _) = make_data(tmp_path / "train", 1), make_noises(tmp_path)
    run(data, conf({"vad": True}, {"speeds": [0.9], "kinds": ["noise"], "noise_snr": [-10, -10]}), musan_dir=musan,
        with_copies=True)
    vad, name = arrays(tmp_path / "train_aug" / "vad.scp"), "id10001-session-00000"
    assert vad[name].tolist() == vad[name + "-noise"].tolist() and 0 < vad[name].mean() < 1
    assert len(vad["sp0.9-" + name]) == read_numbers(tmp_path / "train_aug" / "utt2num_frames")["sp0.9-" + name]


def test_vad_is_kaldis_on_the_raw_energy(tmp_path):
    data, whole = make_data(tmp_path / "train", 2), conf({"vad": True})
    run(data, whole)
    for name, decisions in arrays(data / "vad.scp").items():
        (_, speech), = FrontEnd(whole["features"]).many_with_speech([audio(data, name)])
        assert decisions.tolist() == speech.float().tolist()


def test_segments_are_cut_out_of_their_recordings(tmp_path):
    data = make_data(tmp_path / "train", 1, seconds=2)
    write_table(data / "segments", {"id10001-a": "id10001-session-00000 0.25 1.0", "id10001-b": "id10001-session-00000 1 2"})
    write_table(data / "utt2spk", {"id10001-a": "id10001", "id10001-b": "id10001"})
    run(data, conf(PLAIN))
    wave = audio(data, "id10001-session-00000")
    expected = FrontEnd(conf(PLAIN)["features"])(wave[4000:16000])
    np.testing.assert_array_equal(arrays(data / "feats.scp")["id10001-a"], expected)


@pytest.mark.parametrize("line, says", [
    ("rec 0", "'rec 0' is not 'recording start end'"),
    ("other 0 1", "names a recording that wav.scp lacks"),
    ("rec 1 1", "an end that is not after its start"),
])
def test_bad_segments_are_named(tmp_path, line, says):
    write_table(tmp_path / "wav.scp", {"rec": "rec.wav"})
    write_table(tmp_path / "segments", {"utt7": line})
    with pytest.raises(InputError, match=f"segments: utterance utt7: .*{says}"):
        read_utterances(tmp_path, 16000)


@pytest.mark.parametrize("method, step", [(0, 1e-3), (2, 0.12)])
def test_real_speech_read_back_by_kaldis_own_reader_is_kaldis_fbank(tmp_path, real_speech, method, step):
    kaldi_native_io = pytest.importorskip("kaldi_native_io")
    golden = read_matrices(real_speech / "golden_kaldi" / "fbank80.txt")
    write_table(tmp_path / "wav.scp", {key: str(real_speech / "golden_kaldi" / "wav" / f"{key}.wav") for key in golden})
    write_table(tmp_path / "utt2spk", {key: key.split("-")[0] for key in golden})
    run(tmp_path, conf({"num_mel_bins": 80, "compress": method}), 2)
    for key, spec in read_scp(tmp_path / "feats.scp").items():
        found, theirs = kaldi_native_io.FloatMatrix.read(spec).numpy(), np.array(golden[key])
        heard = theirs > theirs.max(1, keepdims=True) - 13.8  # see tests/features/test_fbank.py; method 2 has one byte
        assert found.shape == theirs.shape and np.abs(found - theirs)[heard].max() < step


def test_shares_are_contiguous_whole_and_never_empty():
    items = list(range(10))
    for jobs in range(1, 11):
        shares = [job_share(items, job, jobs) for job in range(1, jobs + 1)]
        assert [item for share in shares for item in share] == items
        assert max(map(len, shares)) - min(map(len, shares)) <= 1 and all(shares)


@pytest.mark.parametrize("job, jobs, says", [(1, 11, "--num-jobs is 11, for 10"), (0, 2, "--job is 0"), (3, 2, "--job is 3")])
def test_impossible_shares_are_refused(job, jobs, says):
    with pytest.raises(InputError, match=says):
        job_share(list(range(10)), job, jobs)


def test_stereo_silence_and_the_like_stop_the_job_by_name_and_leave_nothing(tmp_path):
    victim = "id10001-session-00001"
    cases = {
        "no such file": lambda path: path.unlink(),
        "empty": lambda path: path.write_bytes(b""),
        "2 channels": lambda path: soundfile.write(path, np.zeros((16000, 2)), 16000),
        "8000 Hz, but features.sample_rate is 16000": lambda path: soundfile.write(path, burst(1, 1), 8000),
        "399 samples are too short for a single frame": lambda path: soundfile.write(path, burst(1, 1)[:399], 16000),
        "the energy VAD finds no speech in it": lambda path: soundfile.write(path, np.zeros(16000), 16000),
        "truncated": lambda path: path.write_bytes(path.read_bytes()[:-500]),
    }
    for says, damage in cases.items():
        data = make_data(tmp_path / str(len(says)) / "train", 3)
        compute_job(data, conf({"vad": True}), data / "feats", 1, 1)
        damage(data / "audio" / f"{victim}.wav")
        with pytest.raises(InputError, match=f"utterance {victim}.*{says}"):
            compute_job(data, conf({"vad": True}), data / "feats", 1, 1)
        assert list((data / "feats").iterdir()) == []


def test_nan_samples_stop_the_job_by_name(tmp_path):
    data = make_data(tmp_path / "train", 2)
    wave = burst(1, 0)
    wave[77] = float("nan")
    soundfile.write(data / "audio" / "id10001-session-00001.wav", wave, 16000, subtype="FLOAT")
    with pytest.raises(InputError, match="utterance id10001-session-00001.*NaN"):
        compute_job(data, conf(), data / "feats", 1, 1)


def test_an_utterance_in_only_one_table_is_named(tmp_path):
    data = make_data(tmp_path / "train", 2)
    write_table(data / "utt2spk", {"id10001-session-00000": "id10001"})
    with pytest.raises(InputError, match="utterance id10001-session-00001 is in utt2spk or in wav.scp"):
        compute_job(data, conf(), data / "feats", 1, 1)


def test_copies_that_the_configuration_does_not_ask_for_are_an_error(tmp_path):
    data = make_data(tmp_path / "train", 1)
    with pytest.raises(InputError, match="set copies.speeds or copies.kinds"):
        compute_job(data, conf(), data / "feats", 1, 1, with_copies=True)


def test_the_mark_says_what_was_done(tmp_path):
    data = make_data(tmp_path / "train", 4)
    counts = compute_job(data, conf(), data / "feats", 2, 2)
    mark = json.loads((data / "feats" / "job.2.json").read_text())
    assert counts["utterances"] == 2 and mark["counts"] == counts and mark["num_jobs"] == 2
    assert mark["features"]["num_mel_bins"] == 24


def test_features_are_computed_without_gradients_or_global_state(tmp_path):
    data = make_data(tmp_path / "train", 2)
    before = torch.random.get_rng_state()
    run(data, conf())
    assert torch.equal(torch.random.get_rng_state(), before)
