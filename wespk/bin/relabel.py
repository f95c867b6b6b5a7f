"""Stage 3, before training: wrong speaker labels, when the section `labels` asks for them."""

from wespk.utils.cli import main


def relabel(train_data: str, originals: str = "", config: str = "", overlay: str = "", set: str = ""):
    """Give a seeded share of the training utterances another speaker's label, in a table of its own.

    Writes TRAIN_DATA/label_noise/NAME/utt2spk, the labels that training with this configuration reads, and beside it
    `relabelled`: lines `utterance true given`. NAME is made from the section `labels`, e.g. uniform-20-seed1. Nothing is
    written where both are as they should be. TRAIN_DATA/utt2spk keeps the true speakers.

    Args:
        train_data: data folder to train on, with utt2spk
        originals: data folder of the originals, when train_data also holds copies of them made in stage 2; none:
            train_data holds no copies
        config: YAML laid over wespk/conf/train.yaml
        overlay: YAML laid over that; several: separated by commas
        set: further options, "section.key=value section.key=value"
    """
    from wespk.corpora.label_noise import write_labels
    from wespk.utils import config as configuration

    conf = configuration.load(config, overlay, set)
    print(write_labels(conf["labels"], train_data, originals or train_data))


if __name__ == "__main__":
    main(relabel)
