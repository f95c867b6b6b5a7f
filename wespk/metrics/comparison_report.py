"""A comparison of systems (see ``scoring.comparison``) as Markdown, as a table for programs, and as charts."""

import re

from wespk.metrics.overlap import BINS, FULL_BINS
from wespk.metrics.plots import curves_png, levels_png
from wespk.metrics.report import FEW_SPEAKERS, markdown_table, show, title_of

SIGNIFICANT = 0.05
OF_DIFFERENCE = ("difference", "difference_low", "difference_high", "p", "p_holm")
COLUMNS = ("list", "scores", "level", "system", "label", "measure", "mean", "sd", "low", "high", "reference",
           *OF_DIFFERENCE, "tuned_from", *(f"tuned_{name}" for name in OF_DIFFERENCE), "seed_values")  # fmt: skip
CURVES = "curves.png"
HEADINGS = {"versus": "Differences from the baseline", "fine_tuning": "What fine-tuning did"}


# --- Markdown ---------------------------------------------------------------------------------------------------------
def markdown(comparison):
    """The contents of COMPARISON.md."""
    parts = [f"# {comparison['title']}\n\n"]
    if comparison["missing"]:
        parts += ["**Not complete:**\n\n", *(f"- {line}\n" for line in comparison["missing"]), "\n"]
    for table in comparison["tables"]:
        parts.append(f"## {_title(table)}\n\n{_trials(table)}\n\n")
        if comparison["axis"]:
            for measure in table["measures"]:
                parts.append(f"{title_of(measure)}, by {comparison['axis']}:\n\n")
                parts += [markdown_table(*_by_level(table, measure)), "\n"]
        else:
            parts += [markdown_table(*_by_measure(table)), "\n"]
        for family, heading in HEADINGS.items():
            rows = difference_rows(table, comparison["axis"], family)
            if rows:
                parts += [f"{heading}:\n\n", markdown_table(_difference_header(comparison, table), rows), "\n"]
    parts += [f"- {line}\n" for line in notes(comparison)]
    if comparison.get("curves"):
        names = ", ".join(panel["figure"] for panel in comparison["curves"])
        band = "; the mean over seeds, with a band of one standard deviation to either side" * (len(comparison["seeds"]) > 1)
        parts.append(f"\n## Training\n\n![{names}]({CURVES})\n\nOver the epochs of those systems that have them{band}.\n")
    return "".join(parts)


def _title(table):
    return f"{table['trials']}: {table['scores']}"


def _trials(table):
    text = f"{table['num_targets']} target and {table['num_nontargets']} nontarget trials"
    if table["num_speakers"]:
        text += f" of {table['num_speakers']} speakers"
        if table["num_speakers"] < FEW_SPEAKERS:
            text += f"; with fewer than {FEW_SPEAKERS} speakers the intervals and tests are not to be trusted"
    return text + "."


def _by_measure(table):
    """Header and rows of a table without a second axis."""
    rows = [[system["label"], *(_cell(name, system["measures"][name]) for name in table["measures"])]
            for system in table["levels"][0]["systems"]]  # fmt: skip
    return ["system", *map(title_of, table["measures"])], rows


def _by_level(table, measure):
    """Header and rows with the levels as columns, for one measure."""
    labels = {system["system"]: system["label"] for level in table["levels"] for system in level["systems"]}
    columns = [{s["system"]: s["measures"][measure] for s in level["systems"]} for level in table["levels"]]
    rows = [[label, *(_cell(measure, column[name]) if name in column else "-" for column in columns)]
            for name, label in labels.items()]  # fmt: skip
    return ["system", *(level["label"] for level in table["levels"])], rows


def _cell(measure, entry):
    mean = show(measure, entry["mean"])
    text = f"**{mean}**" if is_better(entry) else mean
    if entry["sd"] is not None:
        text += f" ± {show(measure, entry['sd'])}"
    if entry["interval"]:
        text += " [{}, {}]".format(*(show(measure, end) for end in entry["interval"]))
    return text


