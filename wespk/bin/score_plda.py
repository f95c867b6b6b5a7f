"""Stage 5: PLDA scores of a trial list."""

from wespk.utils.cli import main


def score_plda(trials: str, embeddings: str, backend: str, out: str, enroll_embeddings: str = "", models: str = "",
               length_norm: bool = True, enroll_mean: str = "normalised"):  # fmt: skip
    """Score every trial by PLDA: a natural-log likelihood ratio, as far as the model holds.

    Args:
        trials: trial list, `enroll test [target|nontarget]` lines
        embeddings: xvector.scp that holds both sides (or the test side)
        backend: folder that train_plda wrote
        out: score file to write, `enroll test score` lines in the order of the trials
        enroll_embeddings: xvector.scp of the enrolment side, when it has its own
        models: table `enrolment utterance utterance ...`, by which each enrolment of the trials is the mean of its
            utterances' prepared embeddings, and counts as so many utterances; empty: enrolments are utterances
        length_norm: scale what the model projects to the length that it expects (Kaldi's --normalize-length)
        enroll_mean: of averaged enrolments: normalised (the mean as --models says) or plain (of the embeddings as they are,
            prepared afterwards)
    """
    from wespk.io.tables import read_trials, write_scores
    from wespk.scoring.backend import load, score_trials

    pairs = read_trials(trials)
    scores = score_trials(load(backend), pairs.enroll, pairs.test, embeddings, enroll_embeddings, models, length_norm,
                          enroll_mean)  # fmt: skip
    write_scores(out, pairs.enroll, pairs.test, scores)
    print(f"{out}: {len(scores)} trials scored")


if __name__ == "__main__":
    main(score_plda)
