"""The difference between the halves of a grid whose systems come in pairs, such as relu-aam and prelu-aam.

. tools/path.sh; python tools/figures/two_halves.py --grid grids/spherespeaker.yaml --root EXP/spherespeaker --data DATA \\
    --first relu --second prelu

A half's figure is the mean over its systems, seed by seed and draw of speakers by draw; the rest is as in
``wespk.metrics.comparison``: a 95 % interval over speakers and seeds, and a two-sided p of one test for each list and measure.
"""

from pathlib import Path

import numpy as np

from wespk.io.tables import join_labels, read_table, read_trials
from wespk.metrics.bootstrap import SpeakerDraw, resample
from wespk.metrics.comparison import compare_values, measure_names
from wespk.metrics.measures import Measure
from wespk.scoring.evaluation import speakers_behind
from wespk.utils.cli import main
from wespk.utils.errors import InputError
from wespk.utils.grid import read_grid

P_TARGETS, RESAMPLES, SEED = (0.01, 0.05), 1000, 42


def pairs(grid, first, second):
    """The names that stand behind ``first-`` and behind ``second-`` in a grid's systems, which must be the same."""
    halves = [[row.name[len(half) + 1 :] for row in grid.rows if row.name.startswith(f"{half}-")] for half in (first, second)]
    if not halves[0] or halves[0] != halves[1]:
        raise InputError(f"the grid '{grid.name}' has {', '.join(halves[0]) or 'nothing'} behind '{first}-' and "
                         f"{', '.join(halves[1]) or 'nothing'} behind '{second}-': the same are needed, in the same order")
    return halves[0]


def difference(grid, root, trial_file, utt2spk, halves):
    """What ``compare_values`` says of the two halves by the cosine scores of one trial list."""
    trials = read_trials(trial_file)
    speakers, _ = speakers_behind(trials, utt2spk, trial_file, trial_file.parent.parent / "enroll_maps")
    draw = SpeakerDraw(*speakers, trials.labels)
    counts = [int(np.count_nonzero(trials.labels == label)) for label in (1, 0)]
    values, drawn = {half: [] for half in halves}, {half: [] for half in halves}
    for half in halves:
        for seed in grid.seeds:
            files = [root / f"{half}-{name}/seed{seed}/scores/{trial_file.name}.cosine" for name in pairs(grid, *halves)]
            measures = [Measure(*join_labels(file, trial_file, trials), P_TARGETS, hull=False) for file in files]
            values[half].append(np.mean([m.of_list() for m in measures], axis=0))
            drawn[half].append(np.mean(resample(measures, draw, RESAMPLES, SEED), axis=0))
    values, drawn = ({half: np.array(of) for half, of in kind.items()} for kind in (values, drawn))
    return compare_values(values, halves[0], measure_names(P_TARGETS), 1 / min(counts), drawn, RESAMPLES, SEED)


def two_halves(grid: str, root: str, data: str, first: str, second: str):
    """Print the difference, second minus first, for each trial list and measure; see the top of this file.

    Args:
        grid: the grid's YAML file
        root: folder with its experiments
        data: data folder that they were tested with
        first: what the names of one half begin with, before a dash
        second: the same of the other half
    """
    asked, data = read_grid(grid), Path(data)
    utt2spk = read_table(data / "eval" / "utt2spk")
    for path in sorted((data / "eval" / "trials").iterdir()):
        found = difference(asked, Path(root), path, utt2spk, (first, second))
        for name, entry in found[second].items():
            versus, scale = entry["versus"], 100 if name == "eer" else 1
            low, high = versus["interval"]
            print(f"{path.name}: {name}{' %' if scale == 100 else ''}: {scale * found[first][name]['mean']:.4g} and "
                  f"{scale * entry['mean']:.4g}, difference {scale * versus['difference']:+.3g} "
                  f"[{scale * low:+.3g}, {scale * high:+.3g}], p {versus['p']:.3f}")


if __name__ == "__main__":
    main(two_halves)
