"""Recordings are read exactly, in part or whole, and one that is damaged is named instead of coming out short."""

import os
import stat
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from wespk.io.audio import audio_info, floating, read_audio, read_samples
from wespk.utils.errors import InputError

RATE = 16000
_KINDS = [("wav", "PCM_16"), ("wav", "PCM_24"), ("wav", "FLOAT"), ("flac", "PCM_16"), ("ogg", "VORBIS")]


def _samples(seconds=1.0):
    return (np.random.default_rng(1).normal(size=int(seconds * RATE)) * 0.1).astype(np.float32)


def _write(folder, kind, samples=None, subtype=None, name="a"):
    path = folder / f"{name}.{kind}"
    soundfile.write(path, _samples() if samples is None else samples, RATE, subtype=subtype)
    return str(path)


@pytest.mark.parametrize("kind, subtype", _KINDS)
def test_whole_and_part_equal_soundfile(tmp_path, kind, subtype):
    path = _write(tmp_path, kind, subtype=subtype)
    expected, _ = soundfile.read(path, dtype="float32")
    for spec in (path, f"cat {path} |"):
        samples, rate = read_audio(spec)
        assert rate == RATE and samples.dtype == np.float32
        np.testing.assert_array_equal(samples, expected)
        np.testing.assert_array_equal(read_audio(spec, 3000, 777)[0], expected[3000:3777])
        np.testing.assert_array_equal(read_audio(spec, 15000)[0], expected[15000:])
        assert audio_info(spec) == (RATE, RATE, 1)


@pytest.mark.parametrize("kind, subtype", _KINDS)
def test_samples_of_16_bits_stay_integers_and_are_the_same_made_floating(tmp_path, kind, subtype):
    path = _write(tmp_path, kind, subtype=subtype)
    samples, rate = read_samples(path, 500, 900)
    assert rate == RATE and samples.dtype == (np.int16 if subtype == "PCM_16" else np.float32)
    expected = read_audio(path, 500, 900)[0]
    for found in (floating(samples), floating(torch.from_numpy(samples.copy())).numpy()):
        np.testing.assert_array_equal(found, expected, strict=True)


def test_samples_can_be_changed(tmp_path):
    read_audio(_write(tmp_path, "wav"))[0][0] = 0


def test_extensible_headers_and_chunks_before_the_data_are_read(tmp_path):
    samples = np.arange(-50, 50, dtype="<i2")
    guid = bytes.fromhex("0100000000001000800000aa00389b71")
    form = struct.pack("<HHIIHHHHI", 0xFFFE, 1, RATE, 2 * RATE, 2, 16, 22, 16, 4) + guid
    body = b"WAVE" + b"fmt " + struct.pack("<I", 40) + form + b"LIST" + struct.pack("<I", 3) + b"odd\0"
    body += b"data" + struct.pack("<I", 200) + samples.tobytes()
    (tmp_path / "a.wav").write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)
    np.testing.assert_array_equal(read_audio(str(tmp_path / "a.wav"))[0] * 32768, samples)


@pytest.mark.parametrize("size", [0, 0x7FFFFFFF, 0xFFFFFFFF])
def test_a_wav_header_of_unknown_length_as_pipes_have_it_means_all_there_is(tmp_path, size):
    path = _write(tmp_path, "wav", subtype="PCM_16")
    expected = read_audio(path)[0]
    content = bytearray(Path(path).read_bytes())
    struct.pack_into("<I", content, 40, size)
    (tmp_path / "b.wav").write_bytes(content)
    np.testing.assert_array_equal(read_audio(f"cat {tmp_path}/b.wav |")[0], expected)


@pytest.mark.parametrize("kind, subtype", _KINDS)
@pytest.mark.parametrize("kept", [0.0, 0.003, 0.5, 0.97])
def test_a_truncated_recording_is_named(tmp_path, kind, subtype, kept):
    path = _write(tmp_path, kind, subtype=subtype)
    os.truncate(path, int(os.path.getsize(path) * kept))
    with pytest.raises(InputError, match=f"^{path}: .*; fetch or convert it again"):
        read_audio(path)


