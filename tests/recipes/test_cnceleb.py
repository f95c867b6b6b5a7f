"""The CN-Celeb recipe through its own run.sh: what its first stage leaves of real speech, and what it refuses."""

import subprocess

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.slow
RECIPE = ROOT / "egs" / "cnceleb" / "supervised"


def stage_1(tmp_path, *words):
    """(exit status, lines without the time of day, errors) of stage 1 with folders of its own."""
    line = ["bash", str(RECIPE / "run.sh"), "--config", str(RECIPE / "conf" / "minicn_small.yaml"), "--stop-stage", "1",
            "--data", str(tmp_path / "data"), "--exp", str(tmp_path / "exp"), "--gpus", "0", "--nj", "1", *words]  # fmt: skip
    done = subprocess.run(line, capture_output=True, text=True, cwd=tmp_path, check=False)
    return done.returncode, [text.removeprefix(text[:9]) for text in done.stdout.splitlines()], done.stderr


def test_stage_1_makes_valid_folders_for_both_protocols_and_answers_for_them(real_speech, tmp_path):
    words = ("--cnceleb1", str(real_speech / "minicn"), "--dev-speakers", "10", "--check-audio", "false")
    status, said, errors = stage_1(tmp_path, *words)
    assert status == 0, errors
    assert [line for line in said if line.endswith(": valid")] == [
        f"{tmp_path}/data/{name}: valid"[9:] for name in ("train", "dev", "eval")
    ]
    for path in ("train/utt2genre", "eval/trials/cnceleb_concat", "eval/trials/cnceleb_avg", "eval/enroll_maps/cnceleb_avg"):
        assert (tmp_path / "data" / path).is_file(), path
    (tmp_path / "data" / "eval" / "enroll_maps" / "cnceleb_avg").write_text("id00800-enroll id00800-vlog-01-001\n")
    _, said, _ = stage_1(tmp_path, *words)
    assert any("stage 1 runs: output" in line and "enroll_maps" in line for line in said)


def test_a_folder_that_is_not_there_or_an_option_of_another_corpus_stops_at_once_and_says_so(tmp_path):
    status, _, errors = stage_1(tmp_path, "--voxceleb1", str(tmp_path))
    assert status == 1 and "corpus 'cnceleb' has no option 'voxceleb1'" in errors
    status, _, errors = stage_1(tmp_path, "--cnceleb2", "/no/such/root")
    assert status == 1 and "--cnceleb2: no such folder: /no/such/root" in errors
    assert not (tmp_path / "data" / "train").exists()
