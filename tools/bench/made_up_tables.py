"""The tables of a made-up data folder of any size, written line by line; all its features are one matrix."""

import os

import numpy as np

UTTERANCES_OF_A_SPEAKER = 50
JOBS = 40  # of stage 2, an ark each


def make_tables(folder, number):
    """utt2spk, spk2utt, wav.scp, utt2dur, utt2num_frames and feats.scp of ``number`` utterances in an empty folder.

    The matrix lies in ``one.ark``; the arks of the jobs are further names of that file.
    """
    from wespk.io.ark import ArkWriter

    with ArkWriter(folder / "one.ark", folder / "one.scp", compress=True) as ark:
        ark.write("one", np.random.default_rng(0).normal(size=(798, 80)).astype(np.float32))
    offset = (folder / "one.scp").read_text().rpartition(":")[2].strip()
    for job in range(JOBS):
        os.link(folder / "one.ark", folder / f"feats.{job}.ark")
    for name, value in (
        ("utt2spk", lambda i, key: key[:9]),
        ("wav.scp", lambda i, key: f"/corpora/voxceleb2/dev/wav/{key.replace('-', '/')}.wav"),
        ("utt2dur", lambda i, key: "8.00"),
        ("utt2num_frames", lambda i, key: "798"),
        ("feats.scp", lambda i, key: f"{folder}/feats.{i * JOBS // number}.ark:{offset}"),
    ):
        with open(folder / name, "w") as file:
            file.writelines(f"{key} {value(i, key)}\n" for i, key in enumerate(_keys(0, number)))
    with open(folder / "spk2utt", "w") as file:
        for first in range(0, number, UTTERANCES_OF_A_SPEAKER):
            keys = list(_keys(first, min(first + UTTERANCES_OF_A_SPEAKER, number)))
            file.write(f"{keys[0][:9]} {' '.join(keys)}\n")


def _keys(first, last):
    return (f"id{i // UTTERANCES_OF_A_SPEAKER:07d}-Xq3vT0zWk5s-{i % UTTERANCES_OF_A_SPEAKER:05d}" for i in range(first, last))
