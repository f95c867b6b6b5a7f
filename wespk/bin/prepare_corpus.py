"""Corpus folders -> data directories, trial lists, noise and impulse-response lists."""

from wespk.utils.cli import main


def prepare_corpus(
    corpus: str,
    out: str = "data",
    voxceleb1: str = "",
    voxceleb2: str = "",
    cnceleb1: str = "",
    cnceleb2: str = "",
    train_sets: str = "",
    lists: str = "",
    trials: str = "",
    musan: str = "",
    rirs: str = "",
    dev_speakers: int = 40,
    min_seconds: float = 0.0,
    seed: int = 42,
    jobs: int = 8,
    check: bool = False,
):
    """Find a corpus on disk and write OUT/{train,dev,eval}, OUT/musan and OUT/rirs, printing what was found.

    Args:
        corpus: name of the corpus: voxceleb or cnceleb
        out: folder to write to
        voxceleb1: VoxCeleb1's top folder
        voxceleb2: VoxCeleb2's top folder
        cnceleb1: CN-Celeb1's top folder, or its parent
        cnceleb2: CN-Celeb2's top folder, or its parent
        train_sets: training sets, comma-separated, of vox1_dev and vox2_dev; empty: one for each root given
        lists: folder with the trial lists veri_test*.txt and list_test_*.txt; empty: the roots themselves
        trials: lists to keep, comma-separated names or files; empty: all found that share no speaker with
            training; none: no evaluation set
        musan: MUSAN's top folder (noise, music, speech); empty: none
        rirs: top folder of the room impulse responses; empty: none
        dev_speakers: training speakers held out for OUT/dev and its trial list; 0: none
        min_seconds: join training utterances shorter than this with others of their speaker and genre until they last
            so long; OUT/train/utt2utts says which, and no audio is written; 0: as they are
        seed: seed of the held-out speakers and their trials
        jobs: threads that read file headers
        check: only look whether the options and the folders are in order, and write nothing
    """
    from wespk.corpora.musan import find_musan, write_musan
    from wespk.corpora.prepare import prepare
    from wespk.corpora.registry import find_corpus
    from wespk.corpora.rirs import find_rirs, write_rirs
    from wespk.utils.errors import InputError

    if not 0 <= min_seconds < float("inf"):
        raise InputError(f"--min-seconds {min_seconds}: give the seconds that an utterance shall last, or 0")
    given = {"voxceleb1": voxceleb1, "voxceleb2": voxceleb2, "cnceleb1": cnceleb1, "cnceleb2": cnceleb2,
             "train_sets": train_sets, "lists": lists, "trials": trials}  # fmt: skip
    noises = find_musan(musan) if musan else None
    responses = find_rirs(rirs) if rirs else None
    found = find_corpus(corpus, **{name: value for name, value in given.items() if value})
    if check:
        return
    for line in found.notes:
        print(line)
    report = prepare(found, out, dev_speakers, seed, jobs, min_seconds)
    report += write_musan(noises, f"{out}/musan", jobs) if noises else []
    report += write_rirs(responses, f"{out}/rirs", jobs) if responses else []
    print("\n".join(report))


if __name__ == "__main__":
    main(prepare_corpus)
