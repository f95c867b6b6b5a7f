"""Check data directories by Kaldi's rules, and what they point to."""

from wespk.utils.cli import main
from wespk.utils.errors import InputError


def validate_data(data: str, sample_rate: int = 16000, check_audio: bool = True, train: str = "", jobs: int = 4,
                  limit: int = 100, check_features: bool = True):
    """Check the tables, features, trials and recordings of data directories; exit status 1 if anything is wrong.

    Prints a line for each defect: file and line, the item, what is wrong and the way out.

    Args:
        data: data directories, separated by commas
        sample_rate: Hz that every recording must have
        check_audio: decode every recording and look for damage, NaN, silence and copies
        train: training data directory whose speakers must not occur in the others; none: not checked
        jobs: threads that decode recordings
        limit: defects printed for each directory; the rest are counted
        check_features: look at feats.scp, utt2num_frames and vad.scp (written by stage 2), and into their arks
    """
    from wespk.io.data_dir import validate

    folders = [name.strip() for name in data.split(",") if name.strip()]
    if not folders:
        raise InputError(f"--data '{data}' names no directory")
    total = 0
    for folder in folders:
        defects = validate(folder, sample_rate, check_audio, train or None, jobs, check_features)
        for defect in defects[:limit]:
            print(defect)
        if len(defects) > limit:
            print(f"{folder}: {len(defects) - limit} more defects (--limit shows more)")
        print(f"{folder}: {len(defects)} defects" if defects else f"{folder}: valid")
        total += len(defects)
    if total:
        raise InputError(f"{total} defects in {data}; each is named above with the way out")


if __name__ == "__main__":
    main(validate_data)
