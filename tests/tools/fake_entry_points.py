"""Stands in for the entry points in tests of tools/stages.sh: writes their files at once, from nothing.

    fake_entry_points.py [-m wespk.bin.NAME | .../tools/submit/local.py] OPTIONS

The words of every call are added to the file that FAKE_LOG names, one line a call. A submitter runs nothing but the
commands that share_of.sh would deal to its jobs, which are calls of their own. What is written holds the text of
FAKE_TEXT, so that a test can make a stage come out differently. While a file FAKE_LOG.NAME.wait exists, NAME waits;
if there is a file FAKE_LOG.NAME.status, NAME ends with the exit status in it.
"""

import os
import sys
import time
from pathlib import Path

import yaml

TEXT = os.environ.get("FAKE_TEXT", "")


def write(path, text=""):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(f"{text or TEXT}\n")


def need(*lists):
    """End with an error unless every file of comma-separated lists is there, as the real entry point does."""
    for path in ",".join(lists).split(","):
        if path and not Path(path).exists():
            sys.exit(f"{path}: no such file")


def prepare_corpus(out, check="false", **_):
    if check == "true":
        return
    for name in ("train", "dev", "eval"):
        write(f"{out}/{name}/wav.scp", "u wav\nv wav")
        write(f"{out}/{name}/utt2spk", "u s")
    for path in ("musan/noise.scp", "rirs/rirs.scp", "dev/trials/dev", "eval/trials/A", "eval/trials/B"):
        write(f"{out}/{path}", "u u target")


def validate_data(data, check_features="true", **_):
    features = Path(data) / "feats.scp"
    if check_features == "true" and features.exists() and not list(Path(data).glob("feats/*.ark")):
        sys.exit(f"{features}: its ark has gone")


def merge_feats(data, out, **_):
    write(f"{out}/feats.1.ark")
    write(f"{data}/feats.scp", "u ark")
    if data.endswith("/train") and "--copies true" in Path(os.environ["FAKE_LOG"]).read_text():
        write(f"{data}_aug/feats.scp", "u ark")
        write(f"{data}_aug/utt2spk", "u s")


def relabel(train_data, config="", overlay="", **options):
    from wespk.data.labels import noise_folder
    from wespk.utils.config import load

    write(noise_folder(load(config, overlay, options.get("set", ""))["labels"], train_data) / "utt2spk", "u t")


def cluster_embeddings(out, **_):
    write(f"{out}/utt2spk", f"u {TEXT}")
    write(f"{out}/clusters.json")


def report_rounds(out, **_):
    write(out)


def train(exp, train_data, config="", overlay="", **options):
    from wespk.utils.config import load

    conf = load(config, overlay, options.get("set", ""))
    write(f"{exp}/config.yaml", yaml.safe_dump({**conf, "derived": {"train_data": train_data}}))
    write(f"{exp}/checkpoints/epoch_{conf['train']['num_epochs']:04d}.pt")


def average_checkpoints(exp, **_):
    write(f"{exp}/checkpoints/average.pt")


def extract_embeddings(out, **_):
    write(f"{out}/xvector.scp")
    write(f"{out}/xvector.ark")


def score_cosine(out, **_):
    write(out)


def score_bias(out, **_):
    write(out)
    write(out.removesuffix("llr") + "json")


def score_norm(out, **_):
    write(out)


def train_plda(out_dir, **_):
    for name in ("mean.vec", "plda", "backend.json"):
        write(f"{out_dir}/{name}")


def score_plda(out, **_):
    write(out)


def make_calibration_trials(out_dir, **_):
    for name in ("trials", "utt2spk", "cohort.scp"):
        write(f"{out_dir}/{name}")


def measure_quality(out_dir, embeddings, utt2dur="", feats="", **_):
    for name, source in (("duration", utt2dur), ("snr", feats), ("magnitude", embeddings), ("cohort", embeddings)):
        if source:
            write(f"{out_dir}/{name}")


def train_calibration(out, scores, trials, quality="", **_):
    need(scores, trials, quality)
    write(out)


def apply_calibration(out, model, scores, quality="", **_):
    need(model, scores, quality)
    write(out)


def make_report(out_dir, **_):
    write(f"{out_dir}/RESULTS.md")


def dealt(words):
    """The commands between the words of a submitter's that has share_of.sh deal them out, in the order of its jobs."""
    at = words.index(next(word for word in words if word.endswith("/share_of.sh")))
    number, commands = int(words[at + 2]), [[]]
    for word in words[at + 3 :]:
        if word == ":::":
            commands.append([])
        else:
            commands[-1].append(word)
    return [command for job in range(number) for command in commands[job::number]]


def main(words):
    if any(word.endswith("/share_of.sh") for word in words):
        for command in dealt(words):
            main(command[1:])
        return
    name = words[1].rpartition(".")[2] if words[0] == "-m" else Path(words[0]).stem
    log = Path(os.environ["FAKE_LOG"])
    with open(log, "a", encoding="utf-8") as file:
        print(*words, file=file)
    start = time.monotonic()
    while log.with_name(f"{log.name}.{name}.wait").exists() and time.monotonic() < start + 100:
        time.sleep(0.02)
    status = log.with_name(f"{log.name}.{name}.status")
    if status.exists():
        sys.exit(int(status.read_text()))
    if words[0] == "-m" and name in globals():
        flags = [word[2:].replace("-", "_") for word in words[2::2]]
        globals()[name](**dict(zip(flags, words[3::2], strict=True)))


if __name__ == "__main__":
    main(sys.argv[1:])
