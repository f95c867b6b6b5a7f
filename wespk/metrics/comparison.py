"""Systems trained with several seeds each, compared with a baseline: means over seeds, intervals, paired tests.

Two things vary, and an interval must tell both: the speakers of the trial list are a sample, and so are the seeds (the
next training of the same system gives another figure). One bootstrap serves all systems of a list:

- Speakers are drawn as in ``bootstrap``, the same ones for every system and seed, and a system's figure is its mean
  over seeds on that draw. What the trials have in common cancels in differences.
- To it comes the noise of the seeds: standard deviation over seeds / sqrt(n), times a draw from Student's t with n - 1
  degrees of freedom, on the interval's scale; for a difference, the standard deviation of the n differences. Drawing
  the seeds themselves with replacement, the obvious way, fails for the three to five there are: in simulations where
  seeds were all that varied, its 95 % intervals covered the truth in 74 % of cases for n = 3 and 84 % for n = 5, and
  p < 0.01 came up in 25 % and 10 % of cases without a difference; with t it was 95 % and 1 %. Where speakers and seeds
  varied alike it was 90 % for n = 3, and 98 % with t. With one seed the second part is missing, and that must be said.

Seeds are paired: a difference is taken seed by seed. That holds whether or not a seed means the same to two systems
(the initial weights of the same network, the order of the data), and it is what tells a fine-tuned system, which starts
from the baseline's network of the same seed. If seeds have nothing in common it costs degrees of freedom, no validity.

A system is compared with the baseline, and one that was fine-tuned with the fine-tuned baseline where there is that:
the losses are then told apart at the same length of training. What fine-tuning did to a system, the difference from
itself before, is a second question and a second family of tests.

p values are corrected within a table (a list, a kind of score, a measure and a level) and family by Holm's method
(Scandinavian Journal of Statistics 6, 1979): the chance of any false difference in it is then kept at the level.
"""

import numpy as np

from wespk.metrics.bootstrap import SpeakerDraw, interval, link, paired_test, resample, unlink
from wespk.metrics.det import check_prior
from wespk.metrics.measures import Measure
from wespk.utils.errors import InputError
from wespk.utils.seed import generator

FAMILIES = ("versus", "fine_tuning")  # the two kinds of differences


def measure_names(p_targets):
    """The measures compared, in order."""
    return ["eer", *(f"min_dcf_{p:g}" for p in p_targets), "overlap"]


def compare_scores(systems, labels, speakers, baseline, p_targets=(0.01, 0.05), num_resamples=1000, seed=42, tuned=None):
    """Compare systems scored on one trial list.

    systems: name -> list over seeds of scores (n,), the same number of seeds for each; labels (n,), 1 = target;
    speakers: (enroll (n,), test (n,)) integers; baseline: a name, or one that is not there: no tests against it; tuned:
    as for ``compare_values``, whose result is returned.
    """
    for p_target in p_targets:
        check_prior(p_target)
    is_target = np.asarray(labels).astype(bool)
    counts = int(is_target.sum()), int((~is_target).sum())
    measures = [Measure(scores, labels, p_targets, hull=False) for of_seeds in systems.values() for scores in of_seeds]
    values = np.stack([measure.of_list() for measure in measures])
    resampled = np.stack(resample(measures, SpeakerDraw(*speakers, labels), num_resamples, seed))
    ends = np.cumsum([0, *map(len, systems.values())])
    parts = {name: (values[a:b], resampled[a:b]) for name, a, b in zip(systems, ends, ends[1:])}
    return compare_values({name: part[0] for name, part in parts.items()}, baseline, measure_names(p_targets),
                          1 / min(counts), {name: part[1] for name, part in parts.items()}, num_resamples, seed, tuned)  # fmt: skip


