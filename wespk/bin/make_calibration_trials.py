"""Stage 6, for calibration: trials among some of the training speakers."""

from wespk.utils.cli import main


def make_calibration_trials(utt2spk: str, embeddings: str, out_dir: str, utt2sess: str = "", speakers: int = 0,
                            max_trials: int = 20000, seed: int = 42):  # fmt: skip
    """Choose training speakers for calibration and make trials of theirs; the rest is left to be the cohort.

    Half of the trials are targets, across sessions where known; no utterance meets itself and no pair comes twice. The
    folder gets trials, utt2spk (of the chosen speakers) and cohort.scp (embeddings of all the others).

    Args:
        utt2spk: speakers of the training set
        embeddings: xvector.scp of the training set
        out_dir: folder to write
        utt2sess: sessions of the training set; empty: every utterance counts as one
        speakers: how many speakers to choose; 0: one in five, at most 1000
        max_trials: how many trials to make at most
        seed: decides the speakers and the trials
    """
    from pathlib import Path

    from wespk.corpora.calibration_trials import calibration_set
    from wespk.io.ark import read_scp
    from wespk.io.tables import Trials, write_table, write_trials
    from wespk.utils.errors import InputError

    table = read_scp(embeddings)
    chosen, others, trials = calibration_set(utt2spk, utt2sess, speakers, seed, max_trials)
    lost = next((key for key in [*chosen, *others] if key not in table), None)
    if lost is not None:
        raise InputError(f"{embeddings}: no embedding of '{lost}' of {utt2spk}; give both of one set")
    folder = Path(out_dir)
    write_table(folder / "cohort.scp", {key: spec for key, spec in table.items() if key in others})
    write_table(folder / "utt2spk", chosen)
    write_trials(folder / "trials", Trials(*trials))
    print(f"{folder}/trials: {len(trials[2])} trials of {len(set(chosen.values()))} training speakers; a cohort of "
          f"{len(others)} utterances of other speakers")  # fmt: skip


if __name__ == "__main__":
    main(make_calibration_trials)
