"""Stands for a recipe's run.sh in the tests of run_grid.py: the same options, stage marks and score files, no training.

Called as fake_run.py FOLDER OPTION ..., where FOLDER/log gets a line for each call. FOLDER/hold: wait until it is gone
or SIGTERM comes; FOLDER/fail: a text in it that occurs in the experiment's path makes the run fail, and FOLDER/fail-lm
fine-tuning alone.
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

from tools import stage_mark

KEYS = [f"s{speaker:02d}-{i}" for speaker in range(12) for i in range(3)]
PAIRS = [(a, b, a[:3] == b[:3]) for i, a in enumerate(KEYS) for b in KEYS[:i]]


def stop(*_):
    sys.exit(85)


def write(path, lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))


def make_data(data):
    if not (data / "eval" / "utt2spk").exists():
        write(data / "eval" / "utt2spk", [f"{key} {key[:3]}" for key in KEYS])
        write(data / "eval" / "feats.scp", [f"{key} ark" for key in KEYS])
        for path in (data / "eval" / "trials" / "hard", data / "dev" / "trials" / "dev"):
            write(path, [f"{a} {b} {'target' if same else 'nontarget'}" for a, b, same in PAIRS])


def evaluate_elsewhere(exp, options, gain):
    draw, on = random.Random(7), exp / "on" / options["eval-name"]
    lines = [f"{a} {b} {(1 + gain) * same + draw.gauss(0, 1):.5f}" for a, b, same in PAIRS]
    write(on / "scores" / "far.cosine", lines)
    mark(on, int(options["stop-stage"]), [exp / "metrics.jsonl"], [on / "scores/far.cosine"])


def make_experiment(exp, data, options, gain):
    draw = random.Random(int(options["seed"]))
    lines = [{"step": step, "dev_eer": 0.5 - 0.1 * step, "dev_min_dcf": 0.9} for step in (1, 2, 3)]
    write(exp / "metrics.jsonl", map(json.dumps, lines))
    mark(exp, 3, [data / "eval/utt2spk"], [exp / "metrics.jsonl"])
    if options["stop-stage"] > "3":
        lines = [f"{a} {b} {(2 + gain) * same + draw.gauss(0, 1):.5f}" for a, b, same in PAIRS]
        write(exp / "scores" / "hard.cosine", lines)
        mark(exp, 7, [exp / "metrics.jsonl"], [exp / "scores/hard.cosine"])


def mark(exp, stage, inputs, outputs):
    name = exp / ".stages" / f"{stage}.json"
    stage_mark.begin(name, {}, list(map(str, inputs)))
    stage_mark.done(name, list(map(str, outputs)))


def main(folder, words):
    folder, options = Path(folder), dict(word[2:].split("=", 1) for word in words)
    seen = {name: os.environ.get(name, "") for name in ("OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES")}
    with open(folder / "log", "a", encoding="utf-8") as file:
        file.write(json.dumps({**options, **seen}) + "\n")
    signal.signal(signal.SIGTERM, stop)
    data = Path(options["data"])
    if options["stage"] == "1":
        make_data(data)
        return
    start = time.monotonic()
    while (folder / "hold").exists() and time.monotonic() < start + 60:
        time.sleep(0.02)
    fail = folder / "fail"
    if fail.exists() and fail.read_text() in options["exp"]:
        print("the reason of the failure")
        sys.exit(3)
    if "eval-data" in options:
        evaluate_elsewhere(Path(options["exp"]), options, float("sf2" in options["exp"]))
        return
    gain = 2.0 if "sphereface2" in options.get("set", "") else 0.0
    make_experiment(Path(options["exp"]), data, options, gain)
    if options["stop-stage"] == "8":
        print("12:00:00 stage 8, large-margin fine-tuning: as run.sh says it", flush=True)
        if (folder / "fail-lm").exists():
            sys.exit(4)
        make_experiment(Path(options["exp"] + "-lm"), data, options, gain + 1)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
