"""Impulse responses by rir_list and by walking."""

import wave

import pytest

from wespk.corpora.rirs import find_rirs, write_rirs
from wespk.io.tables import read_table
from wespk.utils.errors import InputError


@pytest.fixture
def rirs(tmp_path, wav):
    """RIRS_NOISES with one listed room, an unlisted noise, and a list whose paths start above the root."""
    root = tmp_path / "RIRS_NOISES"
    names = [f"simulated_rirs/smallroom/Room001/Room001-0000{n}" for n in (1, 2)]
    for name in (*names, "pointsource_noises/noise-1"):
        wav(root / f"{name}.wav")
    lines = [f"--rir-id {n} --room-id 1 RIRS_NOISES/{name}.wav\n" for n, name in enumerate(names)]
    (root / "simulated_rirs/smallroom/rir_list").write_text("".join(lines))
    return root


IDS = ["simulated_rirs/smallroom/Room001/Room001-00001", "simulated_rirs/smallroom/Room001/Room001-00002"]


def test_listed_responses_are_found_whatever_the_root_is_called(rirs, tmp_path):
    assert sorted(find_rirs(str(rirs))) == IDS
    moved = rirs.rename(tmp_path / "my_rirs")
    assert sorted(find_rirs(str(moved))) == IDS


def test_without_lists_every_file_but_the_noises_is_a_response(rirs):
    (rirs / "simulated_rirs/smallroom/rir_list").unlink()
    assert sorted(find_rirs(str(rirs))) == IDS


def test_a_listed_file_that_is_missing_is_named_with_its_line(rirs):
    (rirs / f"{IDS[1]}.wav").unlink()
    with pytest.raises(InputError, match="smallroom/rir_list:2: no file RIRS_NOISES/simulated_rirs.*Room001-00002.wav"):
        find_rirs(str(rirs))


def test_a_file_listed_twice_is_refused(rirs):
    with open(rirs / "simulated_rirs/smallroom/rir_list", "a") as file:
        file.write(f"--rir-id 9 --room-id 1 RIRS_NOISES/{IDS[0]}.wav\n")
    with pytest.raises(InputError, match="two files for one id"):
        find_rirs(str(rirs))


def test_a_folder_without_responses_is_refused(tmp_path):
    with pytest.raises(InputError, match="no rir_list and no audio file"):
        find_rirs(str(tmp_path))


def test_responses_of_several_channels_are_left_out_and_counted(rirs, tmp_path):
    with wave.open(str(rirs / f"{IDS[0]}.wav"), "wb") as file:
        file.setparams((2, 2, 16000, 0, "NONE", ""))
        file.writeframes(bytes(400))
    found = find_rirs(str(rirs))
    out = tmp_path / "out"
    assert write_rirs(found, str(out)) == [f"{out}: 1 impulse responses; 1 of several channels left out"]
    assert list(read_table(out / "rirs.scp")) == IDS[1:]
    with pytest.raises(InputError, match="several channels, like all found; give"):
        write_rirs({IDS[0]: found[IDS[0]]}, str(out))


def test_real_responses_are_all_found(real_speech):
    assert len(find_rirs(str(real_speech / "rirs"))) == 128
