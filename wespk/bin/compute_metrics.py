"""Stage 7, first half: error rates and costs of score files."""

from wespk.utils.cli import listed, main


def compute_metrics(scores: str, trials: str, out: str, names: str = "", utt2spk: str = "",
                    p_targets: str = "0.01,0.05", bootstrap: int = 1000, seed: int = 42, llr: bool = False,
                    readings: str = "", categories: str = "", models: str = "",
                    enroll_mean: str = "normalised"):  # fmt: skip
    """EER, minDCF and min-Cllr of score files, and actDCF and Cllr of those that hold log-likelihood ratios.

    95 % confidence intervals come from resampling the speakers (and, for comparison, the trials). Systems scored on one
    trial list are compared with the first of them, in pairs, on the same resamples.

    Args:
        scores: score files, comma-separated
        trials: the labelled trial list of each score file, comma-separated; the same one may come several times
        out: JSON file to write
        names: a name for each score file's system, comma-separated; empty: the score file's name after the trial list's
        utt2spk: speakers of the trials' ids, for the intervals; empty: ids that target trials tie together are one
            speaker
        p_targets: prior probabilities of a target, for minDCF and actDCF, comma-separated
        bootstrap: number of resamples; 0: no intervals and no comparisons
        seed: seed of the resampling
        llr: all scores are natural-log likelihood ratios; false: those in files named *.llr are
        readings: JSON files that score_bias wrote beside some of the score files, comma-separated; their thresholds are
            reported as cosines
        categories: tables utt2CATEGORY of the trials' ids, such as utt2genre, comma-separated: the EER of every pair of
            categories of enrolment and test is measured too, as far as it has trials enough
        models: folder with tables named as the trial lists that say of which utterances an enrolment is the average, as
            stage 1 leaves them: speakers and categories of enrolments that other tables do not have are those of its
            utterances
        enroll_mean: the kind of these averages that was scored, normalised or plain: the report says so
    """
    import json

    from wespk.io.atomic import write_text
    from wespk.metrics.report import result_rows
    from wespk.scoring.evaluation import evaluate_files
    from wespk.utils.errors import InputError

    try:
        priors = [float(word) for word in listed(p_targets)]
    except ValueError:
        raise InputError(f"--p-targets takes numbers separated by commas, not '{p_targets}'") from None
    if not priors or bootstrap < 0:
        raise InputError("--p-targets needs at least one number, and --bootstrap must not be negative")
    results = evaluate_files(listed(scores), listed(trials), listed(names), utt2spk, priors, bootstrap, seed, llr,
                             listed(readings), listed(categories), models, enroll_mean)
    write_text(out, json.dumps(results, indent=1) + "\n")
    header, rows = result_rows(results)
    for row in rows:
        print("  ".join([*row[:2], *(f"{title} {cell}" for title, cell in zip(header[2:], row[2:]) if cell != "-")]))


if __name__ == "__main__":
    main(compute_metrics)
