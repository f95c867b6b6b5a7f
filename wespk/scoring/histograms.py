"""Score files and trial lists -> the histograms of their target and nontarget scores."""

from pathlib import Path

import numpy as np

from wespk.io.tables import join_labels, read_trials
from wespk.metrics.det import eer, equal_error_score, split
from wespk.metrics.evaluate import histogram
from wespk.metrics.overlap import BINS, overlap
from wespk.scoring.evaluation import system_name
from wespk.utils.errors import InputError


def score_panels(scores, trials, names=()):
    """The panels of ``plots.histogram_png``, one for each pair of trial list and name, in the order given.

    scores, trials: paths, one trial list for each score file; names: one for each score file, by default what its name
    says after the list's. Files with the same list and name are seeds of one system: their scores are put together, and
    the overlap and EER in the title are means over them. Raises ``InputError`` where the numbers of files do not match, a
    file is given twice or does not fit its list.
    """
    if not scores or len(scores) != len(trials) or (names and len(names) != len(scores)):
        raise InputError(f"--scores has {len(scores)} files, --trials {len(trials)}, --names {len(names)}: give one for each "
                         "score file")
    seeds, seen, lists = {}, set(), {}
    for i, (score_file, trial_file) in enumerate(zip(scores, trials)):
        if Path(score_file).resolve() in seen:
            raise InputError(f"--scores: {score_file} is given twice, and would count as two seeds: give it once")
        seen.add(Path(score_file).resolve())
        name = names[i] if names else system_name(score_file, trial_file)
        if trial_file not in lists:
            lists[trial_file] = read_trials(trial_file)
        seeds.setdefault((trial_file, name), []).append(join_labels(score_file, trial_file, lists[trial_file]))
    return [_panel(Path(trial_file).name, name, found) for (trial_file, name), found in seeds.items()]


def _panel(trials, name, seeds):
    rates = [np.mean([measure(*seed) for seed in seeds]) for measure in (overlap, eer)]
    parts = split(*map(np.concatenate, zip(*seeds)))
    title = f"{trials}  {name}\noverlap {rates[0]:.3f}, EER {100 * rates[1]:.2f} %"
    return {"title": title, "threshold": float(equal_error_score(parts)), **histogram(parts, BINS)}