def is_better(entry):
    """Whether a measure is better than its reference's beyond doubt: lower, with a corrected p below 0.05."""
    versus = entry["versus"]
    return bool(versus) and versus["p_holm"] < SIGNIFICANT and versus["difference"] < 0


def _difference_header(comparison, table):
    axis = [comparison["axis"]] if comparison["axis"] else []
    return ["system", "reference", *axis, *map(title_of, table["measures"])]


def difference_rows(table, axis, family="versus"):
    """One row for each system and level that a family of tests ("versus", "fine_tuning") has."""
    rows = []
    for level in table["levels"]:
        for system in level["systems"]:
            entries = [(name, system["measures"][name][family]) for name in table["measures"]]
            if all(versus for _, versus in entries):
                where = [level["label"]] if axis else []
                reference = f"minus {entries[0][1]['reference']}"
                rows.append([system["label"], reference, *where, *(_difference(*entry) for entry in entries)])
    return rows


def _difference(measure, versus):
    ends = ", ".join(show(measure, end, signed=True) for end in versus["interval"])
    text = f"{show(measure, versus['difference'], signed=True)} [{ends}], p {versus['p']:.3f} ({versus['p_holm']:.3f})"
    return f"**{text}**" if versus["p_holm"] < SIGNIFICANT else text


def notes(comparison):
    """What a reader must know about the tables: a list of paragraphs."""
    boot, seeds = comparison["bootstrap"], comparison["seeds"]
    by_scores = comparison["judged"] == "scores"
    varies = "of the speakers " if by_scores else ""
    many = "seeds" if len(seeds) > 1 else "seed"
    first = f"Mean ± standard deviation over {len(seeds)} {many} ({', '.join(map(str, seeds))})."
    lines = [first]
    if not by_scores:
        lines[-1] += f" Each figure is the {comparison['judged']} on the held-out training speakers."
    if len(seeds) > 1:
        what = "which speakers the list holds and which seeds were drawn"
        if not by_scores:
            what = "which seeds were drawn, not for which speakers were held out"
        lines.append(
            f"In brackets: 95 % intervals that allow for {what} ({boot['resamples']} draws {varies}and of Student's t "
            f"for the seeds, n - 1 degrees of freedom; bootstrap seed {boot['seed']})."
        )
    elif by_scores:
        lines.append(
            f"In brackets: 95 % intervals from {boot['resamples']} draws of the speakers (bootstrap seed {boot['seed']}). "
            "They and the tests say nothing of another training of the same systems: there is one seed."
        )
    else:
        lines.append("No intervals and no tests: there is one seed.")
    if any(entry["versus"] or entry["fine_tuning"] for _, _, _, entry in _entries(comparison)):
        lines += _notes_on_tests(comparison)
    lines += comparison.get("notes", [])
    lines.append("EER in %, standard deviations and differences of it in points; minDCF normalised, both costs 1.")
    if any("overlap" in table["measures"] for table in comparison["tables"]):
        lines[-1] += (f" Overlap: the intersection of the histograms of target and nontarget scores in {BINS} equal bins from "
                      f"the least to the greatest score of the list; too low with fewer than {FULL_BINS * BINS} targets or nontargets, of all "
                      "systems of a list alike.")  # fmt: skip
    return lines


def _notes_on_tests(comparison):
    family = "list, kind of score, measure and level" if comparison["axis"] else "list, kind of score and measure"
    text = "Differences are paired by trial and by seed. p: two-sided; in parentheses corrected by Holm's method for the "
    text += f"rows of its table ({family} by itself). Bold: corrected p below {SIGNIFICANT}; among the means those that are "
    lines = [text + "below their reference's in the first of these tables. What is not bold is not shown to differ."]
    if any(entry["fine_tuning"] for _, _, _, entry in _entries(comparison)):
        lines.append(
            "The reference of a fine-tuned system is the fine-tuned baseline where that is there. What fine-tuning did is "
            "the same system after it minus before it, a family of tests of its own."
        )
    tests = _largest_family(comparison)
    draws = comparison["bootstrap"]["resamples"]
    if 2 * tests / (draws + 1) >= SIGNIFICANT:
        lines.append(f"With {draws} draws none of {tests} corrected p values can come below {SIGNIFICANT}: draw more (bootstrap).")
    return lines


