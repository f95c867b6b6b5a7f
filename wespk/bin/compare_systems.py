"""Compare the systems of a grid of experiments (tools/run_grid.py calls this at its end)."""

from wespk.utils.cli import listed, main


def compare_systems(grid: str, root: str, data: str, out: str = "", without: str = "", bootstrap: int = 0,
                    seed: int = 42, p_targets: str = "0.01,0.05", evaluate: str = "", systems: str = "",
                    baseline: str = ""):  # fmt: skip
    """Means over seeds, 95 % intervals and paired tests against a baseline, from the score files of a grid.

    Writes COMPARISON.md, comparison.json, comparison.tsv, for a grid with a second axis charts of the EER, and for one
    that asks for curves a picture of them. Of a grid that ends at stage 3, the error rates of the held-out training
    speakers are compared instead. An experiment counts as whole if its last stage is marked done, none is at work, and
    each stage has read what the last run of the stage before it wrote, by their marks; whether files have changed since
    is for tools/run_grid.py to check.

    Args:
        grid: YAML file that defines the grid
        root: folder with its experiments, SYSTEM[/LEVEL]/seedN
        data: data folder that they were trained and tested with
        out: folder to write to; empty: root
        without: experiments to leave out (folders relative to root), comma-separated
        bootstrap: number of resamples; 0: 1000, or 50 for each system if that is more
        seed: seed of the resampling
        p_targets: prior probabilities of a target, for minDCF, comma-separated
        evaluate: further data folders that the experiments were evaluated on in EXP/on/NAME, NAME=FOLDER words,
            comma-separated; their lists are called NAME/LIST
        systems: of the grid's systems these alone, comma-separated; the p values are corrected for their number; needs --out
        baseline: what they are compared with, in place of the grid's; needs --out
    """
    import json
    from pathlib import Path

    from wespk.io.atomic import open_atomic, write_text
    from wespk.metrics.comparison_report import CURVES, charts, markdown, tsv
    from wespk.scoring.comparison import compare_experiments
    from wespk.utils.errors import InputError
    from wespk.utils.grid import part_of, read_grid

    try:
        priors = [float(word) for word in listed(p_targets)]
    except ValueError:
        raise InputError(f"--p-targets takes numbers separated by commas, not '{p_targets}'") from None
    if bootstrap < 0:
        raise InputError("--bootstrap must be 0 or more")
    left_out = listed(without)
    elsewhere = dict(word.partition("=")[::2] for word in listed(evaluate))
    if not all(elsewhere.values()):
        raise InputError(f"--evaluate takes NAME=FOLDER words separated by commas, not '{evaluate}'")
    chosen = part_of(read_grid(grid), listed(systems), baseline)
    if (systems or baseline) and not out:
        raise InputError(f"--systems and --baseline make another comparison than the grid's, which {root} is for: give --out")
    found = compare_experiments(chosen, root, data, left_out, priors, bootstrap or None, seed, elsewhere)
    folder, text = Path(out or root), markdown(found)
    write_text(folder / "COMPARISON.md", text)
    write_text(folder / "comparison.json", json.dumps(found, indent=1) + "\n")
    write_text(folder / "comparison.tsv", tsv(found))
    pictures = charts(found)
    for path in [*folder.glob("eer-*.png"), *folder.glob(CURVES)]:
        if path.name not in pictures:  # of a list or a kind of level that is no longer there
            path.unlink()
    for name, png in pictures.items():
        with open_atomic(folder / name, "wb") as file:
            file.write(png)
    print(text, end="")


if __name__ == "__main__":
    main(compare_systems)