def compare_values(values, baseline, names, resolution, resampled=None, num_resamples=1000, seed=42, tuned=None):
    """Compare systems by their figures.

    values: name -> (seeds, M) float64 in [0, 1], the measures ``names`` of each seed; resolution: their smallest step;
    resampled: name -> (seeds, num_resamples, M), the same on draws of speakers; None: only seeds vary; tuned: name of a
    fine-tuned system -> that of the system that it began as. Returns name -> {measure: {"values" (of each seed), "mean",
    "sd" (n - 1 in the denominator; None for one seed), "interval" ([low, high] or None), "versus", "fine_tuning"}}.
    "versus" is {"reference", "difference", "interval", "p", "p_holm"} against the baseline, or the fine-tuned baseline,
    and "fine_tuning" the same against what a fine-tuned system began as; they are None where the reference is the system
    itself or not there, and where there is nothing to test with (one seed, speakers not drawn).
    Raises ``InputError`` when systems differ in their number of seeds.
    """
    sizes = {name: len(found) for name, found in values.items()}
    if len(set(sizes.values())) > 1:
        raise InputError(f"systems with different numbers of seeds cannot be paired: {sizes}")
    num_seeds = next(iter(sizes.values()))
    if resampled is None:
        resampled = {name: np.repeat(found[:, None], num_resamples, axis=1) for name, found in values.items()}
        testable = num_seeds > 1
    else:
        testable = True
    noise = _seed_noise(num_seeds, num_resamples, seed)
    references = _references(values, baseline, tuned or {}) if testable else {}
    table = {}
    for name, found in values.items():
        table[name] = {}
        for i, measure in enumerate(names):
            entry = _of_one(found[:, i], resampled[name][:, :, i], noise, resolution)
            for family, reference in references.get(name, {}).items():
                difference = _against(found[:, i] - values[reference][:, i],
                                      resampled[name][:, :, i] - resampled[reference][:, :, i], noise)  # fmt: skip
                entry[family] = {"reference": reference, **difference}
            table[name][measure] = entry
    _correct(table, names)
    return table


def _references(names, baseline, tuned):
    """name -> {family: what it is compared with}, only where that is there and another system."""
    tuned_baseline = next((name for name, start in tuned.items() if start == baseline), None)
    references = {}
    for name in names:
        fair = tuned_baseline if name in tuned and tuned_baseline in names else baseline
        found = {"versus": fair, "fine_tuning": tuned.get(name)}
        references[name] = {family: other for family, other in found.items() if other in names and other != name}
    return references


def _seed_noise(num_seeds, num_resamples, seed):
    """Draws (num_resamples,) of (mean of the seeds - truth) / standard deviation; 0 for one seed."""
    if num_seeds == 1:
        return np.zeros(num_resamples)
    return generator(seed, "seeds").standard_t(num_seeds - 1, num_resamples) / np.sqrt(num_seeds)


def _sd(values):
    return float(np.std(values, ddof=1)) if len(values) > 1 else 0.0


def _of_one(values, resampled, noise, resolution):
    """values (seeds,), resampled (seeds, B) -> the figures of one system."""
    mean, offset = float(values.mean()), resolution / 2
    on_scale = link(resampled.mean(axis=0), offset) + noise * _sd(link(values, offset))
    drawn = unlink(np.clip(on_scale, -500, 500), offset)  # two seeds make for a wild t; exp must not overflow
    ends = interval(mean, np.clip(drawn, 0, 1), resolution)
    sd = _sd(values) if len(values) > 1 else None
    return {"values": values.tolist(), "mean": mean, "sd": sd, "interval": ends and list(ends),
            **dict.fromkeys(FAMILIES)}  # fmt: skip


def _against(differences, resampled, noise):
    """differences (seeds,), resampled (seeds, B) of one system minus its reference."""
    drawn = resampled.mean(axis=0) + noise * _sd(differences)
    low, high, p = paired_test(np.zeros_like(drawn), drawn)
    return {"difference": float(differences.mean()), "interval": [low, high], "p": p}


def _correct(table, names):
    for measure in names:
        for family in FAMILIES:
            tested = [entry[measure][family] for entry in table.values() if entry[measure][family]]
            for versus, corrected in zip(tested, holm([versus["p"] for versus in tested])):
                versus["p_holm"] = corrected


def holm(p_values):
    """Holm's step-down correction: a list of corrected p values, in the order given."""
    corrected, running = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[i]))
        corrected[i] = running
    return corrected
