"""Stage 6, for calibration: quality measures of the utterances and enrolments of a trial list."""

from wespk.utils.cli import main


def measure_quality(trials: str, embeddings: str, mean_embeddings: str, cohort_scp: str, out_dir: str,
                    cohort_utt2spk: str = "", top_n: int = 300, utt2dur: str = "", feats: str = "",
                    models: str = "", enroll_mean: str = "normalised"):  # fmt: skip
    """Measure what may tell good trials from bad ones: a table `id value` for each measure, for train_calibration.

    magnitude: log length of the embedding; cohort: mean of its highest cosines with the cohort; duration: log seconds;
    snr: dB between loud and quiet frames. An enrolment of several utterances: durations are added, the others averaged.

    Args:
        trials: trial list, `enroll test [target|nontarget]` lines
        embeddings: xvector.scp that holds both sides
        mean_embeddings: xvector.scp of the set whose mean is subtracted, as for score_cosine; none: subtract nothing
        cohort_scp: xvector.scp of the cohort
        out_dir: folder to write
        cohort_utt2spk: speakers of the cohort's utterances: one mean embedding a speaker; empty: every utterance counts
        top_n: how many of the highest cohort scores count
        utt2dur: seconds of the utterances; empty: duration is not measured
        feats: feats.scp of the utterances, log-mel; empty: snr is not measured
        models: table of the enrolments that are averages over several utterances, as for score_cosine
        enroll_mean: the kind of these averages, normalised or plain, as for score_cosine
    """
    from wespk.io.tables import read_trials
    from wespk.scoring.cohort import Cohort
    from wespk.scoring.quality import measure, write_measures
    from wespk.scoring.vectors import Sides, read_mean

    pairs, mean = read_trials(trials), read_mean(mean_embeddings)
    sides = Sides(pairs.enroll, pairs.test, embeddings, mean=mean, models=models, enroll_mean=enroll_mean)
    cohort = Cohort(cohort_scp, mean, cohort_utt2spk)
    found = measure(sides, models, embeddings, cohort.vectors, top_n, utt2dur, feats)
    write_measures(out_dir, found)
    print(f"{out_dir}: {', '.join(sorted(found))} of {len(found['magnitude'])} utterances and enrolments")


if __name__ == "__main__":
    main(measure_quality)
