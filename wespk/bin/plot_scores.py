"""Draw how target and nontarget scores are distributed, system by system."""

from wespk.utils.cli import listed, main


def plot_scores(scores: str, trials: str, out: str, names: str = ""):
    """One panel for each system and trial list: histograms of target and nontarget scores, their overlap and EER, PNG.

    Bins and overlap are those of compute_metrics: 100 equal ones from the least to the greatest score.

    Args:
        scores: score files, comma-separated
        trials: the labelled trial list of each score file, comma-separated; the same one may come several times, and one
            alone is that of all
        out: PNG file to write
        names: a name for each score file's system, comma-separated, the same one for the seeds of a system, which make
            one panel; empty: the score file's name after the trial list's
    """
    from wespk.io.atomic import open_atomic
    from wespk.metrics.plots import histogram_png
    from wespk.scoring.histograms import score_panels

    files, lists, given = listed(scores), listed(trials), listed(names)
    panels = score_panels(files, lists * len(files) if len(lists) == 1 else lists, given)
    with open_atomic(out, "wb") as file:
        file.write(histogram_png(panels))
    for panel in panels:
        print(f"{out}: {panel['title'].replace(chr(10), ': ')}")


if __name__ == "__main__":
    main(plot_scores)
