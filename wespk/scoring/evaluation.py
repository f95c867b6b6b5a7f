"""Score files and trial lists -> the contents of ``metrics.json``."""

import os
from pathlib import Path

from wespk.io.tables import join_labels, read_table, read_trials
from wespk.metrics.bootstrap import speakers_from_targets
from wespk.metrics.categories import by_category
from wespk.metrics.evaluate import evaluate
from wespk.scoring.bias import evaluate_reading, read_readings
from wespk.scoring.trial_categories import categories_of, parts_of, read_categories
from wespk.scoring.vectors import MEANS, check_enroll_mean
from wespk.utils.errors import InputError


def evaluate_files(scores, trials, names=(), utt2spk="", p_targets=(0.01, 0.05), num_resamples=1000, seed=42,
                   llr=False, readings=(), categories=(), models="", enroll_mean=MEANS[0]):  # fmt: skip
    """Measure score files against their trial lists; lists that several files share are evaluated together.

    scores, trials: paths, one trial list for each score file; names: the systems' names, one a score file (default:
    what its name says after the trial list's, ``vox1_O.cosine.asnorm`` -> ``cosine.asnorm``); utt2spk: path, the
    evaluation ids' speakers (default: worked out from the target trials); llr: all files hold natural-log likelihood
    ratios, not only those named ``*.llr``; readings: paths, see ``scoring.bias``, of some of the score files; categories,
    models: see ``scoring.trial_categories``; enroll_mean: the kind of these averages, see ``vectors.average_models``.

    Returns the dict described in ``metrics.evaluate``, under "lists", with settings beside it; a list whose enrolments are
    averages has {"enrolments": number, "least", "most": utterances of one, "mean": enroll_mean} under "averaged"; a system
    with a reading has ``bias.evaluate_reading`` under "log_odds"; with categories ``metrics.categories.by_category`` is under
    "categories" of a list and "eer_by" of a system. Raises ``InputError`` naming the file for whatever does not fit.
    """
    if not scores or len(scores) != len(trials) or (names and len(names) != len(scores)):
        raise InputError(
            f"--scores has {len(scores)} files, --trials {len(trials)}, --names {len(names)}: give one for each score "
            "file"
        )
    jobs = {}
    for i, (score_file, trial_file) in enumerate(zip(scores, trials)):
        name = names[i] if names else system_name(score_file, trial_file)
        jobs.setdefault(trial_file, []).append((name, score_file, llr or score_file.endswith(".llr")))
    _check_names(jobs)
    reading_of = read_readings(readings)
    lost = next((path for path in reading_of if path not in map(os.path.normpath, scores)), None)
    if lost is not None:
        raise InputError(f"--readings has that of {lost}, which is not among --scores: give both or neither")
    check_enroll_mean(enroll_mean, models)
    speaker_of = read_table(utt2spk) if utt2spk else None
    tables = read_categories(categories)
    bootstrap = {"resamples": num_resamples, "seed": seed, "level": 0.95} if num_resamples else None
    results = {"format": 1, "p_targets": list(p_targets), "bootstrap": bootstrap, "lists": []}
    for trial_file, systems in jobs.items():
        try:
            found = _evaluate_list(trial_file, systems, speaker_of, p_targets, num_resamples, seed, reading_of,
                                   tables, models)
        except InputError as error:
            raise error if trial_file in str(error) else InputError(f"{trial_file}: {error}") from None
        averaged = _averaged(models, trial_file, enroll_mean)
        results["lists"].append({"name": Path(trial_file).name, "trials": trial_file, "averaged": averaged, **found})
    return results


def system_name(score_file, trial_file):
    """A score file's name without the trial list's name in front, if it stands there."""
    name, prefix = Path(score_file).name, Path(trial_file).name + "."
    return name[len(prefix) :] if name.startswith(prefix) and len(name) > len(prefix) else name


def _check_names(jobs):
    groups = {"trial lists": [Path(trial_file).name for trial_file in jobs]}
    groups.update((f"systems for {trial_file}", [name for name, *_ in systems]) for trial_file, systems in jobs.items())
    for kind, names in groups.items():
        double = next((name for name in names if names.count(name) > 1), None)
        if double:
            raise InputError(f"two {kind} are called '{double}': give different names (--names, or those of the files)")


def _evaluate_list(trial_file, systems, speaker_of, p_targets, num_resamples, seed, reading_of, tables, models):
    joined, trials = [], read_trials(trial_file)
    for name, score_file, is_llr in systems:
        scores, labels = join_labels(score_file, trial_file, trials)
        joined.append((name, scores, is_llr))
    speakers, source = None, None
    if num_resamples:
        speakers, source = speakers_behind(trials, speaker_of, trial_file, models)
    found = evaluate(joined, labels, speakers, p_targets, num_resamples, seed)
    for entry, (_, score_file, _), (_, scores, _) in zip(found["systems"], systems, joined):
        entry["scores"] = score_file
        reading = reading_of.get(os.path.normpath(score_file))
        if reading:
            entry["log_odds"] = evaluate_reading(reading, scores, labels, p_targets)
    if tables:
        sides = categories_of(tables, trials, trial_file, models)
        _add_categories(found, [scores for _, scores, _ in joined], labels, sides)
    return {"speakers_from": source, **found}


def _averaged(models, trial_file, enroll_mean):
    """What is to be told of a list's averaged enrolments; None if it has none."""
    sizes = [len(ids) for ids in parts_of(models, trial_file).values()]
    return {"enrolments": len(sizes), "least": min(sizes), "most": max(sizes), "mean": enroll_mean} if sizes else None


def _add_categories(found, scores, labels, sides):
    """Put the EERs by category into ``found``, the evaluation of one list; sides: from ``categories_of``."""
    found["categories"] = {}
    for name, (enroll, test) in sides.items():
        found["categories"][name], rates = by_category(scores, labels, enroll, test)
        for system, rate in zip(found["systems"], rates):
            system.setdefault("eer_by", {})[name] = rate


def speakers_behind(trials, speaker_of, trial_file, models=""):
    """Integers (enroll (n,), test (n,)) that name the speakers of ``Trials``, and how they were found.

    speaker_of: dict id -> speaker, or None: ids that target trials tie together are one speaker's; models: see
    ``trial_categories.parts_of``: an enrolment that is no utterance is of its utterances' speaker. Raises ``InputError``
    naming an id that has none.
    """
    if speaker_of is None:
        return speakers_from_targets(*trials), "told apart by the target trials"
    parts = parts_of(models, trial_file)
    number = {speaker: i for i, speaker in enumerate(dict.fromkeys(speaker_of.values()))}
    sides = []
    for side, made_of in ((trials.enroll, parts), (trials.test, {})):
        known = {key: _speaker(key, speaker_of, made_of, trial_file) for key in dict.fromkeys(side)}
        sides.append([number[known[key]] for key in side])
    return sides, "from utt2spk"


def _speaker(key, speaker_of, made_of, trial_file):
    """The speaker of an id, or of the first of the utterances that it is made of."""
    for name in (key, *made_of.get(key, ())[:1]):
        if name in speaker_of:
            return speaker_of[name]
    raise InputError(f"{trial_file}: '{key}' has no speaker in the --utt2spk given; give the evaluation set's, and for "
                     "enrolments that are averages --models")  # fmt: skip
