"""Stage 2, after the jobs: join what compute_fbank wrote into the data folder."""

from wespk.utils.cli import main


def merge_feats(data: str, out: str, num_jobs: int = 1):
    """Check that every job ended and every utterance is there once, and write the data folder's tables.

    Writes DATA/feats.scp, DATA/utt2num_frames, DATA/features.json (what they were made with), with VAD DATA/vad.scp, and
    if the jobs made copies the same and utt2spk, spk2utt in DATA_aug: originals and copies together.

    Args:
        data: data folder
        out: folder that the jobs wrote to
        num_jobs: how many jobs there were
    """
    from wespk.corpora.merge_features import merge_jobs

    for line in merge_jobs(data, out, num_jobs):
        print(line)


if __name__ == "__main__":
    main(merge_feats)
