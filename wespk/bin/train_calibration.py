"""Stage 6, for calibration: learn how scores and quality measures become log-likelihood ratios."""

from wespk.utils.cli import listed, main


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
    from wespk.scoring.calibration import doubts, train_files
    from wespk.utils.log import get_logger

    files, tables = listed(scores), listed(quality)
    model, counts, before, after = train_files(files, tables, trials, p_target, l2)
    model.save(out, {"scores": files, "quality": tables, "trials": trials})
    terms = "".join(f" {weight:+.4g} {name}" for name, weight in zip(model.names, model.weights))
    for text in doubts(model, counts, tables):
        get_logger().warning("%s: %s", out, text)
    print(f"{out}: llr = {model.offset:.4g}{terms}; {counts[0]} target and {counts[1]} nontarget trials, min-Cllr of "
          f"the first scores {before:.4f}, Cllr after {after:.4f} bits")  # fmt: skip


if __name__ == "__main__":
    main(train_calibration)
