import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from wespk.features.fbank import FrameOptions, mel_energies
from wespk.features.vad import energy_vad
from wespk.utils.errors import InputError


def test_decisions_equal_kaldis_on_four_utterances(kaldi):
    for case in kaldi["vad"].values():
        assert energy_vad(np.array(case["energy"])).tolist() == [bool(v) for v in case["vad"]]


def test_decisions_from_the_waveform_equal_kaldis(whole):
    waves, golden = whole("vad")
    for key, wave in waves.items():
        _, energy = mel_energies([wave], FrameOptions(snip_edges=False), with_energy=True)[0]
        assert energy_vad(energy).tolist() == golden[key].ravel().astype(bool).tolist()


def slow_vad(energy, threshold, scale, context, proportion):
    cut = threshold + scale * sum(energy) / len(energy)
    found = []
    for t in range(len(energy)):
        around = energy[max(0, t - context) : t + context + 1]
        found.append(sum(e > cut for e in around) >= np.float32(len(around)) * np.float32(proportion))
    return found


@given(st.lists(st.integers(-10, 30), min_size=1, max_size=40), st.integers(0, 6), st.sampled_from([0.12, 0.3, 0.6, 0.9]))
def test_decisions_equal_a_slow_loop(energy, context, proportion):
    energy = [float(e) for e in energy]
    assert energy_vad(np.array(energy), 3.25, 0.5, context, proportion).tolist() == slow_vad(energy, 3.25, 0.5, context,
                                                                                         proportion)


def test_torch_in_torch_out_and_nothing_of_nothing():
    assert energy_vad(torch.tensor([20.0, 1.0])).dtype == torch.bool
    assert energy_vad(np.empty(0)).shape == (0,)


def test_a_proportion_outside_zero_and_one_is_refused():
    with pytest.raises(InputError, match="proportion"):
        energy_vad(np.ones(3), proportion=1.0)
