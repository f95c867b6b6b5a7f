import pytest

from tests.corpora.feature_folders import make_data, make_noises
from wespk.bin.compute_fbank import compute_fbank
from wespk.bin.merge_feats import merge_feats
from wespk.io.ark import read_array, read_scp
from wespk.utils.cli import main


def prints(capsys, function, *words):
    main(function, list(map(str, words)))
    return capsys.readouterr().out


def test_stage_two_by_its_commands(tmp_path, capsys):
    data, (musan, rirs) = make_data(tmp_path / "train", 4), make_noises(tmp_path)
    words = ["--data", data, "--out", data / "feats", "--num-jobs", 2]
    options = ["--set", "features.num_mel_bins=30 copies.speeds=[0.9] copies.kinds=[noise,reverb]", "--copies", "true",
               "--musan", musan, "--rirs", rirs]
    for job in (1, 2):
        said = prints(capsys, compute_fbank, *words, "--job", job, *options)
        assert said.startswith(f"job {job} of 2: 2 utterances, 0.00 hours, ") and "6 copies" in said
    assert f"{tmp_path / 'train_aug'}: 16 utterances of 4 speakers" in prints(capsys, merge_feats, *words)
    scp = read_scp(tmp_path / "train_aug" / "feats.scp")
    assert len(scp) == 16 and read_array(next(iter(scp.values()))).shape[1] == 30


def fails(capsys, function, *words):
    with pytest.raises(SystemExit) as stopped:
        main(function, list(map(str, words)))
    return stopped.value.code, capsys.readouterr().err.strip()


def test_a_bad_recording_stops_the_command_with_one_line_that_names_it(tmp_path, capsys):
    data = make_data(tmp_path / "train", 2)
    (data / "audio" / "id10001-session-00001.wav").write_bytes(b"")
    status, said = fails(capsys, compute_fbank, "--data", data, "--out", data / "feats")
    assert status == 1 and said.count("\n") == 0 and "utterance id10001-session-00001" in said
    status, said = fails(capsys, merge_feats, "--data", data, "--out", data / "feats")
    assert status == 1 and "job 1 of 1 has not ended well" in said


def test_a_misspelt_option_or_key_starts_nothing(tmp_path, capsys):
    data = make_data(tmp_path / "train", 2)
    assert fails(capsys, compute_fbank, "--data", data, "--out", data / "feats", "--jobs", 1)[0] == 2
    status, said = fails(capsys, compute_fbank, "--data", data, "--out", data / "feats", "--set", "features.num_mel_bin=8")
    assert status == 1 and "num_mel_bins" in said
    assert not (data / "feats").exists()
