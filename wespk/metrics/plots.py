"""DET curves, score histograms, heat maps, lines over conditions and over epochs as PNG. matplotlib is imported when the first chart is drawn."""

import io
from statistics import NormalDist

import numpy as np

# Okabe and Ito's colours, told apart by colour-blind readers too; yellow left out, too pale for lines
COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000"]
DASHES = ["-", "--", ":", "-."]
MARKERS = ["o", "s", "^", "D", "v", "x", "P", "*"]
TICKS = [0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
TARGET, NONTARGET, INK, GRID = "#0072B2", "#D55E00", "#333333", "#d9d9d9"
RESOLUTION = 110


def probit(rates):
    """Quantiles of the standard normal distribution; rates in (0, 1)."""
    return np.vectorize(NormalDist().inv_cdf, otypes=[float])(rates)


def _figure(width, height):
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=RESOLUTION, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _png(figure):
    file = io.BytesIO()
    figure.savefig(file, format="png", metadata={"Software": None})
    return file.getvalue()


def _plain(axes):
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color("#999999")
    axes.tick_params(colors=INK, labelsize=9)


def det_png(curves):
    """DET curves on probit axes, PNG bytes.

    curves: list of {"trials", "system", "eer" (fraction), "false_alarm", "miss" (rates, from accept-all to reject-all),
    "num_targets", "num_nontargets"}. Colour tells the trial list, the dash the system, a dot the EER. A curve is drawn
    as far as its list has errors to count: to one miss and one false alarm.
    """
    lowest = min([c["eer"] for c in curves if c["eer"] > 0], default=0.01)
    low = max([t for t in TICKS if t <= lowest / 8], default=TICKS[0])
    high = max([0.5] + [min(t for t in [*TICKS, 0.95] if t >= min(1.4 * c["eer"], 0.9)) for c in curves])
    few = len(curves) <= 8  # more go into a legend beside the chart
    figure = _figure(6.9 if few else 11.4, 6.7)
    axes = figure.add_subplot()
    lists, systems = ([*dict.fromkeys(c[key] for c in curves)] for key in ("trials", "system"))
    for curve in curves:
        colour = COLOURS[lists.index(curve["trials"]) % len(COLOURS)]
        dash = DASHES[systems.index(curve["system"]) % len(DASHES)]
        x, y = _drawn(curve)
        label = f"{curve['trials']}  {curve['system']}  EER {100 * curve['eer']:.2f} %"
        axes.plot(probit(x), probit(y), dash, color=colour, linewidth=1.8, label=label)
        if low <= curve["eer"] <= high:
            axes.plot(*[probit([curve["eer"]])] * 2, "o", color=colour, markersize=7, markeredgecolor="white", zorder=5)
    ends = probit([low, high])
    axes.plot(ends, ends, color="#999999", linewidth=0.8, zorder=1)
    ticks = [t for t in TICKS if low <= t <= high]
    for axis, name in ((axes.xaxis, "false-alarm rate, %"), (axes.yaxis, "miss rate, %")):
        axis.set_ticks(probit(ticks), [f"{100 * t:g}" for t in ticks])
        axis.set_label_text(name, color=INK)
    axes.set(xlim=ends, ylim=ends, aspect="equal")
    axes.grid(color=GRID, linewidth=0.6)
    _plain(axes)
    if few:
        axes.legend(loc="upper right", framealpha=0.9, edgecolor=GRID, fontsize=9)
    else:
        figure.legend(loc="outside right upper", frameon=False, fontsize=9)
    return _png(figure)


def _drawn(curve):
    """The part of the curve with at least one miss and one false alarm (as rates), its ends put at half of one."""
    floor = 0.5 / curve["num_nontargets"], 0.5 / curve["num_targets"]
    x, y = np.asarray(curve["false_alarm"]), np.asarray(curve["miss"])
    return np.clip(x, floor[0], 1 - floor[0]), np.clip(y, floor[1], 1 - floor[1])


def histogram_png(systems):
    """Histograms of target and nontarget scores, one panel a system, PNG bytes.

    systems: list of {"title", "threshold" (at the EER), "edges", "target", "nontarget" (densities)}.
    """
    across = min(2, len(systems))
    down = -(-len(systems) // across)
    figure = _figure(4.6 * across, 2.9 * down)
    for axes, system in zip(np.ravel(figure.subplots(down, across, squeeze=False)), systems):
        for kind, colour in (("nontarget", NONTARGET), ("target", TARGET)):
            axes.stairs(system[kind], system["edges"], fill=True, color=colour, alpha=0.3)
            axes.stairs(system[kind], system["edges"], color=colour, linewidth=1.3, label=kind)
        axes.axvline(system["threshold"], color=INK, linewidth=1, linestyle="--", label="threshold at EER")
        axes.set_title(system["title"], fontsize=10, color=INK, loc="left")
        axes.set_xlabel("score", fontsize=9, color=INK)
        axes.set_yticks([])
        _plain(axes)
        axes.spines["left"].set_visible(False)
    for axes in np.ravel(figure.axes)[len(systems) :]:
        axes.set_visible(False)
    entries = figure.axes[0].get_legend_handles_labels()
    figure.legend(*entries, loc="outside upper right", ncols=3, frameon=False, fontsize=9)
    return _png(figure)


def heat_png(panels, row_title, column_title):
    """Tables of EERs as colours with the figures in percent, PNG bytes; all panels on one scale.

    panels: list of {"title", "rows", "columns" (names), "values" (rows, columns) (fractions, None: no value, grey)}. The
    last row and the last column, of all the others together, stand a little apart.
    """
    across, highest = min(2, len(panels)), max([v for p in panels for row in p["values"] for v in row if v], default=1.0)
    down, cells = -(-len(panels) // across), max(max(len(p["rows"]), len(p["columns"])) for p in panels)
    figure = _figure(across * (1.9 + 0.52 * cells), down * (1.5 + 0.42 * cells))
    for axes, panel in zip(np.ravel(figure.subplots(down, across, squeeze=False)), panels):
        values = np.array([[np.nan if v is None else 100 * v for v in row] for row in panel["values"]])
        axes.set_facecolor("#ececec")
        image = axes.imshow(values, "Blues", vmin=0, vmax=100 * highest, aspect="auto")
        for (row, column), value in np.ndenumerate(values):
            if not np.isnan(value):
                colour = "white" if value > 60 * highest else INK
                axes.text(column, row, f"{value:.1f}", ha="center", va="center", fontsize=8, color=colour)
        axes.axhline(len(panel["rows"]) - 1.5, color="white", linewidth=3)
        axes.axvline(len(panel["columns"]) - 1.5, color="white", linewidth=3)
        axes.set_xticks(range(len(panel["columns"])), panel["columns"], rotation=40, ha="right", rotation_mode="anchor")
        axes.set_yticks(range(len(panel["rows"])), panel["rows"])
        axes.set_title(panel["title"], fontsize=10, color=INK, loc="left")
        axes.set_xlabel(column_title, fontsize=9, color=INK)
        axes.set_ylabel(row_title, fontsize=9, color=INK)
        _plain(axes)
    for axes in np.ravel(figure.axes)[len(panels) :]:
        axes.set_visible(False)
    figure.colorbar(image, ax=figure.axes, shrink=0.6, aspect=40).set_label("EER, %", color=INK)
    return _png(figure)


def levels_png(lines, x_title, title):
    """EER over the levels of a condition, one line a system, PNG bytes.

    lines: label -> list of (x, EER, low, high), rates as fractions; x numbers, or texts in order. Colour, dash and
    marker tell the systems apart; the bars, 95 % intervals, stand a little aside of one another.
    """
    named = any(isinstance(point[0], str) for points in lines.values() for point in points)
    places = list(dict.fromkeys(point[0] for points in lines.values() for point in points))
    at = {place: i if named else place for i, place in enumerate(places)}
    step = min(np.diff(sorted(at.values())), default=1.0)
    figure = _figure(7.4, 4.6)
    axes = figure.add_subplot()
    for i, (label, points) in enumerate(lines.items()):
        x = [at[point[0]] + step * 0.4 * ((i + 0.5) / len(lines) - 0.5) for point in points]
        y, low, high = (100 * np.array(column) for column in list(zip(*points))[1:])
        bars = np.maximum([y - low, high - y], 0)  # a mean may lie outside of its reflected interval
        axes.errorbar(x, y, bars, fmt=MARKERS[i % len(MARKERS)] + DASHES[i % len(DASHES)], markersize=5, label=label,
                      color=COLOURS[i % len(COLOURS)], linewidth=1.5, elinewidth=0.9, capsize=2)  # fmt: skip
    axes.set_xticks(list(at.values()), [str(place) if named else f"{place:g}" for place in at])
    axes.set(ylim=(0, None), title=title)
    axes.set_xlabel(x_title, color=INK)
    axes.set_ylabel("EER, %", color=INK)
    axes.grid(axis="y", color=GRID, linewidth=0.6)
    _plain(axes)
    figure.legend(loc="outside right upper", frameon=False, fontsize=9)
    return _png(figure)


def curves_png(panels, title=""):
    """Figures of training over its epochs, one panel a figure, PNG bytes.

    panels: list of {"figure", "lines": [{"label", "epochs", "mean", "sd" (None: no band)}]}, values in the figure's own
    unit. Colour and dash tell the labels apart, the same in all panels.
    """
    across = min(2, len(panels))
    down = -(-len(panels) // across)
    labels = [*dict.fromkeys(line["label"] for panel in panels for line in panel["lines"])]
    figure = _figure(4.6 * across + 2.2, 3.2 * down)
    for axes, panel in zip(np.ravel(figure.subplots(down, across, squeeze=False)), panels):
        for line in panel["lines"]:
            i, mean = labels.index(line["label"]), np.asarray(line["mean"])
            colour, dash = COLOURS[i % len(COLOURS)], DASHES[i // len(COLOURS) % len(DASHES)]
            few = "." if len(mean) < 20 else None  # a line of one point shows nothing else
            axes.plot(line["epochs"], mean, dash, marker=few, color=colour, linewidth=1.5, label=line["label"])
            if line["sd"] is not None:
                sd = np.asarray(line["sd"])
                axes.fill_between(line["epochs"], mean - sd, mean + sd, color=colour, alpha=0.15, linewidth=0)
        axes.set_title(panel["figure"], fontsize=10, color=INK, loc="left")
        axes.set_xlabel("epoch", fontsize=9, color=INK)
        axes.grid(axis="y", color=GRID, linewidth=0.6)
        _plain(axes)
    for axes in np.ravel(figure.axes)[len(panels) :]:
        axes.set_visible(False)
    entries = {}
    for axes in figure.axes:
        entries.update(zip(*axes.get_legend_handles_labels()[::-1]))
    figure.legend([entries[label] for label in labels], labels, loc="outside right upper", frameon=False, fontsize=9)
    if title:
        figure.suptitle(title, fontsize=11, color=INK)
    return _png(figure)
