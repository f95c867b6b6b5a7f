"""After stage 6: fuse several experiments, or several kinds of scores, and report on the fusion beside them."""

from wespk.utils.cli import listed, main


def fuse(exps: str, data: str, out: str, kinds: str = "cosine.asnorm", p_target: float = 0.05, l2: float = 0.0,
         trials: str = "", bootstrap: int = 1000, enroll_mean: str = "normalised", quality: str = ""):  # fmt: skip
    """Fuse calibrated systems by logistic regression into log-likelihood ratios, measure them, and write the report.

    The fusion is learnt from the trials that calibrated the systems (run.sh --calibrate dev or train, the same for all),
    not from those that are scored. Writes OUT/fusion.json, OUT/scores/LIST.fusion.llr and OUT/results, where the systems'
    own calibrated scores stand beside it.

    Args:
        exps: experiment folders after stage 6 with --calibrate, comma-separated; with --eval-data EXP/on/NAME
        data: data folder that they are tested on
        out: folder to write
        kinds: scores to fuse, comma-separated: cosine, cosine.asnorm (or another normalisation), plda; of each experiment
        p_target: prior probability of a target that the ratios should serve best
        l2: penalty on the squared weights, for trials that the systems part without error; 0: none
        trials: lists to score, comma-separated; empty: all of DATA/eval/trials
        bootstrap: number of resamples; 0: no intervals and no comparisons
        enroll_mean: how the systems averaged enrolments of several utterances, normalised or plain: the report says so
        quality: measures to be taken into account, comma-separated, out of duration, magnitude, cohort and snr: those that
            stage 6 measured for the first experiment (run.sh --quality); empty: none
    """
    import json
    from pathlib import Path

    from wespk.bin.make_report import make_report
    from wespk.io.atomic import write_text
    from wespk.scoring import fusion
    from wespk.scoring.evaluation import evaluate_files
    from wespk.scoring.vectors import check_enroll_mean
    from wespk.utils.errors import InputError
    from wespk.utils.log import get_logger

    evaluation, systems = Path(data) / "eval", fusion.systems_of(listed(exps), listed(kinds))
    lists = listed(trials) or sorted(path.name for path in (evaluation / "trials").glob("[!.]*") if path.is_file())
    if not lists:
        raise InputError(f"{evaluation}/trials: there are no trial lists; run stage 1, or give the data folder with --data")
    models = str(evaluation / "enroll_maps") if (evaluation / "enroll_maps").is_dir() else ""
    check_enroll_mean(enroll_mean, models)
    fusion.check(systems, lists, out, enroll_mean)
    _, said, doubts = fusion.fuse(systems, lists, out, p_target, l2, listed(quality))
    for text in doubts:
        get_logger().warning("%s/%s.json: %s", out, fusion.NAME, text)
    print(said)
    scores = [path for name in lists for path in (fusion.fused(out, name), *(f"{s.scores(name)}.llr" for s in systems))]
    keys = [str(evaluation / "trials" / name) for name in lists for _ in range(len(systems) + 1)]
    genres = [str(path) for path in (evaluation / "utt2genre",) if path.is_file()]
    results = evaluate_files(scores, keys, [fusion.NAME, *(s.name for s in systems)] * len(lists),
                             str(evaluation / "utt2spk"), num_resamples=bootstrap, categories=genres, models=models,
                             enroll_mean=enroll_mean)  # fmt: skip
    write_text(Path(out) / "results" / "metrics.json", json.dumps(results, indent=1) + "\n")
    about = (f"Fusion of {', '.join(system.name for system in systems)}, learnt from the trials that calibrated them"
             f"{f', with quality measures ({quality})' * bool(quality)}. Beside it stand their own calibrated scores, which may "
             "have been learnt with other measures.")  # fmt: skip
    make_report(f"{out}/results/metrics.json", f"{out}/results", about=about)


if __name__ == "__main__":
    main(fuse)
