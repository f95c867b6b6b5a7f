"""Stage 6: normalise scores by a cohort."""

from wespk.utils.cli import main


def score_norm(scores: str, embeddings: str, mean_embeddings: str, cohort_scp: str, out: str, method: str = "asnorm",
               top_n: int = 300, cohort_utt2spk: str = "", enroll_embeddings: str = "", utt2spk: str = "",
               models: str = "", other_corpus: bool = False, enroll_mean: str = "normalised"):  # fmt: skip
    """Normalise cosine scores: z-norm, t-norm, s-norm, or s-norm by each side's nearest cohort members (as-norm).

    Standard deviations divide by N. A cohort that shares a speaker with the trials is refused, as told by their names.

    Args:
        scores: score file, `enroll test score` lines
        embeddings: xvector.scp that holds both sides (or the test side), as for score_cosine
        mean_embeddings: xvector.scp of the set whose mean is subtracted, as for score_cosine; none: subtract nothing
        cohort_scp: xvector.scp of the cohort, as a rule the training set's
        out: score file to write
        method: asnorm, snorm, znorm (enrolment side) or tnorm (test side)
        top_n: how many of the highest cohort scores asnorm keeps on each side
        cohort_utt2spk: speakers of the cohort's utterances: one mean embedding a speaker; empty: every utterance counts
        enroll_embeddings: xvector.scp of the enrolment side, when it has its own
        utt2spk: speakers of the trials' ids, to check the cohort against; empty: taken from the ids (speaker-...)
        other_corpus: cohort and trials are of different corpora, so that equal names do not mean equal speakers; they are
            not compared
        models: table of the enrolments that are averages over several utterances, as for score_cosine
        enroll_mean: the kind of these averages, normalised or plain, as for score_cosine
    """
    from wespk.io.tables import read_scores, read_table, write_scores
    from wespk.scoring.cohort import Cohort
    from wespk.scoring.norm import METHODS, check_top_n, norm_trials
    from wespk.scoring.vectors import Sides, read_mean, read_models
    from wespk.utils.errors import InputError
    from wespk.utils.log import get_logger
    from wespk.utils.registry import nearest

    if method not in METHODS:
        raise InputError(f"--method '{method}' is unknown{nearest(method, METHODS)}; known: {', '.join(METHODS)}")
    check_top_n(top_n)
    enroll, test, values = read_scores(scores)
    mean = read_mean(mean_embeddings)
    sides = Sides(enroll, test, embeddings, enroll_embeddings, mean, models, enroll_mean)
    cohort = Cohort(cohort_scp, mean, cohort_utt2spk)
    if not other_corpus:
        heard = [key for group in read_models(sides.enroll_keys, models) for key in group]
        cohort.check_apart([*heard, *sides.test_keys], read_table(utt2spk) if utt2spk else None)
    elif utt2spk:
        raise InputError("--utt2spk is read to compare the names of cohort and trials, which --other-corpus true leaves "
                         "out: give one of them")  # fmt: skip
    size = len(cohort.vectors)
    if method == "asnorm" and top_n > size:
        get_logger().warning("--top-n %d is above the cohort's size: all %d are used", top_n, size)
    write_scores(out, enroll, test, norm_trials(method, values, sides, cohort.vectors, top_n))
    kept = f", top {min(top_n, size)}" if method == "asnorm" else ""
    level = "speakers" if cohort_utt2spk else "utterances"
    print(f"{out}: {len(values)} trials, {method} with a cohort of {size} {level}{kept}")


if __name__ == "__main__":
    main(score_norm)
