import numpy as np
import pytest
import torch

from tests.corpora.feature_folders import burst, conf, make_audio, make_noises
from wespk.augment.speed import speed
from wespk.corpora.copies import CopyMaker, utterance_index
from wespk.io.tables import write_table
from wespk.utils.errors import InputError

KINDS = ["noise", "music", "babble", "reverb"]


def maker(folder, seed=1, **changes):
    section = conf(copies={"kinds": KINDS, **changes})["copies"]
    return CopyMaker(section, seed, 16000, *make_noises(folder))


def snr_of(clean, noisy):
    return 10 * torch.log10(clean.square().mean() / (noisy - clean).square().mean()).item()


def test_each_copy_has_the_ratio_of_its_kind(tmp_path):
    copies = maker(tmp_path, noise_snr=[0, 1], music_snr=[9, 10], babble_snr=[15, 16])
    wave = torch.from_numpy(burst(1, 9))
    found = {name: (speaker, copy) for name, speaker, copy in copies.spoilt("id1-a", "id1", wave)}
    assert list(found) == [f"id1-a-{kind}" for kind in KINDS]
    for kind, least in (("noise", 0), ("music", 9), ("babble", 15)):
        speaker, copy = found[f"id1-a-{kind}"]
        assert speaker == "id1" and copy.shape == wave.shape
        assert least - 0.01 < snr_of(wave, copy) < least + 1.01
    assert 0 < (found["id1-a-reverb"][1] - wave).abs().max() < 1


def test_copies_depend_on_seed_and_utterance_alone(tmp_path):
    wave = torch.from_numpy(burst(1, 9))
    first, again, other = (maker(tmp_path, seed).spoilt("id1-a", "id1", wave) for seed in (1, 1, 2))
    assert all(torch.equal(a[2], b[2]) for a, b in zip(first, again))
    assert not any(torch.equal(a[2], b[2]) for a, b in zip(first[:3], other))
    renamed = maker(tmp_path).spoilt("id1-b", "id1", wave)
    assert not any(torch.equal(a[2], b[2]) for a, b in zip(first[:3], renamed))


def test_speed_copies_are_new_speakers(tmp_path):
    wave = torch.from_numpy(burst(1, 9))
    (name, speaker, copy), = maker(tmp_path, speeds=[1.1]).speeds("id1-a", "id1", wave)
    assert (name, speaker) == ("sp1.1-id1-a", "sp1.1-id1")
    assert torch.equal(copy, speed(wave, 1.1))


def test_indices_of_utterances_are_64_bits_and_do_not_collide():
    found = {utterance_index(f"id{i}") for i in range(1000)}
    assert len(found) == 1000 and all(-(2**63) <= i < 2**63 for i in found)
    assert np.array(list(found)).dtype == np.int64


def test_what_is_missing_is_named(tmp_path):
    section, (musan, rirs) = conf(copies={"kinds": KINDS})["copies"], make_noises(tmp_path)
    with pytest.raises(InputError, match="asks for noise, music, babble: give the prepared folder with --musan"):
        CopyMaker(section, 1, 16000, None, rirs)
    with pytest.raises(InputError, match="asks for reverb: give the prepared folder with --rirs"):
        CopyMaker(section, 1, 16000, musan, None)
    with pytest.raises(InputError, match="up to 8 talkers.*has 7"):
        CopyMaker({**section, "babble_speakers": [3, 8]}, 1, 16000, musan, rirs)
    (musan / "music.scp").unlink()
    with pytest.raises(InputError, match="music.scp does not exist: prepare it in stage 1"):
        CopyMaker(section, 1, 16000, musan, rirs)


def test_a_noise_of_another_rate_is_named(tmp_path):
    musan, _ = make_noises(tmp_path)
    write_table(musan / "noise.scp", {"n": make_audio(musan, "slow", burst(1, 1), rate=8000)})
    copies = CopyMaker(conf(copies={"kinds": ["noise"]})["copies"], 1, 16000, musan, None)
    with pytest.raises(InputError, match="slow.wav: 8000 Hz, but features.sample_rate is 16000"):
        copies.spoilt("id1-a", "id1", torch.from_numpy(burst(1, 9)))
