import numpy as np
import pytest
import torch

from wespk.augment.bank import TensorBank
from wespk.augment.chain import WaveAugment
from wespk.augment.reverb import add_reverb
from wespk.augment.speed import speed
from wespk.utils.errors import InputError


def test_every_row_depends_on_seed_epoch_and_index_alone(section, noise_bank, rir_bank):
    augment = WaveAugment(section(prob=0.8, speeds=[0.9, 1.1]), noise_bank, rir_bank)
    sources = torch.randn(40, augment.longest_source(4000))
    indices = np.random.default_rng(0).permutation(1000)[:40]
    whole = augment(sources, indices, 1, 2, 4000)
    assert whole.shape == (40, 4000)
    for rows in (slice(0, 1), slice(7, 8), slice(10, 25)):
        torch.testing.assert_close(augment(sources[rows], indices[rows], 1, 2, 4000), whole[rows], atol=1e-6, rtol=0)
    assert torch.equal(augment(sources, indices, 1, 2, 4000), whole)
    for other in ((1, 3), (2, 2)):
        changed = (augment(sources, indices, *other, 4000) != whole).any(1)
        assert changed.float().mean() > 0.6


def test_shares_are_as_the_section_says(section, noise_bank, rir_bank):
    same = torch.randn(1, 500).expand(1500, -1)
    augment = WaveAugment(section(prob=0.6, reverb_share=0.25, kinds=["noise", "music"]), noise_bank, rir_bank)
    found = augment(same, np.arange(1500), 1, 2)
    wet = WaveAugment(section(prob=0.6, reverb_share=1.0), None, rir_bank)(same, np.arange(1500), 1, 2)
    touched = (found != same).any(1)
    assert abs(touched.float().mean() - 0.6) < 0.04
    reverberant = touched & (found - wet).abs().amax(1).lt(1e-5)
    assert abs(reverberant.float().mean() - 0.15) < 0.03


def test_a_share_gets_reverberation_and_then_noise(section, noise_bank, rir_bank):
    same, numbers = torch.randn(1, 500).expand(1500, -1), np.arange(1500)
    conf = {"prob": 0.6, "reverb_share": 0.25, "kinds": ["noise"], "noise_snr": [40, 40]}
    found = WaveAugment(section(both_share=0.5, **conf), noise_bank, rir_bank)(same, numbers, 1, 2)
    wet = add_reverb(same, rir_bank, numbers, 1, 2)

    def near(other):  # noise 40 dB below
        return (found - other).square().mean(1) < 3e-4 * other.square().mean(1)

    kinds = {"none": (found == same).all(1), "wet": (found - wet).abs().amax(1) < 1e-5, "both": near(wet), "noise": near(same)}
    shares = {name: rows.float().mean().item() for name, rows in kinds.items()}
    expected = {"none": 0.4, "wet": 0.075, "both": 0.375, "noise": 0.4 + 0.225}  # each of the near ones includes the equal
    assert shares == pytest.approx(expected, abs=0.04)


def test_the_level_behind_reverberation_is_drawn_from_its_span(section, rir_bank, waves):
    plain, louder = (WaveAugment(section(prob=1.0, reverb_share=1.0, reverb_gain=gain), None, rir_bank)(waves, np.arange(8), 1, 2)
                     for gain in ([0, 0], [-14, 6]))
    gains = 20 * torch.log10((louder / plain).mean(1))
    assert ((gains > -14) & (gains < 6)).all() and gains.max() - gains.min() > 5


def test_noise_has_the_ratio_of_its_kind(section, noise_bank, waves):
    for kind, span in (("noise", [0, 15]), ("music", [30, 31]), ("babble", [13, 20])):
        conf = section(prob=1.0, reverb_share=0.0, kinds=[kind], **{f"{kind}_snr": span})
        found = WaveAugment(conf, noise_bank)(waves, np.arange(8), 1, 2)
        ratio = 10 * torch.log10(waves.square().mean(1) / (found - waves).square().mean(1))
        assert (ratio > span[0] - 0.01).all() and (ratio < span[1] + 0.01).all()


