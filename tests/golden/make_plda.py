"""Make kaldi_plda.json from a folder of Kaldi's own files: python make_plda.py GOLDEN_KALDI (see README.md)."""

import base64
import json
import sys
from pathlib import Path

import numpy as np

NUM_SPEAKERS = 6


def vectors(path):
    """{key: list of floats} of a text ark of vectors."""
    return {line.split()[0]: [float(word) for word in line.split()[2:-1]] for line in path.read_text().splitlines()}


def main(folder):
    """Models whole, scores of the trials among the first speakers, and what adaptation is given, as two moments."""
    enrolled = dict(list(vectors(folder / "enrol_mean.txt").items())[:NUM_SPEAKERS])
    counts = dict(line.split() for line in (folder / "enrol_num_utts.txt").read_text().splitlines())
    scores = {name: [line.split() for line in (folder / f"plda_scores_{name}.txt").read_text().splitlines()]
              for name in ("raw", "lennorm", "adapted")}  # fmt: skip
    kept = [i for i, pair in enumerate(scores["raw"]) if {pair[0], pair[1].split("-")[0]} <= enrolled.keys()]
    used = {scores["raw"][i][1] for i in kept}
    adapt = np.array(list(vectors(folder / "adapt_vectors.txt").values()))
    golden = {
        "enroll": enrolled,
        "counts": {key: int(counts[key]) for key in enrolled},
        "test": {key: value for key, value in vectors(folder / "test_vectors.txt").items() if key in used},
        "trials": [scores["raw"][i][:2] for i in kept],
        "scores": {name: [float(lines[i][2]) for i in kept] for name, lines in scores.items()},
        "adapt_mean": adapt.mean(axis=0).tolist(),
        "adapt_covariance": np.cov(adapt.T, bias=True).tolist(),
        "plda_text": (folder / "plda.txt").read_text(),
    }
    for name in ("plda_binary", "plda_adapted"):
        golden[name] = base64.b64encode((folder / name).read_bytes()).decode()
    Path(__file__).with_name("kaldi_plda.json").write_text(json.dumps(golden) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
