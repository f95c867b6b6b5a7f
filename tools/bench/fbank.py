"""Filter-bank features of 80 bins, one core: ours against torchaudio and kaldi-native-fbank, in one process.

    OMP_NUM_THREADS=1 python tools/bench/fbank.py [utterances]

200 utterances of 2 to 15 s of noise; processor time, the best of several interleaved rounds. Prints times real time, and
ratios.
"""

import sys
import time

import kaldi_native_fbank as knf
import numpy as np
import torch
import torchaudio

from wespk.features.fbank import fbank, fbank_many

ROUNDS = 5
BATCH = 50


def by_torchaudio(waves):
    for wave in waves:
        torchaudio.compliance.kaldi.fbank(torch.from_numpy(wave)[None] * 32768, num_mel_bins=80, dither=0)


def by_kaldi_native_fbank(waves):
    conf = knf.FbankOptions()
    conf.frame_opts.dither, conf.mel_opts.num_bins = 0, 80
    for wave in waves:
        online = knf.OnlineFbank(conf)
        online.accept_waveform(16000, (wave * 32768).tolist())
        online.input_finished()
        np.stack([online.get_frame(i) for i in range(online.num_frames_ready)])


def ours_one_by_one(waves):
    for wave in waves:
        fbank(wave)


def ours_in_batches(waves):
    for start in range(0, len(waves), BATCH):
        fbank_many(waves[start : start + BATCH])


def main():
    torch.set_num_threads(1)
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    random = np.random.default_rng(0)
    waves = [random.normal(0, 0.1, int(16000 * (2 + 13 * i / count))).astype(np.float32) for i in range(count)]
    seconds = sum(map(len, waves)) / 16000
    sides = {"torchaudio.compliance.kaldi": by_torchaudio, "kaldi-native-fbank": by_kaldi_native_fbank,
             "ours, one by one": ours_one_by_one, f"ours, {BATCH} at a time": ours_in_batches}
    speed = dict.fromkeys(sides, 0.0)
    for _ in range(ROUNDS):
        for name, run in sides.items():
            start = time.process_time()
            run(waves)
            speed[name] = max(speed[name], seconds / (time.process_time() - start))
    for name, value in speed.items():
        print(f"{name:30s} {value:7.0f} x real time")
    best = speed[f"ours, {BATCH} at a time"]
    for name in list(sides)[:2]:
        print(f"ours / {name}: {best / speed[name]:.2f} (one by one: {speed['ours, one by one'] / speed[name]:.2f})")


if __name__ == "__main__":
    main()
