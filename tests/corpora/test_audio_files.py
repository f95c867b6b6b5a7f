"""Walking folders, wav.scp values, durations."""

import shlex
import shutil
import subprocess

import pytest

from wespk.corpora.audio_files import durations, walk, wav_scp_value
from wespk.io.audio import audio_info
from wespk.utils.errors import InputError


def test_walk_names_files_by_their_path_and_skips_what_is_not_audio(tmp_path, wav):
    wav(tmp_path / "b" / "two words.wav")
    wav(tmp_path / "a.WAV")
    (tmp_path / "b" / "._two.wav").touch()
    (tmp_path / "LICENSE").touch()
    assert walk(str(tmp_path)) == {"a": f"{tmp_path}/a.WAV", "b/two_words": f"{tmp_path}/b/two words.wav"}


def test_two_files_of_one_id_are_refused(tmp_path, wav):
    wav(tmp_path / "a.wav")
    (tmp_path / "a.flac").touch()
    with pytest.raises(InputError, match="two files for one id 'a': .*a.flac and .*a.wav"):
        walk(str(tmp_path))


@pytest.mark.parametrize("path", ["/d/id1/s/1.wav", "/with space/1.flac", "/it's/1.wav"])
def test_wav_and_flac_stand_as_paths(path):
    assert wav_scp_value(path) == path


def test_a_path_in_a_command_is_quoted_for_the_shell():
    path = "/a dir/it's $HOME; x/00001.m4a"
    value = wav_scp_value(path)
    assert value.startswith("ffmpeg ") and value.endswith(" |")
    assert path in shlex.split(value)


@pytest.mark.parametrize("path", ["/a\nb/1.wav", " /a/1.wav", "/a/1.wav |"])
def test_a_path_that_wav_scp_cannot_hold_is_refused(path):
    with pytest.raises(InputError, match="wav.scp cannot hold this path"):
        wav_scp_value(path)


def test_durations_keep_their_order_over_many_blocks_and_threads(tmp_path, wav):
    for number in range(20):
        wav(tmp_path / f"{number}.wav", 0.1 + number / 100)
    paths = {f"{number}-{copy}": str(tmp_path / f"{number}.wav") for copy in range(40) for number in range(20)}
    found = durations(paths, jobs=4)
    assert list(found) == list(paths)
    assert all(found[key] == pytest.approx(0.1 + int(key.split("-")[0]) / 100) for key in paths)


def test_an_unreadable_file_is_named(tmp_path, wav):
    wav(tmp_path / "good.wav")
    (tmp_path / "bad.wav").write_bytes(b"")
    with pytest.raises(InputError, match="bad.wav: is empty"):
        durations({"a": str(tmp_path / "good.wav"), "b": str(tmp_path / "bad.wav")})


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")
def test_m4a_durations_are_those_of_decoding(tmp_path, wav):
    wav(tmp_path / "x.wav", 2.345)
    path = str(tmp_path / "it's x.m4a")
    subprocess.run(["ffmpeg", "-v", "error", "-i", str(tmp_path / "x.wav"), "-c:a", "aac", path], check=True)
    num_samples, rate, channels = audio_info(wav_scp_value(path))
    assert (rate, channels) == (16000, 1)
    stated = round(durations({"x": path})["x"] * rate)
    assert stated == round(2.345 * rate)
    assert 0 <= num_samples - stated < 1024  # ffmpeg 5.1 keeps the padding of the last AAC frame


def test_all_files_that_cannot_be_read_are_named_and_from_twenty_on_counted(tmp_path, wav):
    paths = {str(i): str(tmp_path / f"{i:03d}.wav") for i in range(60)}
    for i in range(23, 60):
        wav(tmp_path / f"{i:03d}.wav")
    with pytest.raises(InputError) as caught:
        durations(paths, jobs=2)
    first, *listed, more = str(caught.value).splitlines()
    assert first == "23 of 60 files cannot be used:" and more == "  and 3 more"
    assert [line.split(":")[0] for line in listed] == [f"  {tmp_path}/{i:03d}.wav" for i in range(20)]
