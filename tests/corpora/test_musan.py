"""MUSAN's layout."""

import shutil

import pytest

from wespk.corpora.musan import find_musan, write_musan
from wespk.io.tables import read_table
from wespk.utils.errors import InputError


@pytest.fixture
def musan(tmp_path, wav):
    root = tmp_path / "corpora" / "musan"
    for kind, source in (("noise", "free-sound"), ("music", "fma"), ("speech", "us-gov")):
        wav(root / kind / source / f"{kind}-{source}-0000.wav")
    (root / "noise" / "free-sound" / "ANNOTATIONS").touch()
    return root


def test_the_three_kinds_are_found_below_the_root_or_its_musan_folder(musan, tmp_path):
    assert find_musan(str(musan)) == find_musan(str(musan.parent))
    out = tmp_path / "out"
    report = write_musan(find_musan(str(musan)), str(out))
    assert report == [f"{out}: noise 1 files (0.00 hours), music 1 files (0.00 hours), speech 1 files (0.00 hours)"]
    assert read_table(out / "noise.scp") == {
        "free-sound/noise-free-sound-0000": f"{musan}/noise/free-sound/noise-free-sound-0000.wav"
    }
    assert sorted(p.name for p in out.iterdir()) == ["music.scp", "noise.scp", "speech.scp"]


@pytest.mark.parametrize("kind", ["noise", "music", "speech"])
def test_a_missing_kind_is_named(musan, kind):
    shutil.rmtree(musan / kind)
    with pytest.raises(InputError, match=f"no audio in {musan}/{kind}"):
        find_musan(str(musan))


def test_a_missing_root_is_named(tmp_path):
    with pytest.raises(InputError, match="--musan .*/nowhere: no such folder"):
        find_musan(str(tmp_path / "nowhere"))


def test_real_noises_are_all_found(real_speech):
    assert {kind: len(files) for kind, files in find_musan(str(real_speech / "noise")).items()} == {
        "noise": 34,
        "music": 6,
        "speech": 24,
    }
