"""kaldi-native-fbank, an independent implementation of Kaldi's features, with the options of ours."""

import numpy as np
import pytest


def witness(kind, wave, use_energy, num_ceps=None, **options):
    """Features (T, F) of a waveform (N,) in [-1, 1); ``kind`` is fbank or mfcc. Skips without the package."""
    knf = pytest.importorskip("kaldi_native_fbank")
    conf = knf.FbankOptions() if kind == "fbank" else knf.MfccOptions()
    conf.frame_opts.dither, conf.use_energy = 0, use_energy
    if num_ceps:
        conf.num_ceps = num_ceps
    names = {"sample_rate": "samp_freq", "frame_length": "frame_length_ms", "frame_shift": "frame_shift_ms",
             "preemphasis": "preemph_coeff", "window": "window_type", "snip_edges": "snip_edges"}
    mel_names = {"num_mel_bins": "num_bins", "low_freq": "low_freq", "high_freq": "high_freq"}
    for option, value in options.items():
        target, name = (conf.frame_opts, names[option]) if option in names else (conf.mel_opts, mel_names[option])
        setattr(target, name, value)
    online = (knf.OnlineFbank if kind == "fbank" else knf.OnlineMfcc)(conf)
    online.accept_waveform(conf.frame_opts.samp_freq, (np.asarray(wave, np.float32) * 32768).tolist())
    online.input_finished()
    return np.array([online.get_frame(i) for i in range(online.num_frames_ready)])


def distances(ours, theirs, golden):
    """((max, mean) of ours from Kaldi's, the same of theirs) over dicts of matrices."""
    both = []
    for found in (ours, theirs):
        gaps = np.concatenate([np.abs(found[key] - golden[key]).ravel() for key in golden])
        both.append((gaps.max(), gaps.mean()))
    return both
