"""Stage 3: train an experiment; the same command resumes it."""

from wespk.utils.cli import main

REQUEUE_STATUS = 85


def train(exp: str, train_data: str, config: str = "", overlay: str = "", set: str = "", dev_data: str = "",
          musan: str = "", rirs: str = "", device: str = "auto"):
    """Train a network, or go on from its newest checkpoint.

    Exit status 0: the last epoch is done; 85: a signal stopped it after a checkpoint, run the same command again;
    1: failed. For several processes put it behind torchrun.

    Args:
        exp: experiment folder; made if it is not there
        train_data: data folder with feats.scp (or wav.scp, for data.input waves) and utt2spk
        config: YAML laid over wespk/conf/train.yaml
        overlay: YAML laid over that; several: separated by commas
        set: further options, "section.key=value section.key=value"
        dev_data: data folder of held-out speakers with trials/dev; empty: no validation
        musan: folder with noise.scp, music.scp, speech.scp (data.input waves)
        rirs: folder with rirs.scp (data.input waves)
        device: auto, cpu or cuda
    """
    from wespk.utils import config as configuration

    conf = configuration.load(config, overlay, set)

    from wespk.training.run import train as run
    from wespk.utils import dist

    done = run(conf, exp, train_data, dev_data or None, device, musan or None, rirs or None)
    dist.leave(0 if done else REQUEUE_STATUS)


if __name__ == "__main__":
    main(train)
