"""MP4 headers, made box by box, give the length that decoding gives."""

import struct

import pytest

from wespk.io.m4a import m4a_info
from wespk.utils.errors import InputError


def box(kind, *parts):
    body = b"".join(parts)
    return struct.pack(">I4s", 8 + len(body), kind) + body


def mdhd(length, rate, wide=False):
    times = struct.pack(">QQIQ", 0, 0, rate, length) if wide else struct.pack(">IIII", 0, 0, rate, length)
    return box(b"mdhd", bytes([int(wide), 0, 0, 0]), times, bytes(4))


def edits(media_time, count=1, wide=False):
    entry = struct.pack(">Qq" if wide else ">Ii", 3952, media_time) + struct.pack(">hh", 1, 0)
    return box(b"edts", box(b"elst", bytes([int(wide), 0, 0, 0]), struct.pack(">I", count), entry * count))


def track(header, handler=b"soun", edit=b""):
    hdlr = box(b"hdlr", bytes(8), handler, bytes(13))
    return box(b"trak", box(b"tkhd", bytes(84)), edit, box(b"mdia", header, hdlr, box(b"minf")))


def m4a(*tracks, mdat=b"x" * 100):
    return box(b"ftyp", b"M4A ") + box(b"free") + box(b"mdat", mdat) + box(b"moov", box(b"mvhd", bytes(100)), *tracks)


@pytest.mark.parametrize(
    "content, expected",
    [
        (m4a(track(mdhd(64256, 16000))), (64256, 16000)),
        (m4a(track(mdhd(64256, 16000), edit=edits(1024))), (63232, 16000)),
        (m4a(track(mdhd(64256, 16000, wide=True), edit=edits(1024, wide=True))), (63232, 16000)),
        (m4a(track(mdhd(64256, 16000), edit=edits(-1))), (64256, 16000)),
        (m4a(track(mdhd(64256, 16000), edit=edits(1024, count=2))), (64256, 16000)),
        (m4a(track(mdhd(5, 25), handler=b"vide"), track(mdhd(64256, 16000))), (64256, 16000)),
    ],
    ids=["plain", "edit list", "64 bits", "empty edit", "several edits", "after a video track"],
)
def test_the_length_is_the_sound_track_s_without_its_start_up(tmp_path, content, expected):
    (tmp_path / "x.m4a").write_bytes(content)
    assert m4a_info(tmp_path / "x.m4a") == expected


def test_a_header_before_the_sound_does_not_hide_a_cut(tmp_path):
    whole = box(b"moov", track(mdhd(64256, 16000))) + box(b"mdat", bytes(1000))
    (tmp_path / "x.m4a").write_bytes(whole)
    assert m4a_info(tmp_path / "x.m4a") == (64256, 16000)
    (tmp_path / "x.m4a").write_bytes(whole[:-1])
    with pytest.raises(InputError, match="x.m4a: no AAC"):
        m4a_info(tmp_path / "x.m4a")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"abc",
        b"RIFF" + bytes(200),
        m4a(track(mdhd(64256, 16000)))[:-20],
        m4a(),
        m4a(track(mdhd(64256, 16000), handler=b"vide")),
        m4a(track(mdhd(0, 16000))),
        m4a(track(mdhd(64256, 0))),
        m4a(track(b"")),
        m4a(track(mdhd(64256, 16000)[:8])),
    ],
)
def test_what_is_no_whole_m4a_is_refused_by_name(tmp_path, content):
    (tmp_path / "x.m4a").write_bytes(content)
    with pytest.raises(InputError, match="x.m4a: no AAC of a stated length"):
        m4a_info(tmp_path / "x.m4a")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match="x.m4a: no such file"):
        m4a_info(tmp_path / "x.m4a")