def _largest_family(comparison):
    """The greatest number of tests that are corrected together."""
    return max(sum(bool(system["measures"][measure][family]) for system in level["systems"])
               for table in comparison["tables"] for level in table["levels"] for measure in table["measures"]
               for family in HEADINGS)  # fmt: skip


# --- for programs -----------------------------------------------------------------------------------------------------
def _entries(comparison):
    for table in comparison["tables"]:
        for level in table["levels"]:
            for system in level["systems"]:
                for measure in table["measures"]:
                    yield (table, level, (system, measure), system["measures"][measure])


def tsv(comparison):
    """The contents of comparison.tsv: one line for each list, kind, level, system and measure; rates are fractions."""
    lines = ["\t".join(COLUMNS)]
    for table, level, (system, measure), entry in _entries(comparison):
        cells = [table["trials"], table["scores"], level["level"] or "", system["system"], system["label"], measure]
        cells += _numbers([entry["mean"], entry["sd"], *_pair(entry["interval"])])
        cells += [*_of_difference(entry["versus"] or {}), *_of_difference(entry["fine_tuning"] or {})]
        cells.append(",".join(f"{value:.6g}" for value in entry["values"]))
        lines.append("\t".join(cells))
    return "\n".join(lines) + "\n"


def _of_difference(versus):
    numbers = [versus.get("difference"), *_pair(versus.get("interval")), versus.get("p"), versus.get("p_holm")]
    return [versus.get("reference", ""), *_numbers(numbers)]


def _numbers(numbers):
    return ["" if number is None else f"{number:.6g}" for number in numbers]


def _pair(interval):
    return interval or [None, None]


# --- charts -----------------------------------------------------------------------------------------------------------
def charts(comparison):
    """File name -> PNG bytes: the EER over the levels, for each table and each kind of level, and the training curves."""
    found = {CURVES: curves_png(comparison["curves"])} if comparison.get("curves") else {}
    if comparison["axis"]:
        for table in comparison["tables"]:
            for kind, levels in level_kinds(table["levels"]).items():
                name = "-".join(["eer", table["trials"], table["scores"], *([kind] if kind else [])])
                title = _title(table) + (f", {kind}" if kind else "")
                file = re.sub(r"[^A-Za-z0-9._+-]+", "_", name) + ".png"
                found[file] = levels_png(_lines(levels), comparison["axis"], title)
    return found


def level_kinds(levels):
    """Group levels for charts: kind -> [(x, level)], x a number, or the level's label where they are not numbers.

    Levels called "NUMBER" and "KIND NUMBER" make a chart for each kind, with those without a kind in all of them; other
    names make one chart with the levels side by side.
    """
    parsed = [re.fullmatch(r"(?:(.*) )?(\d+(?:\.\d+)?)", level["level"]) for level in levels]
    if not all(parsed):
        return {"": [(level["label"], level) for level in levels]}
    kinds = [kind for kind in dict.fromkeys(match[1] for match in parsed) if kind] or [""]
    return {
        kind: sorted(((float(match[2]), level) for match, level in zip(parsed, levels) if match[1] in (None, kind)),
                     key=lambda point: point[0])
        for kind in kinds
    }  # fmt: skip


def _lines(levels):
    lines = {}
    for x, level in levels:
        for system in level["systems"]:
            entry = system["measures"]["eer"]
            point = (x, entry["mean"], *(entry["interval"] or [entry["mean"]] * 2))
            lines.setdefault(system["label"], []).append(point)
    return lines
