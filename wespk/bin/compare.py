"""Compare the speakers of two audio files with a trained model."""

from wespk.utils.cli import main


def compare(model: str, a: str, b: str, mean: str = "", device: str = "cpu"):
    """Print the cosine similarity, -1 to 1, of the speakers of two audio files; larger is more alike.

    It is the raw cosine unless --mean is given, and no probability: which value means "same speaker" depends on the
    model. Audio at another sample rate than the model's is resampled.

    Args:
        model: experiment folder (its averaged checkpoint, else its newest) or checkpoint file
        a: first audio file
        b: second audio file
        mean: subtract this from both embeddings: the xvector.scp of the training set (its mean is taken) or a .npy file
        device: cpu, cuda, cuda:N or auto
    """
    from wespk.embedding.api import load_model

    print(f"{load_model(model, device, mean or None).similarity(a, b):.9g}")


if __name__ == "__main__":
    main(compare)
