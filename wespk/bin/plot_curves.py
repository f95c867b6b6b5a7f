"""Draw what training noted, loss by loss or weight by weight, over its epochs."""

from wespk.utils.cli import listed, main


def plot_curves(experiments: str, figures: str, out: str, labels: str = "", title: str = ""):
    """One panel for each figure of metrics.jsonl, one line for each system, PNG.

    Experiments with the same label are seeds of one system, drawn as their mean, with a band of one standard deviation
    to either side. A figure is any number that training notes: loss, lr, margin, accuracy, dev_eer, and those of its
    objective, such as weight_classification and gradient_cosine of one with several losses.

    Args:
        experiments: experiment folders, comma-separated
        figures: names of figures, comma-separated; a wrong one makes the command list those that are there
        out: PNG file to write
        labels: what to call the system of each experiment, comma-separated; empty: its path, or that of the folder
            above one called seedN or seedN-lm (fine-tuned, with -lm at the end), cut to what tells the systems apart
        title: what to write above the panels
    """
    from pathlib import Path

    from wespk.io.atomic import open_atomic
    from wespk.metrics.plots import curves_png
    from wespk.scoring.curves import path_labels, system_curves
    from wespk.utils.errors import InputError

    folders = [Path(word) for word in listed(experiments)]
    names, given = listed(figures), listed(labels)
    if not folders or not names:
        raise InputError("--experiments and --figures need one name at least")
    if given and len(given) != len(folders):
        raise InputError(f"--labels has {len(given)} names for {len(folders)} experiments; seeds of a system share a name")
    for at, folder in enumerate(folders):
        if folder.resolve() in [other.resolve() for other in folders[:at]]:
            raise InputError(f"--experiments: {folder} is given twice, and would count as two seeds: give it once")
    systems = {}
    for folder, label in zip(folders, given or path_labels(folders)):
        systems.setdefault(label, []).append(folder)
    curves = {label: system_curves(seeds, names) for label, seeds in systems.items()}
    panels = [{"figure": name, "lines": [{"label": label, **curves[label][name]} for label in curves]} for name in names]
    with open_atomic(out, "wb") as file:
        file.write(curves_png(panels, title))
    print(f"{out}: {', '.join(names)} of {', '.join(f'{label} ({len(seeds)})' for label, seeds in systems.items())}")


if __name__ == "__main__":
    main(plot_curves)
