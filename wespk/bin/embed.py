"""Embed audio files with a trained model."""

from wespk.utils.cli import main


def embed(model: str, out: str, wav: str = "", scp: str = "", device: str = "cpu", max_frames: int = 0):
    """Embed one audio file, or a table of them, with a trained model.

    Audio at another sample rate than the model's is resampled. The embeddings are neither length-normalised nor
    mean-subtracted.

    Args:
        model: experiment folder (its averaged checkpoint, else its newest) or checkpoint file
        out: X.npy for --wav: one float32 vector; X.scp: Kaldi table X.scp and X.ark, keyed by --scp's ids or the
            file's name
        wav: audio file
        scp: Kaldi wav.scp: "id path" or "id command |" on each line
        device: cpu, cuda, cuda:N or auto
        max_frames: frames computed at once, padding included; 0: suits the device
    """
    from pathlib import Path

    from wespk.utils.errors import InputError

    if bool(wav) == bool(scp):
        raise InputError("give either --wav FILE or --scp TABLE")
    kind = Path(out).suffix
    if kind not in (".npy", ".scp"):
        raise InputError(f"--out takes a name ending in .npy or .scp, not '{out}'")
    if scp and kind == ".npy":
        raise InputError("--out X.npy holds one embedding, without an id; give --out X.scp together with --scp")

    from wespk.embedding.api import load_model
    from wespk.embedding.files import write_npy, write_vectors
    from wespk.io.audio import read_audio
    from wespk.io.tables import read_table

    speaker = load_model(model, device)
    if scp:
        table = read_table(scp)
        names = [f"{key} ({spec})" for key, spec in table.items()]
        found = speaker.embed_many(map(read_audio, table.values()), names, max_frames)
        write_vectors(out, dict(zip(table, found, strict=True)))
    else:
        found = speaker.embed(wav)[None]
        if kind == ".npy":
            write_npy(out, found[0])
        else:
            write_vectors(out, {Path(wav).stem: found[0]})
    print(f"{len(found)} embedding(s) of {speaker.embed_dim} values in {out}")


if __name__ == "__main__":
    main(embed)
