"""Results as text: a table, the notes that go with it, and the check against what was expected."""

import re

from wespk.metrics import bias_report, category_report
from wespk.metrics.overlap import BINS, FULL_BINS
from wespk.utils.errors import InputError
from wespk.utils.registry import nearest

FEW_SPEAKERS = 20
METRIC = re.compile(r"eer|overlap|cllr|min_cllr|(min|act)_dcf_(0\.\d+|\de-\d+)")
ALL_MET = "Every recorded value is within its range."


def rows_of(results):
    """All (list entry, system entry) pairs of the contents of ``metrics.json``."""
    return [(trials, system) for trials in results["lists"] for system in trials["systems"]]


def title_of(metric):
    """How a metric's name in ``metrics.json`` is printed: ``min_dcf_0.01`` -> ``minDCF(0.01)``."""
    kind, _, p_target = metric.rpartition("_")
    plain = {"eer": "EER %", "overlap": "overlap", "min_cllr": "min-Cllr", "cllr": "Cllr"}
    return plain.get(metric) or f"{ {'min_dcf': 'minDCF', 'act_dcf': 'actDCF'}[kind] }({p_target})"


def show(metric, value, signed=False):
    """A value as printed: EER in percent with 3 decimals, the others with 4."""
    sign = "+" if signed else ""
    return f"{100 * value:{sign}.3f}" if metric == "eer" else f"{value:{sign}.4f}"


def columns_of(results):
    """The metrics that any system has, in table order."""
    found = {name: None for _, system in rows_of(results) for name in system["metrics"]}
    kinds = ["eer", "min_dcf", "overlap", "min_cllr", "act_dcf", "cllr"]
    return sorted(found, key=lambda name: next(i for i, kind in enumerate(kinds) if name.startswith(kind)))


def result_rows(results, deviations=()):
    """Header and cells of the results table, as lists of strings. Deviating values carry a ``!``."""
    columns = columns_of(results)
    header = ["trials", "system", *map(title_of, columns)]
    flagged = {(d["trials"], d["system"], d["metric"]) for d in deviations}
    rows = []
    for trials, system in rows_of(results):
        cells = [trials["name"], system["name"]]
        for name in columns:
            cells.append(_cell(name, system["metrics"].get(name), (trials["name"], system["name"], name) in flagged))
        rows.append(cells)
    return header, rows


def _cell(name, measured, flagged):
    if measured is None:
        return "-"
    text = show(name, measured["value"]) + ("!" if flagged else "")
    if measured["interval"]:
        text += " [{}, {}]".format(*(show(name, end) for end in measured["interval"]))
    return text


def comparison_rows(results):
    """Header and cells of the paired comparisons; no rows when no list has two systems."""
    header = ["trials", "systems", "metric", "difference", "95 % interval", "p"]
    rows = []
    for trials in results["lists"]:
        for pair in trials["comparisons"]:
            for name, found in pair["metrics"].items():
                ends = "[{}, {}]".format(*(show(name, end, signed=True) for end in found["interval"]))
                systems = f"{pair['second']} minus {pair['first']}"
                cells = [trials["name"], systems, title_of(name), show(name, found["difference"], True), ends]
                rows.append([*cells, f"{found['p']:.3f}"])
    return header, rows


def notes(results):
    """What a reader must know about the table: a list of sentences."""
    lines = []
    for trials in results["lists"]:
        text = f"{trials['name']}: {trials['num_targets']} target and {trials['num_nontargets']} nontarget trials"
        if trials["num_speakers"]:
            text += f" of {trials['num_speakers']} speakers ({trials['speakers_from']})"
            if trials["num_speakers"] < FEW_SPEAKERS:
                text += f"; with fewer than {FEW_SPEAKERS} speakers the intervals are not to be trusted"
        lines.append(text + ".")
        if trials.get("averaged"):
            lines.append(_averages(trials["name"], trials["averaged"]))
    boot = results["bootstrap"]
    if boot:
        lines.append(
            f"In brackets: 95 % confidence intervals from {boot['resamples']} bootstrap resamples of the speakers "
            f"(seed {boot['seed']}). Those in metrics.json that take the trials for independent are too narrow."
        )
    lines.append(
        "EER: where the DET curve crosses miss = false alarm, ties decided by chance. minDCF: both costs 1, "
        "normalised, at the p_target in parentheses. Overlap: the intersection of the histograms of target and nontarget "
        f"scores in {BINS} equal bins from the least to the greatest score. min-Cllr, Cllr: in bits."
    )
    sparse = [t["name"] for t in results["lists"] if min(t["num_targets"], t["num_nontargets"]) < FULL_BINS * BINS]
    if sparse:
        lines.append(
            f"The overlap comes out too low with fewer than {FULL_BINS * BINS} targets or nontargets "
            f"({', '.join(sparse)})" + ("; its interval, which allows for that, may lie above it." if boot else ".")
        )
    if not all(system["llr"] for _, system in rows_of(results)):
        lines.append(
            "Scores that are not declared log-likelihood ratios have no actDCF and no Cllr: of raw cosines these would "
            "mean nothing."
        )
    return lines


