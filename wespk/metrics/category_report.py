"""The sections "EER by CATEGORY" of a report: tables and heat maps of what ``wespk.metrics.categories`` measured.

They are there when a trial list of ``metrics.json`` has an entry "categories".
"""

from wespk.metrics.categories import ALL, SEVERAL
from wespk.metrics.plots import heat_png


def sections(results):
    """A list of (category, sentences, [(header, rows)]): the tables of all lists and systems for each category."""
    return [(name, _sentences(name, lists), [table for trials in lists for table in _tables(name, trials)])
            for name, lists in _by_name(results).items()]


def heat_maps(results):
    """{category: PNG bytes}, one panel for each list and system."""
    maps = {}
    for name, lists in _by_name(results).items():
        panels = [{"title": f"{trials['name']}  {system['name']}", "rows": trials["categories"][name]["enroll"],
                   "columns": trials["categories"][name]["test"], "values": system["eer_by"][name]}
                  for trials in lists for system in trials["systems"]]  # fmt: skip
        maps[name] = heat_png(panels, f"{name} of the enrolment", f"{name} of the test")
    return maps


def title_of(name):
    """The heading of a category's section."""
    return f"EER by {name}"


def _by_name(results):
    """{category: the trial lists that have it}."""
    found = {}
    for trials in results["lists"]:
        for name in trials.get("categories", ()):
            found.setdefault(name, []).append(trials)
    return found


def _sentences(name, lists):
    cells = [pair for trials in lists for pair in _inner(trials["categories"][name])]
    least = lists[0]["categories"][name]["least"]
    empty = sum(min(pair) < least for pair in cells)
    without = sum(pair[0] == 0 for pair in cells)
    about = f"EER in percent, the enrolment's {name} down, the test's across; {ALL} is all of them together. Each cell has a "
    lines = [f"{about}threshold of its own."]
    lines.append(f"A cell with fewer than {least} target or {least} nontarget trials is left empty: {empty} of {len(cells)} "
                 f"in these lists, {without} of them without any target. Cells have no intervals; of t targets each is worth "
                 "100/t %.")
    if any(SEVERAL in trials["categories"][name]["enroll"] + trials["categories"][name]["test"] for trials in lists):
        lines.append(f"{SEVERAL}: made of utterances of different {name}s; these count there and in {ALL} alone.")
    return lines


def _inner(table):
    """(targets, nontargets) of each cell, without those of ``ALL``."""
    for targets, nontargets in zip(table["targets"][:-1], table["nontargets"][:-1]):
        yield from zip(targets[:-1], nontargets[:-1])


def _tables(name, trials):
    about = trials["categories"][name]
    for system in trials["systems"]:
        rows = [[row, *("" if rate is None else f"{100 * rate:.2f}" for rate in rates)]
                for row, rates in zip(about["enroll"], system["eer_by"][name])]  # fmt: skip
        yield [f"{trials['name']} {system['name']}", *about["test"]], rows
    rows = [[row, *(f"{a} / {b}" for a, b in zip(*counts))]
            for row, *counts in zip(about["enroll"], about["targets"], about["nontargets"])]  # fmt: skip
    yield [f"{trials['name']} targets / nontargets", *about["test"]], rows
