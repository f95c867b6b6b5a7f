"""The share of a training step spent waiting for data, by the trainer itself, on made-up data.

    . tools/path.sh; OMP_NUM_THREADS=1 python tools/bench/waiting.py --model resnet34 --batch 4,8,16

Sizes are utterances in a batch. The first side reads in the trainer itself (runtime.num_workers=0), the other by
workers of the loader. A run is one epoch of --steps steps through `wespk.training.run.train`; "waiting" is what the
trainer logs, of the steps after the first, whose waiting, told apart, is for the workers to start. What a machine
with a quick network needs follows from `training_input.py`: workers >= chunks a second of the network / chunks a
second of a worker.
"""

import json
from pathlib import Path

import made_up
from measuring import Rows, apart, sizes

from wespk.utils import config
from wespk.utils.cli import main
from wespk.utils.errors import InputError

MODELS = {"resnet34": "model.name=resnet34",
          "ecapa1024": "model.name=ecapa_tdnn model.channels=1024 model.embed_dim=192",
          "ecapa64": "model.name=ecapa_tdnn model.channels=64 model.embed_dim=64 model.aggregate=192"}  # fmt: skip
_SHORT = ("train.num_epochs=1 train.average=1 train.keep=1 margin.start_epoch=0 margin.end_epoch=0 "
          "schedule.warmup_epochs=0 runtime.log_every=1 runtime.progress=false")  # fmt: skip


def run(folder, exp, sets, device):
    """One run; the records that the trainer logged, one for each step."""
    from wespk.training.run import train

    train(config.load(sets=sets), exp, folder, None, device, folder, folder)
    return [json.loads(line) for line in (Path(exp) / "metrics.jsonl").read_text().splitlines()]


def waited(records):
    """(share of the time waited in the steps after the first, seconds an utterance in the first), of ``records``."""
    first, *later = ((r["chunks_per_second"], r["waiting"]) for r in records)
    seconds = [1 / rate for rate, _ in later]  # for each chunk: batches differ by one utterance at most
    return sum(s * share for s, (_, share) in zip(seconds, later)) / sum(seconds), first[1] / first[0]


def bench(model: str = "resnet34", batch: str = "4,8,16", steps: int = 6, input: str = "feats", workers: int = 1,
          frames: int = 200, device: str = "cpu", sets: str = ""):
    """Print a table, both sides at each size.

    Args:
        model: resnet34, ecapa1024, or ecapa64, a narrow one that is quick on a CPU
        batch: utterances in a batch, several sizes
        steps: in a run, 3 at least
        input: feats (arks) or waves (recordings with speed, noise and reverberation)
        workers: of the loader
        frames: in a chunk
        device: cpu or cuda
        sets: further options, as train's --set
    """
    if model not in MODELS or input not in ("feats", "waves") or steps < 3 or workers < 1:
        raise InputError(f"--model is {', '.join(MODELS)}; --input feats or waves; --steps 3 or more, --workers 1 or "
                         "more")
    spoilt = "augment.prob=0.6 augment.speeds=[0.9,1.1]" if input == "waves" else ""
    rows = Rows("batch", device)
    for size in sizes(batch, 2):
        with made_up.folder("waiting") as made:
            made = Path(made)
            if input == "feats":
                made_up.features(made, size * steps)
            else:
                made_up.audio(made, size * steps)
                made_up.noises(made)
            for number in (0, workers):
                words = (f"{MODELS[model]} data.input={input} data.chunk_frames={frames} train.batch_size={size} "
                         f"runtime.num_workers={number} {_SHORT} {spoilt} {sets}")
                measured = apart(run, made, made / f"exp{number}", words, device, imports=("wespk.training.run",))
                share, start = waited(measured.found)
                rate = len(measured.found[1:]) / sum(1 / r["chunks_per_second"] for r in measured.found[1:])
                note = f"waiting {100 * share:.2f} %, {rate:.1f} chunks/s; the first batch {start * size:.2f} s"
                rows.add(size, f"{number} workers", measured, note=note)


if __name__ == "__main__":
    main(bench)
