import json

import pytest

from tests.corpora.feature_folders import conf, make_data
from wespk.corpora.features import compute_job
from wespk.corpora.merge_features import merge_jobs
from wespk.data.stored import check_stamp
from wespk.io.tables import read_table, write_table
from wespk.utils.errors import InputError


def compute(data, jobs, whole=None, only=None, **more):
    for job in only or range(1, jobs + 1):
        compute_job(data, whole or conf(), data / "feats", job, jobs, **more)


def test_a_job_that_did_not_end_is_named(tmp_path):
    data = make_data(tmp_path / "train")
    compute(data, 3, only=[1, 3])
    with pytest.raises(InputError, match="job.2.json does not exist: job 2 of 3 has not ended well"):
        merge_jobs(data, data / "feats", 3)
    assert not (data / "feats.scp").exists()


def test_a_job_of_another_split_or_configuration_is_named(tmp_path):
    data = make_data(tmp_path / "train")
    compute(data, 2)
    compute(data, 3, only=[2])
    with pytest.raises(InputError, match="job 2 was run with another num-jobs"):
        merge_jobs(data, data / "feats", 2)
    compute(data, 2, conf({"num_mel_bins": 25}), only=[2])
    with pytest.raises(InputError, match="job 2 was run with another features"):
        merge_jobs(data, data / "feats", 2)


def test_an_utterance_that_no_job_knew_is_named_and_nothing_is_taken_for_whole(tmp_path):
    data = make_data(tmp_path / "train")
    compute(data, 2)
    merge_jobs(data, data / "feats", 2)
    write_table(data / "utt2spk", {**read_table(data / "utt2spk"), "id10009-new-00001": "id10009"})
    with pytest.raises(InputError, match="'id10009-new-00001' is missing"):
        merge_jobs(data, data / "feats", 2)
    assert not (data / "feats.scp").exists()


def test_fewer_jobs_than_before_leave_no_files_of_the_old_ones(tmp_path):
    data = make_data(tmp_path / "train")
    compute(data, 3)
    merge_jobs(data, data / "feats", 3)
    (data / "feats" / "notes.3.txt").write_text("mine")
    compute(data, 2)
    merge_jobs(data, data / "feats", 2)
    assert {path.name for path in (data / "feats").iterdir() if ".3" in path.name} == {"notes.3.txt"}
    assert len(read_table(data / "feats.scp")) == 7


def test_decisions_and_copies_of_an_earlier_run_do_not_outlive_it(tmp_path):
    data = make_data(tmp_path / "train", 2)
    compute(data, 1, conf({"vad": True}, {"speeds": [0.9]}), with_copies=True)
    merge_jobs(data, data / "feats", 1)
    assert (data / "vad.scp").exists() and (tmp_path / "train_aug" / "feats.scp").exists()
    compute(data, 1)
    report = merge_jobs(data, data / "feats", 1)
    assert not (data / "vad.scp").exists() and not any((tmp_path / "train_aug").iterdir())
    assert {p.name for p in (data / "feats").iterdir()} == {"feats.1.ark", "feats.1.scp", "utt2num_frames.1", "job.1.json"}
    assert len(report) == 1 and "2 utterances" in report[0]


def test_the_stamp_tells_features_of_other_options_apart(tmp_path):
    data = make_data(tmp_path / "train", 2)
    compute(data, 1)
    merge_jobs(data, data / "feats", 1)
    section = conf()["features"]
    check_stamp(data, section)
    check_stamp(data, {**section, "cmn": "none", "compress": 0})
    with pytest.raises(InputError, match="window povey .now hamming."):
        check_stamp(data, {**section, "window": "hamming"})
    assert json.loads((data / "features.json").read_text())["num_mel_bins"] == 24
    (data / "features.json").unlink()
    check_stamp(data, {**section, "window": "hamming"})