def test_reverberation_is_that_of_the_bank(section, rir_bank, waves):
    found = WaveAugment(section(prob=1.0, reverb_share=1.0), None, rir_bank)(waves, np.arange(8), 1, 2)
    torch.testing.assert_close(found, add_reverb(waves, rir_bank, np.arange(8), 1, 2), atol=1e-6, rtol=0)


def test_speed_plays_the_samples_that_the_reader_was_told_to_read(section):
    augment = WaveAugment(section(speeds=[0.9, 1.1]))
    indices = np.arange(60)
    lengths = augment.source_lengths(indices, 4000, 1, 2)
    assert set(lengths) == {3600, 4000, 4400} and augment.longest_source(4000) == 4400
    sources = torch.randn(60, 4400)
    found = augment(sources, indices, 1, 2, 4000)
    for row, drawn in enumerate(augment.speeds_of(indices, 1, 2)):
        factor = (1, 0.9, 1.1)[drawn]
        torch.testing.assert_close(found[row], speed(sources[row, : lengths[row]], factor, 4000), atol=1e-6, rtol=0)
    garbage = sources.clone()
    for row, length in enumerate(lengths):
        garbage[row, length:] = float("nan")
    assert torch.equal(augment(garbage, indices, 1, 2, 4000), found)


def test_autocast_does_not_reach_the_samples(section, noise_bank, rir_bank, waves):
    augment = WaveAugment(section(prob=1.0, speeds=[0.9]), noise_bank, rir_bank)
    with torch.autocast("cpu", torch.bfloat16):
        inside = augment(waves, np.arange(8), 1, 2)
    assert torch.equal(inside, augment(waves, np.arange(8), 1, 2))


def test_nothing_asked_for_leaves_the_waves_alone(section, waves):
    found = WaveAugment(section())(waves, np.arange(8), 1, 2)
    assert torch.equal(found, waves) and found.data_ptr() != waves.data_ptr()


@pytest.mark.parametrize("changes, banks, says", [
    ({"prob": 0.5}, (None, "rirs"), "asks for noise.*--musan.*reverb_share=1"),
    ({"prob": 0.5}, ("noises", None), "asks for reverberation.*--rirs.*reverb_share=0"),
    ({"prob": 0.5, "reverb_share": 1, "both_share": 0.1}, (None, "rirs"), "asks for noise.*both_share=0"),
    ({"prob": 0.5, "reverb_share": 0, "both_share": 0.1}, ("noises", None), "asks for reverberation.*both_share=0"),
    ({"prob": 0.5, "kinds": []}, ("noises", "rirs"), "augment.kinds is empty"),
    ({"prob": 0.5, "babble_speakers": [3, 11]}, ("noises", "rirs"), "up to 11 talkers"),
])
def test_what_no_bank_can_give_is_refused_at_the_start(section, noise_bank, rir_bank, changes, banks, says):
    given = {"noises": noise_bank, "rirs": rir_bank, None: None}
    with pytest.raises(InputError, match=says):
        WaveAugment(section(**changes), *(given[name] for name in banks))


def test_a_batch_too_narrow_for_the_speeds_is_an_error(section, waves):
    with pytest.raises(ValueError, match="8000 samples cannot make 8000 at speeds"):
        WaveAugment(section(speeds=[1.1]))(waves, np.arange(8), 1, 2, 8000)


def test_all_banks_may_hold_sixteen_bits(section, waves):
    bank = TensorBank({"noise": [torch.randn(9000) * 0.1]}, dtype=torch.int16)
    found = WaveAugment(section(prob=1.0, reverb_share=0.0, kinds=["noise"]), bank)(waves, np.arange(8), 1, 2)
    assert found.isfinite().all() and (found != waves).any(1).all()
