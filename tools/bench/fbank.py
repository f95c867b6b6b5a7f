"""Filter-bank features of 80 bins, one core: ours against torchaudio and kaldi-native-fbank, in one process.

    . tools/path.sh; OMP_NUM_THREADS=1 python tools/bench/fbank.py --utterances 50,100,200

Utterances of 2 to 15 s of noise; CPU time, the sides taking turns. "x" is torchaudio's time divided by the row's.
"""

from functools import partial

import kaldi_native_fbank as knf
import numpy as np
import torch
import torchaudio
from measuring import Rows, sizes

from wespk.features.fbank import fbank, fbank_many
from wespk.utils.cli import main

BATCH, RATE = 50, 16000
OURS = f"wespk, {BATCH} at a time"


def by_torchaudio(waves):
    for wave in waves:
        torchaudio.compliance.kaldi.fbank(torch.from_numpy(wave)[None] * 32768, num_mel_bins=80, dither=0)


def by_kaldi_native_fbank(waves):
    conf = knf.FbankOptions()
    conf.frame_opts.dither, conf.mel_opts.num_bins = 0, 80
    for wave in waves:
        online = knf.OnlineFbank(conf)
        online.accept_waveform(RATE, (wave * 32768).tolist())
        online.input_finished()
        np.stack([online.get_frame(i) for i in range(online.num_frames_ready)])


def ours_one_by_one(waves):
    for wave in waves:
        fbank(wave)


def ours_in_batches(waves):
    for start in range(0, len(waves), BATCH):
        fbank_many(waves[start : start + BATCH])


SIDES = {"torchaudio": by_torchaudio, "kaldi-native-fbank": by_kaldi_native_fbank, "wespk, one by one": ours_one_by_one,
         OURS: ours_in_batches}  # fmt: skip


def bench(utterances: str = "50,100,200", rounds: int = 3):
    """Print a row for every number of utterances and side, and how many times real time and the others ours is.

    Args:
        utterances: numbers of them, separated by commas
        rounds: runs of each side, of which the quickest counts
    """
    torch.set_num_threads(1)
    random, rows, numbers = np.random.default_rng(0), Rows("utterances"), sizes(utterances)
    for count in numbers:
        waves = [random.normal(0, 0.1, int(RATE * (2 + 13 * i / count))).astype(np.float32) for i in range(count)]
        spent = rows.compare(count, {name: partial(run, waves) for name, run in SIDES.items()}, rounds)
        speed = {name: sum(map(len, waves)) / RATE / min(side.cpu) for name, side in spent.items()}
        ratios = ", ".join(f"{speed[OURS] / speed[name]:.2f} x {name}" for name in list(SIDES)[:2])
        print(f"{count:>12} {OURS}: {speed[OURS]:.0f} x real time, {ratios}", flush=True)


if __name__ == "__main__":
    main(bench)