def _averages(name, of):
    """How the enrolments of a list were made that are averages: results with another kind of mean are not comparable."""
    utterances = f"{of['least']} utterance{'s' * (of['least'] != 1)}"
    if of["most"] > of["least"]:
        utterances = f"{of['least']} to {of['most']} utterances"
    kind = {"normalised": "of their centred, length-normalised embeddings", "plain": "of their embeddings as they are"}
    what = "1 enrolment is an average" if of["enrolments"] == 1 else f"{of['enrolments']} enrolments are averages"
    return f"{name}: {what} over {utterances}: the mean {kind[of['mean']]}."


def check_expected(results, expected):
    """Compare with recorded ranges; a list of {"trials", "system", "metric", "value", "low", "high"} for those not met.

    expected: {trials: {system: {metric: [low, high]}}}, rates as fractions. What is expected but was not measured is
    listed with the value None. Raises ``InputError`` for an entry of another form.
    """
    measured = {(t["name"], s["name"], k): m["value"] for t, s in rows_of(results) for k, m in s["metrics"].items()}
    outside = []
    for key, (low, high) in _ranges(expected):
        value = measured.get(key)
        if value is None or not low <= value <= high:
            outside.append({**dict(zip(("trials", "system", "metric"), key)), "value": value, "low": low, "high": high})
    return outside


def _ranges(expected):
    for trials, systems in expected.items():
        for system, metrics in _mapping(systems, trials).items():
            for metric, ends in _mapping(metrics, f"{trials}: {system}").items():
                numbers = isinstance(ends, list) and len(ends) == 2 and all(type(end) in (int, float) for end in ends)
                if not numbers or not ends[0] <= ends[1]:
                    raise InputError(f"expected '{trials}: {system}: {metric}' must be [low, high], not {ends!r}")
                if not METRIC.fullmatch(str(metric)):
                    known = ["eer", "overlap", "cllr", "min_cllr", "min_dcf_0.01", "act_dcf_0.01"]
                    hint = nearest(metric, known)
                    raise InputError(f"expected '{trials}: {system}' has the unknown metric '{metric}'{hint}")
                yield (str(trials), str(system), metric), ends


def _mapping(value, name):
    if not isinstance(value, dict):
        raise InputError(f"expected '{name}' must hold entries (trials: system: metric: [low, high]), not {value!r}")
    return value


def deviation_lines(deviations):
    """One sentence for each deviation."""
    lines = []
    for d in deviations:
        found = "not measured" if d["value"] is None else show(d["metric"], d["value"])
        wanted = f"{show(d['metric'], d['low'])} to {show(d['metric'], d['high'])}"
        lines.append(f"{d['trials']} {d['system']}: {title_of(d['metric'])}: {found}; expected {wanted}.")
    return lines


def markdown_table(header, rows):
    """A Markdown table with aligned columns, readable as plain text too."""
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    lines = [header, ["-" * width for width in widths], *rows]
    return "".join("| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths)) + " |\n" for line in lines)


def markdown(results, title, deviations=None, about=""):
    """The contents of RESULTS.md. deviations: from ``check_expected``, None if nothing was recorded to compare with.

    about: text to stand under the title.
    """
    parts = [f"# Results: {title}\n\n", f"{about}\n\n" if about else ""]
    parts += [markdown_table(*result_rows(results, deviations or ())), "\n"]
    parts += [f"{line}\n" for line in notes(results)]
    if deviations is not None:
        parts.append("\n## Expected\n\n")
        parts += [f"- {line}\n" for line in deviation_lines(deviations) or [ALL_MET]]
    for name, sentences, tables in category_report.sections(results):
        parts += [f"\n## {category_report.title_of(name)}\n\n", *(f"{line}\n" for line in sentences)]
        parts += [text for table in tables for text in ("\n", markdown_table(*table))]
    for before, header, rows, after in bias_report.sections(results):
        parts += [f"\n## {bias_report.TITLE}\n\n", *(f"{line}\n" for line in before), "\n"]
        parts += [markdown_table(header, rows), "\n", *(f"- {line}\n" for line in after)]
    header, rows = comparison_rows(results)
    if rows:
        parts += ["\n## Paired comparison on the same resamples\n\n", markdown_table(header, rows)]
    return "".join(parts)
