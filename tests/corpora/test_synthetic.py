"""The synthetic corpus: reproducible, in VoxCeleb's layout, and readable by the preparation."""

import subprocess
import sys

import numpy as np
import pytest

from wespk.corpora.synthetic import Sizes, make, sentence
from wespk.io.audio import read_audio
from wespk.utils.errors import InputError

SMALL = Sizes(4, 3, utterances=5, sessions=2, min_seconds=1.0, max_seconds=1.5, noises=3, rirs=5)


@pytest.fixture(scope="module")
def engine_there():
    pytest.importorskip("espeakng_loader", reason="espeakng-loader (optional, GPL-3) is not installed")


@pytest.fixture(scope="module")
def made(engine_there, tmp_path_factory):
    """Made in a process of its own, as the recipe does: the synthesiser's state is global."""
    out = tmp_path_factory.mktemp("synthetic") / "corpus"
    return out, in_a_process(out, SMALL)


def in_a_process(out, sizes, seed=42):
    words = [f"--{name}={value}" for name, value in sizes._asdict().items()]
    command = [sys.executable, "-m", "wespk.bin.make_synthetic", "--out", str(out), "--seed", str(seed), *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def contents(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_the_corpus_has_the_sizes_asked_for(made):
    out, said = made
    wavs = sorted(out.glob("voxceleb1/*/*/*/*.wav"))
    assert len(wavs) == 7 * 5 and len({p.parent.parent for p in wavs}) == 7 and len({p.parent for p in wavs}) == 14
    assert len(list(out.glob("rirs/simulated_rirs/smallroom/*/*.wav"))) == 5
    assert [len(list(out.glob(f"musan/{kind}/*/*.wav"))) for kind in ("noise", "music", "speech")] == [3, 1, 1]
    assert f"{out}/voxceleb1/dev: 4 speakers, 20 utterances" in said


def test_every_file_is_mono_16_khz_unclipped_and_not_silent(made):
    for path in made[0].rglob("*.wav"):
        samples, rate = read_audio(str(path))
        assert rate == 16000 and 0.02 < np.abs(samples).max() < 0.999
        if path.is_relative_to(made[0] / "voxceleb1"):
            assert 1.0 <= len(samples) / rate <= 1.5


def test_the_same_seed_gives_the_same_bytes_and_another_seed_other_voices(made, tmp_path):
    in_a_process(tmp_path / "same", SMALL)
    assert contents(tmp_path / "same") == contents(made[0])
    in_a_process(tmp_path / "other", SMALL, seed=1)
    ours = {p.read_bytes() for p in made[0].rglob("*.wav")}
    assert not ours & {p.read_bytes() for p in (tmp_path / "other").rglob("*.wav")}


def test_the_preparation_takes_it_as_it_is(made, tmp_path):
    out = made[0]
    roots = ["--voxceleb1", out / "voxceleb1", "--musan", out / "musan", "--rirs", out / "rirs"]
    command = [sys.executable, "-m", "wespk.bin.prepare_corpus", "--corpus", "voxceleb", "--out", tmp_path, *roots]
    done = subprocess.run([*map(str, command), "--dev-speakers", "2"], capture_output=True, text=True, check=True)
    assert f"{tmp_path}/train: 2 speakers, 10 utterances" in done.stdout
    assert f"{tmp_path}/rirs: 5 impulse responses" in done.stdout
    # 3 + 2 utterances in two sessions: 6 pairs across sessions for each of 3 speakers
    assert f"{tmp_path}/eval/trials/veri_test: 36 trials, 18 targets" in done.stdout


def test_a_corpus_made_before_is_kept_and_anything_else_is_refused(made):
    out = str(made[0])
    before = contents(made[0])
    assert make(out, SMALL) == [f"{out}: made before with the same seed and sizes; kept"]
    with pytest.raises(InputError, match="exists and is not this corpus .*seed 7.*remove it"):
        make(out, SMALL, seed=7)
    assert contents(made[0]) == before


def test_a_failure_leaves_nothing(engine_there, tmp_path, monkeypatch):
    monkeypatch.setattr("wespk.corpora.synthetic._make_rirs", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        make(str(tmp_path / "corpus"), SMALL._replace(train_speakers=1, test_speakers=2, utterances=2, noises=1))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "change, message",
    [
        ({"train_speakers": 0}, "positive sizes"),
        ({"test_speakers": 1}, "at least 2 test speakers"),
        ({"sessions": 6}, "6 sessions cannot share 5 utterances"),
        ({"min_seconds": 3.0}, "not 3.0 to 1.5"),
    ],
)
def test_unusable_sizes_are_refused(tmp_path, change, message):
    with pytest.raises(InputError, match=message):
        make(str(tmp_path / "corpus"), SMALL._replace(**change))


def test_without_the_synthesiser_the_way_out_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(InputError, match="pip install espeakng-loader"):
        make(str(tmp_path / "corpus"), SMALL)


def test_sentences_have_the_words_asked_for():
    rng = np.random.default_rng(0)
    assert all(len(sentence(rng, count).split()) >= count for count in (1, 5, 20))
