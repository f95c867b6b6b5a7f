"""Stage 8 of recipes without labels, at its end: the rounds of pseudo-labels side by side."""

from wespk.utils.cli import main


def report_rounds(experiments: str, out: str):
    """Write a table of the clusters and the error rates of each round of pseudo-labels.

    Args:
        experiments: folders of the experiment that the rounds began with and of each round's, in order,
            comma-separated; one without results/metrics.json (stage 7) is left out of the error rates
        out: Markdown file to write
    """
    import json
    from pathlib import Path

    from wespk.io.atomic import write_text
    from wespk.metrics.rounds import rounds_markdown
    from wespk.utils.errors import InputError

    def contents(path):
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None

    folders = [Path(name) for name in experiments.split(",")]
    missing = next((folder for folder in folders if not folder.is_dir()), None)
    if missing is not None:
        raise InputError(f"--experiments: no such folder: {missing}")
    rounds = [{"name": folder.name, "results": contents(folder / "results" / "metrics.json"),
               "clusters": contents(folder / "pseudo_labels" / "clusters.json")} for folder in folders]  # fmt: skip
    write_text(Path(out), rounds_markdown(rounds))
    print(f"{out}: {len(folders)} experiments")


if __name__ == "__main__":
    main(report_rounds)