@pytest.mark.parametrize("kind", ["wav", "ogg"])
def test_the_length_of_a_truncated_recording_is_not_told(tmp_path, kind):
    path = _write(tmp_path, kind)
    os.truncate(path, os.path.getsize(path) // 2)
    with pytest.raises(InputError, match="truncated"):
        audio_info(path)


def test_an_ogg_file_that_ends_after_a_whole_page_is_still_truncated(tmp_path):
    path = _write(tmp_path, "ogg", _samples(5))
    content = Path(path).read_bytes()
    os.truncate(path, content.rfind(b"OggS"))
    with pytest.raises(InputError, match="truncated: its last page is missing"):
        read_audio(path)


def test_other_defects_are_named(tmp_path):
    broken = _samples()
    broken[77] = np.nan
    cases = [
        (_write(tmp_path, "wav", broken, "FLOAT", "nan"), "sample 77 is NaN or infinite"),
        (_write(tmp_path, "wav", np.zeros((10, 2)), None, "two"), "2 channels where one is expected"),
        (_write(tmp_path, "flac", np.zeros((10, 2)), None, "three"), "2 channels where one is expected"),
        (_write(tmp_path, "wav", np.zeros(0), None, "none"), "no samples in it"),
        (str(tmp_path), "is a folder"),
        (str(tmp_path / "nowhere.wav"), "no such file"),
        (str(tmp_path / "nowhere.m4a"), "no such file"),
        (__file__, "cannot be decoded, damaged or of an unknown type"),
        ("true |", "the command prints nothing"),
    ]
    for path, message in cases:
        with pytest.raises(InputError, match=message) as caught:
            read_audio(path)
        assert path in str(caught.value)
    assert audio_info(cases[1][0]) == (10, RATE, 2)
    with pytest.raises(InputError, match="no samples in it"):
        audio_info(cases[3][0])


@pytest.mark.parametrize("part", [(0, RATE + 1), (RATE - 5, 6), (-1, 5), (RATE + 1, None)])
def test_a_part_outside_the_recording_is_refused(tmp_path, part):
    for kind in ("wav", "flac"):
        with pytest.raises(InputError, match="are wanted of 16000"):
            read_audio(_write(tmp_path, kind), *part)


def test_a_command_that_prints_audio_and_then_fails_is_refused(tmp_path):
    path = _write(tmp_path, "wav")
    for command in (f"cat {path}; echo broken >&2; exit 4 |", f"(cat {path}; echo broken >&2; exit 4) | cat |"):
        with pytest.raises(InputError, match="failed with status 4: broken"):
            read_audio(command)


def _fake_ffmpeg(folder, monkeypatch, body):
    program = folder / "bin" / "ffmpeg"
    program.parent.mkdir()
    program.write_text(f"#!/bin/bash\n{body}\n")
    program.chmod(program.stat().st_mode | stat.S_IEXEC)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")


def test_m4a_goes_through_ffmpeg(tmp_path, monkeypatch):
    wav = _write(tmp_path, "wav", subtype="PCM_16")
    (tmp_path / "a.m4a").write_bytes(b"aac")
    _fake_ffmpeg(tmp_path, monkeypatch, f"cat {wav}")
    np.testing.assert_array_equal(read_audio(str(tmp_path / "a.m4a"), 100, 50)[0], read_audio(wav, 100, 50)[0])
    assert audio_info(str(tmp_path / "a.m4a")) == (RATE, RATE, 1)


@pytest.mark.parametrize("ending", ["exit 1", "echo 'moov atom not found' >&2; exit 1", "echo 'partial file' >&2"])
def test_what_ffmpeg_complains_of_is_refused_even_if_it_plays_on(tmp_path, monkeypatch, ending):
    wav = _write(tmp_path, "wav")
    (tmp_path / "a.m4a").write_bytes(b"aac")
    _fake_ffmpeg(tmp_path, monkeypatch, f"cat {wav}; {ending}")
    with pytest.raises(InputError, match="a.m4a: ffmpeg cannot decode it: (status 1|moov atom|partial file)"):
        read_audio(str(tmp_path / "a.m4a"))


def test_a_missing_ffmpeg_is_said(tmp_path, monkeypatch):
    (tmp_path / "a.m4a").write_bytes(b"aac")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="a.m4a: this type needs ffmpeg, which is not on the PATH"):
        read_audio(str(tmp_path / "a.m4a"))


def test_real_m4a_equals_the_wav_that_ffmpeg_makes(tmp_path):
    import shutil
    import subprocess

    if shutil.which("ffmpeg") is None:
        pytest.skip("ffmpeg is not installed")
    wav, m4a, back = _write(tmp_path, "wav"), str(tmp_path / "a.m4a"), str(tmp_path / "back.wav")
    for source, target in ((wav, m4a), (m4a, back)):
        subprocess.run(["ffmpeg", "-v", "error", "-i", source, target], check=True)
    np.testing.assert_array_equal(read_audio(m4a)[0], read_audio(back)[0])
    os.truncate(m4a, os.path.getsize(m4a) * 2 // 3)
    with pytest.raises(InputError, match="a.m4a: ffmpeg cannot decode it"):
        read_audio(m4a)


def test_real_speech_is_read(real_speech):
    path = next((real_speech / "minivox" / "test").glob("*/*/*.flac"))
    samples, rate = read_audio(str(path))
    assert rate == 16000 and len(samples) == audio_info(str(path))[0] and 0.01 < np.abs(samples).max() < 1
