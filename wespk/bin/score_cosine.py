"""Stage 5: cosine scores of a trial list."""

from wespk.utils.cli import main


def score_cosine(trials: str, embeddings: str, mean_embeddings: str, out: str, enroll_embeddings: str = "",
                 models: str = "", enroll_mean: str = "normalised"):  # fmt: skip
    """Score every trial by the cosine of its two embeddings, after subtracting the mean of a stated set.

    Args:
        trials: trial list, `enroll test [target|nontarget]` lines
        embeddings: xvector.scp that holds both sides (or the test side)
        mean_embeddings: xvector.scp of the set whose mean is subtracted, as a rule the training set's; none: subtract
            nothing
        out: score file to write, `enroll test score` lines in the order of the trials
        enroll_embeddings: xvector.scp of the enrolment side, when it has its own
        models: table `enrolment utterance utterance ...`, by which each enrolment of the trials is the mean of its
            utterances' centred, length-normalised embeddings; empty: enrolments are utterances
        enroll_mean: of averaged enrolments: normalised (the mean as --models says) or plain (of the embeddings as they are,
            as published recipes take it)
    """
    from wespk.io.tables import read_trials, write_scores
    from wespk.scoring.cosine import score_trials

    pairs = read_trials(trials)
    scores = score_trials(pairs.enroll, pairs.test, embeddings, enroll_embeddings, mean_embeddings, models, enroll_mean)
    write_scores(out, pairs.enroll, pairs.test, scores)
    print(f"{out}: {len(scores)} trials scored")


if __name__ == "__main__":
    main(score_cosine)
