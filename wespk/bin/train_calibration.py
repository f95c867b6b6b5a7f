"""Stage 6, for calibration: learn how scores and quality measures become log-likelihood ratios."""

import sys

from wespk.utils.cli import main

FEW_TRIALS = 1000  # of targets or nontargets, below which weights of quality measures are not to be trusted


def train_calibration(scores: str, trials: str, out: str, quality: str = "", p_target: float = 0.05, l2: float = 0.0):
    """Fit a calibration, of one system or a fusion of several, to labelled trials: weighted logistic regression.

    Args:
        scores: score files of one trial list, comma-separated: one a system
        trials: that list, with labels
        out: JSON file to write
        quality: tables that measure_quality wrote for the list, comma-separated; empty: none
        p_target: prior probability of a target that the ratios should serve best
        l2: penalty on the squared weights (of features scaled to deviation 1), for trials that the scores part without
            error; 0: none
    """
    from wespk.scoring.calibration import train_files

    words = [[word for word in text.split(",") if word] for text in (scores, quality)]
    model, counts, before, after = train_files(words[0], words[1], trials, p_target, l2)
    model.save(out, {"scores": words[0], "quality": words[1], "trials": trials})
    terms = "".join(f" {weight:+.4g} {name}" for name, weight in zip(model.names, model.weights))
    if len(model.weights) == 1 and model.weights[0] < 0:
        print(f"WARNING: {out}: the weight of {model.names[0]} is negative: higher scores count as less likely targets; are "
              f"the labels of {trials} right, and are the scores no distances?", file=sys.stderr)
    if words[1] and min(counts) < FEW_TRIALS:
        print(f"WARNING: {out}: {counts[0]} target and {counts[1]} nontarget trials are too few to learn from measures of quality "
              f"as well ({len(model.weights)} weights); with fewer than {FEW_TRIALS} of a kind they do more harm than good, as a "
              "rule: leave --quality out, or make more trials", file=sys.stderr)  # fmt: skip
    print(f"{out}: llr = {model.offset:.4g}{terms}; {counts[0]} target and {counts[1]} nontarget trials, min-Cllr of "
          f"the first scores {before:.4f}, Cllr after {after:.4f} bits")  # fmt: skip


if __name__ == "__main__":
    main(train_calibration)
