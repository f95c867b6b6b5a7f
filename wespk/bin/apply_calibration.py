"""Stage 6, for calibration: turn scores and quality measures into log-likelihood ratios."""

from wespk.utils.cli import listed, main


def apply_calibration(model: str, scores: str, out: str, quality: str = ""):
    """Write calibrated scores: natural-log likelihood ratios.

    Args:
        model: JSON file that train_calibration wrote
        scores: score files of one trial list, comma-separated: of the same systems in the same order as in training
        out: score file to write, NAME.llr, by which compute_metrics knows such files
        quality: tables that measure_quality wrote for the list, comma-separated, of the same measures in the same order
    """
    from wespk.io.tables import write_scores
    from wespk.scoring.calibration import calibrate_files
    from wespk.utils.errors import InputError

    if not out.endswith(".llr"):
        raise InputError(f"--out {out}: files of log-likelihood ratios must end in .llr, by which they are known later")
    enroll, test, llr = calibrate_files(model, listed(scores), listed(quality))
    write_scores(out, enroll, test, llr)
    print(f"{out}: {len(llr)} trials calibrated")


if __name__ == "__main__":
    main(apply_calibration)
