"""Stage 7, second half: the report."""

from wespk.utils.cli import main


def make_report(metrics: str, out_dir: str, title: str = "", expected: str = "", strict: bool = False,
                about: str = ""):
    """Write RESULTS.md, report.html (which needs no other file) and det.png from the output of compute_metrics.

    Where that has EERs by category, eer_by_CATEGORY.png as well.

    Args:
        metrics: JSON file written by compute_metrics
        out_dir: folder to write to
        title: what to call the experiment; empty: the name of the folder above the metrics file's
        expected: YAML of recorded ranges, `trials: {system: {metric: [low, high]}}`, metrics as in the JSON file, rates
            as fractions; values outside are flagged
        strict: fail if a value is outside its expected range, after writing the report
        about: what a reader must know of the experiment, to stand under the title
    """
    import json
    from pathlib import Path

    from wespk.io.atomic import open_atomic, write_text
    from wespk.metrics import category_report, report
    from wespk.metrics.page import det_of, page
    from wespk.utils.config import read_yaml
    from wespk.utils.errors import InputError
    from wespk.utils.log import get_logger

    try:
        results = json.loads(Path(metrics).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError) as error:
        raise InputError(f"{metrics}: cannot be read ({error}); run compute_metrics") from None
    if not isinstance(results, dict) or results.get("format") != 1:
        raise InputError(f"{metrics}: not written by this compute_metrics (no format 1); run it again")
    deviations = report.check_expected(results, read_yaml(expected)) if expected else None
    title = title or Path(metrics).resolve().parent.parent.name
    text, det = report.markdown(results, title, deviations, about), det_of(results)
    maps = category_report.heat_maps(results)
    pictures = {"det.png": det, **{f"eer_by_{name}.png": drawn for name, drawn in maps.items()}}
    write_text(Path(out_dir) / "RESULTS.md", text)
    for old in set(Path(out_dir).glob("eer_by_*.png")) - {Path(out_dir) / name for name in pictures}:
        old.unlink()
    for name, drawn in pictures.items():
        with open_atomic(Path(out_dir) / name, "wb") as file:
            file.write(drawn)
    write_text(Path(out_dir) / "report.html", page(results, title, deviations, det, about, maps))
    print(text, end="")
    for line in report.deviation_lines(deviations or ()):
        get_logger().warning(line)
    if deviations and strict:
        raise InputError(f"{len(deviations)} of the ranges in {expected} were not met; see {out_dir}/RESULTS.md")


if __name__ == "__main__":
    main(make_report)
