import numpy as np
import torch

from wespk.augment.spec_mask import SpecMask

CONF = {"mask_prob": 1.0, "time_masks": 1, "time_width": 10, "freq_masks": 1, "freq_width": 8}


def masked(feats, **changes):
    return SpecMask({**CONF, **changes})(feats, np.arange(len(feats)), 1, 2) == 0


def test_masks_are_stripes_no_wider_than_asked():
    zero = masked(torch.ones(300, 50, 20))
    time, freq = zero.all(2), zero.all(1)
    assert torch.equal(zero, time[:, :, None] | freq[:, None, :])
    for stripes, widest in ((time, 10), (freq, 8)):
        widths = stripes.sum(1)
        assert widths.min() == 0 and widths.max() == widest
        edges = torch.nn.functional.pad(stripes.int(), (1, 1)).diff().abs().sum(1)
        assert edges.max() == 2  # one run each
        assert stripes[:, 0].any() and stripes[:, -1].any()  # anywhere, both ends included


def test_every_utterance_has_masks_of_its_own():
    zero = masked(torch.ones(50, 50, 20))
    assert len({tuple(row.flatten().tolist()) for row in zero}) > 45


def test_a_mask_depends_on_seed_epoch_and_index_alone():
    feats = torch.ones(4, 50, 20)
    mask = SpecMask({**CONF, "mask_prob": 0.7})
    whole = mask(feats, [9, 5, 7, 1], 1, 2)
    assert torch.equal(mask(feats[:1], [7], 1, 2)[0], whole[2])
    assert not torch.equal(mask(feats, [9, 5, 7, 1], 1, 3), whole)


def test_the_share_of_masked_chunks_is_as_asked():
    touched = masked(torch.ones(2000, 50, 20), mask_prob=0.25, time_masks=3).any(2).any(1)
    assert abs(touched.float().mean() - 0.25) < 0.03


def test_probability_zero_and_widths_beyond_the_chunk():
    feats = torch.ones(20, 5, 4)
    assert SpecMask({**CONF, "mask_prob": 0.0})(feats, np.arange(20), 1, 2) is feats
    assert masked(feats, time_width=50, freq_width=50).shape == feats.shape


def test_the_input_is_left_as_it_was():
    feats = torch.ones(5, 50, 20)
    SpecMask(CONF)(feats, np.arange(5), 1, 2)
    assert (feats == 1).all()
