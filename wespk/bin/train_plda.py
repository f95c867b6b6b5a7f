"""Before stage 5 scores by PLDA: train the backend."""

from wespk.utils.cli import main


def train_plda(embeddings: str, utt2spk: str, out_dir: str, lda_dim: int = 0, whiten: bool = False,
               length_norm: bool = True, iterations: int = 10, smoothing: float = 0.0, adapt_embeddings: str = "",
               adaptation: str = "kaldi", within_scale: float = 0.3, between_scale: float = 0.7,
               mean_diff_scale: float = 1.0, coral_ridge: float = 0.01, text: bool = False,
               check: bool = False):  # fmt: skip
    """Train two-covariance PLDA, and the preparation before it, on the embeddings of labelled speakers.

    Embeddings are centred, reduced by LDA and whitened when asked, scaled to one length, and modelled by EM. The folder
    holds mean.vec, transform.mat and plda in Kaldi's own form, and backend.json about them.

    Args:
        embeddings: xvector.scp of the training set
        utt2spk: speakers of its utterances
        out_dir: folder to write
        lda_dim: dimensions that LDA keeps, below the number of speakers; 0: no LDA, of which you are warned where there are
            no more speakers than dimensions
        whiten: make the covariance of all embeddings the identity, after LDA if there is any
        length_norm: scale every embedding to one length, before PLDA
        iterations: EM iterations
        smoothing: this share of the variance between speakers is added to that within
        adapt_embeddings: xvector.scp of unlabelled embeddings of the domain to be scored; their mean is then subtracted
            in scoring, in place of the training set's; empty: no adaptation
        adaptation: how to adapt: kaldi (the model's variances grow where they exceed the expected) or coral (training
            embeddings are first given the covariance of adapt_embeddings)
        within_scale: kaldi: share of the excess variance that is added within speakers
        between_scale: kaldi: share of it that is added between speakers
        mean_diff_scale: kaldi: how much of the shift of the mean counts as variance
        coral_ridge: coral: share of its mean variance that is added to each covariance's diagonal
        text: write Kaldi's files as text
        check: only look whether the options are in order; no file is read or written
    """
    from wespk.scoring.backend import Options, check_options, doubts, train
    from wespk.utils.log import get_logger

    options = Options(lda_dim, whiten, length_norm, iterations, smoothing, adaptation, within_scale, between_scale,
                      mean_diff_scale, coral_ridge)  # fmt: skip
    if check:
        check_options(options, adapt_embeddings)
        return
    backend, about = train(embeddings, utt2spk, options, adapt_embeddings)
    backend.save(out_dir, about, text)
    for said in doubts(backend.plda.mean.size, about["speakers"]):
        get_logger().warning("%s: %s", out_dir, said)
    print(f"{out_dir}: PLDA of {backend.plda.mean.size} dimensions from {about['utterances']} embeddings of "
          f"{about['speakers']} speakers")  # fmt: skip


if __name__ == "__main__":
    main(train_plda)
