"""Recordings joined by a line of wav.scp are read as the concatenation of their samples, in whole and in part."""

import shutil

import numpy as np
import pytest
import soundfile

from wespk.io.audio import audio_info, read_audio, read_samples
from wespk.io.job_marks import recording_state
from wespk.io.joined import join_command, joined_paths
from wespk.io.pipes import pipe_output
from wespk.utils.errors import InputError

RATE = 16000


@pytest.fixture
def parts(tmp_path):
    """(paths, samples) of three recordings of 16 bits, one of them in a folder that a shell must be told with quotes."""
    folder = tmp_path / "my $HOME 'files'"
    folder.mkdir()
    paths = [str(tmp_path / "a.flac"), str(folder / "b.wav"), str(tmp_path / "c.flac")]
    samples = [np.random.default_rng(n).integers(-9000, 9000, size) for n, size in enumerate((1000, 1, 700))]
    for path, values in zip(paths, samples):
        soundfile.write(path, values.astype(np.int16), RATE, subtype="PCM_16")
    return paths, np.concatenate(samples).astype(np.float32) / 32768


def test_a_joined_recording_is_its_parts_one_after_another_from_any_sample_to_any(parts):
    spec, expected = join_command(parts[0]), parts[1]
    assert audio_info(spec) == (1701, RATE, 1)
    for start, num in ((0, None), (0, 1701), (999, 3), (1000, 1), (1001, 700), (5, 900), (1200, None), (400, 0)):
        samples, rate = read_audio(spec, start, num)
        assert rate == RATE and samples.dtype == np.float32
        np.testing.assert_array_equal(samples, expected[start:][:num])


def test_a_part_that_is_not_of_16_bits_makes_all_floating(parts):
    spec, expected = join_command(parts[0]), parts[1]
    assert read_samples(spec)[0].dtype == np.int16
    soundfile.write(parts[0][1], expected[1000:1001], RATE, subtype="FLOAT")
    np.testing.assert_array_equal(read_samples(spec, 990, 20)[0], expected[990:1010], strict=True)


def test_only_the_files_that_are_wanted_are_decoded(parts, tmp_path):
    content = (tmp_path / "c.flac").read_bytes()
    (tmp_path / "c.flac").write_bytes(content[: len(content) // 2])
    assert len(read_audio(join_command(parts[0]), 0, 1001)[0]) == 1001
    with pytest.raises(InputError, match=r"/c\.flac: "):
        read_audio(join_command(parts[0]))


@pytest.mark.skipif(not shutil.which("sox"), reason="needs sox")
def test_sox_prints_the_same_samples(parts, tmp_path):
    (tmp_path / "all.wav").write_bytes(pipe_output(join_command(parts[0])))
    np.testing.assert_array_equal(read_audio(str(tmp_path / "all.wav"))[0], parts[1])


def test_the_command_is_one_that_a_shell_splits_into_the_paths(parts):
    printed = pipe_output(join_command(parts[0]).replace("sox", r"printf '%s\n'", 1))
    assert printed.decode().split("\n")[:3] == parts[0] == joined_paths(join_command(parts[0]))


@pytest.mark.parametrize(
    "spec",
    ["sox /a.wav -t wav - |", "sox a.wav b.wav -t wav - |", "sox /a.wav /b.wav -t flac - |", "/a.wav", "sox -t wav - |",
     "sox -m /a.wav /b.wav -t wav - |", "sox /a.wav /b.wav; rm /b.wav -t wav - |", "sox /a.wav $(ls) -t wav - |",
     "sox '/a.wav' /b.wav -t wav - |", "sox  /a.wav /b.wav -t wav - |", "sox /a.wav '/b.wav -t wav - |",
     "sox /a*.wav /b.wav -t wav - |", "cat x | sox /a.wav /b.wav -t wav - |"],
)  # fmt: skip
def test_any_other_command_is_left_to_the_shell(spec):
    assert joined_paths(spec) is None


def test_parts_that_do_not_fit_together_or_are_absent_are_named(parts, tmp_path):
    slow, two = str(tmp_path / "slow.wav"), str(tmp_path / "two.wav")
    soundfile.write(slow, np.ones(80, np.int16), 8000)
    soundfile.write(two, np.ones((80, 2), np.int16), RATE)
    for bad, message in ((slow, "slow.wav has 1 channels at 8000 Hz"), (two, "two.wav has 2 channels at 16000 Hz"),
                         (str(tmp_path / "none.wav"), "none.wav: no such file")):  # fmt: skip
        with pytest.raises(InputError, match=message):
            read_audio(join_command([parts[0][0], bad]))
    with pytest.raises(InputError, match="samples 1700 to 1702 are wanted of 1701"):
        read_audio(join_command(parts[0]), 1700, 2)


def test_a_job_is_done_again_when_any_part_has_changed(parts, tmp_path):
    before = recording_state(join_command(parts[0]))
    soundfile.write(tmp_path / "c.flac", np.ones(900, np.int16), RATE)
    after = recording_state(join_command(parts[0]))
    assert before[:2] == after[:2] and before[2] != after[2] and None not in after
