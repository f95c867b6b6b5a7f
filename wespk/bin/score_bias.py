"""Stage 5, for SphereFace2 and SphereSpeaker: log-likelihood ratios by the bias that training left."""

from wespk.utils.cli import main


def score_bias(trials: str, embeddings: str, checkpoint: str, out: str, enroll_embeddings: str = "", models: str = "",
               enroll_mean: str = "normalised"):  # fmt: skip
    """Score every trial by what the loss's own bias says: an uncalibrated natural-log likelihood ratio.

    z = r g(cosine) + b is the log-odds of a target that the loss trained, at the prior of the training; z less that
    prior's log-odds is written. No mean is subtracted from the embeddings, as none is in training. A file of the same
    name with .json in place of .llr is written beside, for compute_metrics --readings. Refused for losses without such a bias, and for
    SphereSpeaker with mining, which trains on other negatives and weights than those of all pairs.

    Args:
        trials: trial list, `enroll test [target|nontarget]` lines
        embeddings: xvector.scp that holds both sides (or the test side)
        checkpoint: checkpoint that the embeddings were made with, or its experiment's folder (the average, else the
            newest)
        out: score file to write, NAME.llr
        enroll_embeddings: xvector.scp of the enrolment side, when it has its own
        models: table `enrolment utterance utterance ...`, by which each enrolment of the trials is the mean of its
            utterances' length-normalised embeddings; empty: enrolments are utterances
        enroll_mean: of averaged enrolments: normalised (the mean as --models says) or plain (of the embeddings as they are,
            as published recipes take it)
    """
    from wespk.io.tables import read_trials
    from wespk.scoring.bias import write_llr
    from wespk.scoring.cosine import score_trials
    from wespk.training.supervised import build_head
    from wespk.training.trained_loss import load_loss
    from wespk.utils.errors import InputError

    loss, path, conf = load_loss(checkpoint)
    try:
        log_odds = loss.log_odds()
    except InputError as error:
        raise InputError(f"{path} was trained with loss.name={conf['loss']['name']}: {error}") from None
    about = {"checkpoint": str(path), **loss.margin_now()}
    if conf["train"]["init_head"] == "none":
        about["first_bias"] = build_head(conf, loss.embed_dim, loss.num_classes).log_odds().bias
    pairs = read_trials(trials)
    cosines = score_trials(pairs.enroll, pairs.test, embeddings, enroll_embeddings, "none", models, enroll_mean)
    write_llr(out, pairs.enroll, pairs.test, cosines, log_odds, about)
    c0 = log_odds.threshold(log_odds.prior)
    says = "no cosine is accepted" if c0 is None else f"accepted from cosine {c0:.4f} on"
    print(f"{out}: {len(cosines)} trials scored; at the training prior of {log_odds.prior:.3g} {says}")


if __name__ == "__main__":
    main(score_bias)
