"""A small VoxCeleb-like corpus of real (if unspoken) WAV files, made for each test."""

import wave

import pytest


def write_wav(path, seconds=0.1, rate=16000):
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(bytes([7, 0]) * round(seconds * rate))


@pytest.fixture
def wav():
    """``wav(path, seconds=0.1)`` writes a mono 16 kHz file, making its folders."""
    return write_wav


@pytest.fixture
def corpus(tmp_path, wav):
    """A VoxCeleb1 root: dev/wav/id10001 to 6, test/wav/id20001 to 3, 2 sessions x 2 files each; veri_test.txt."""
    root = tmp_path / "vox1"
    for part, speakers in (("dev", range(10001, 10007)), ("test", range(20001, 20004))):
        for speaker in speakers:
            for session in ("aaaaaaaaaaa", "-b_-bbbbbbb"):
                for number in (1, 2):
                    wav(root / part / "wav" / f"id{speaker}" / session / f"{number:05d}.wav")
    (root / "veri_test.txt").write_text(
        "1 id20001/aaaaaaaaaaa/00001.wav id20001/-b_-bbbbbbb/00002.wav\n"
        "0 id20001/aaaaaaaaaaa/00001.wav id20002/aaaaaaaaaaa/00001.wav\n"
        "0 id20003/aaaaaaaaaaa/00001.wav id20002/aaaaaaaaaaa/00001.wav\n"
    )
    return root
