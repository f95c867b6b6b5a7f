"""What the three margins of SphereSpeaker do to the target's cosine and to the region where a target counts as right.

    . tools/path.sh; python tools/figures/decision_regions.py --out egs/voxceleb/supervised/results/decision_regions.png

Left: psi = cos(m1 theta + m2) - m3 over the angle theta of embedding and class, with its continuation beyond pi. Right:
with b, a classifier accepts from some angle theta0 on (r g(cos theta0) + b = 0), and the region where training counts a
target as right is psi(theta) > cos theta0; without margin it is all below the diagonal. Between two classes it is the
same picture: theta is the angle with the own class, theta0 that with the other.
"""

import math
from pathlib import Path

from wespk.utils.cli import main

POINTS = 1801  # angles from 0 to pi


def psi(theta, m1, m2, m3):
    """The lowered cosine (float64) of angles ``theta`` (radians), as the loss has it."""
    import torch

    from wespk.losses.spherespeaker import lowered_cosine

    return lowered_cosine(torch.as_tensor(theta, dtype=torch.float64).cos(), m1, m2).numpy() - m3


def edge(theta, lowered):
    """For each angle theta0 in ``theta`` the largest one at which a target counts as right; NaN where there is none."""
    import numpy as np

    right = lowered[None, :] > np.cos(theta)[:, None] - 1e-12
    return np.where(right.any(1), theta[right.sum(1).clip(1) - 1], np.nan)


def draw(curves):
    """PNG bytes. curves: label -> (m1, m2, m3); the last one's region is shaded."""
    import io

    import numpy as np
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from wespk.metrics.plots import COLOURS, DASHES, GRID

    theta = np.linspace(0, math.pi, POINTS)
    degrees = np.rad2deg(theta)
    figure = Figure(figsize=(8.6, 3.9), dpi=80, layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    for i, (label, margins) in enumerate(curves.items()):
        style = {"color": COLOURS[-1 if i == 0 else i - 1], "linestyle": DASHES[i % len(DASHES)], "linewidth": 1.7}
        lowered = psi(theta, *margins)
        left.plot(degrees, lowered, label=label, **style)
        limit = np.rad2deg(edge(theta, lowered))
        right.plot(degrees, limit, **style)
    right.fill_between(degrees, 0, limit, color=style["color"], alpha=0.15, linewidth=0)
    left.set(xlabel="angle with the class, degrees", ylabel="psi", title="The target's cosine, lowered", xlim=(0, 180))
    right.set(xlabel="threshold of the classifier, degrees", ylabel="angle with the own class, degrees",
              title="Where a target counts as right", xlim=(0, 120), ylim=(0, 120))  # fmt: skip
    for axes in (left, right):
        axes.set_xticks(range(0, 181 if axes is left else 121, 30))
        axes.grid(color=GRID, linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
    left.axhline(-1, color="#999999", linewidth=0.8, zorder=1)
    left.legend(frameon=False, fontsize=9)
    file = io.BytesIO()
    figure.savefig(file, format="png", metadata={"Software": None}, pil_kwargs={"optimize": True})
    return file.getvalue()


def decision_regions(out: str = "", m1: float = 1.4, m2: float = 0.4, m3: float = 0.3):
    """Write the picture: no margin, each of the three alone, and all together.

    Args:
        out: PNG to write
        m1: factor of the angle, 1 or more; larger than in use, to be seen
        m2: added to the angle, radians
        m3: taken from the cosine
    """
    from wespk.io.atomic import open_atomic
    from wespk.utils.errors import InputError

    if not out:
        raise InputError("--out FILE.png is needed")
    if m1 < 1 or not 0 <= m2 <= math.pi or m3 < 0:
        raise InputError(f"--m1 {m1} must be at least 1, --m2 {m2} within 0 and pi, --m3 {m3} at least 0")
    curves = {"no margin": (1.0, 0.0, 0.0), f"M: m1 = {m1:g}": (m1, 0.0, 0.0), f"A: m2 = {m2:g}": (1.0, m2, 0.0),
              f"C: m3 = {m3:g}": (1.0, 0.0, m3), "all three": (m1, m2, m3)}
    with open_atomic(Path(out), "wb") as file:
        file.write(draw(curves))
    print(f"{out}: {', '.join(curves)}")


if __name__ == "__main__":
    main(decision_regions)
