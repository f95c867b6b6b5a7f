"""Make a small corpus of synthetic speakers in VoxCeleb1's layout, to run a recipe without data."""

from wespk.utils.cli import main


def make_synthetic(
    out: str,
    train_speakers: int = 120,
    test_speakers: int = 30,
    utterances: int = 8,
    sessions: int = 4,
    min_seconds: float = 2.0,
    max_seconds: float = 4.0,
    noises: int = 24,
    rirs: int = 24,
    seed: int = 42,
):
    """Make OUT/voxceleb1 (dev, test, veri_test.txt), OUT/musan and OUT/rirs, unless made before with the same options.

    Args:
        out: folder to make; it must not exist, unless this command made it with the same options
        train_speakers: speakers in OUT/voxceleb1/dev
        test_speakers: speakers in OUT/voxceleb1/test
        utterances: utterances of each speaker
        sessions: sessions of each speaker, each with its own channel, noise, pitch and pace
        min_seconds: shortest utterance, s
        max_seconds: longest utterance, s
        noises: noise files; half as many of music and of speech
        rirs: room impulse responses
        seed: same seed and options, same bytes
    """
    from wespk.corpora.synthetic import Sizes, make

    sizes = Sizes(train_speakers, test_speakers, utterances, sessions, min_seconds, max_seconds, noises, rirs)
    print("\n".join(make(out, sizes, seed)))


if __name__ == "__main__":
    main(make_synthetic)
