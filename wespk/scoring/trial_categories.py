"""The categories of both sides of trials, out of tables such as ``utt2genre``."""

from pathlib import Path

from wespk.io.tables import read_spk2utt, read_table
from wespk.metrics.categories import JOINS, category
from wespk.utils.errors import InputError

_BEFORE = "utt2"


def read_categories(paths):
    """Tables named utt2CATEGORY: {category: (path, {id: value})}. Raises ``InputError`` for other and for equal names."""
    tables = {}
    for path in paths:
        name = Path(path).name.removeprefix(_BEFORE)
        if not name or not Path(path).name.startswith(_BEFORE):
            raise InputError(f"--categories {path}: a table of categories is named after them, such as utt2genre; rename it")
        if name in tables:
            raise InputError(f"--categories: {tables[name][0]} and {path} are two tables of one name; give one")
        tables[name] = path, read_table(path)
    return tables


def parts_of(models, trial_file):
    """{enrolment: utterances that it is the average of} of a trial list, by the table of its name in the folder ``models``.

    Without such a table, and for the folder "", {}.
    """
    path = Path(models) / Path(trial_file).name
    return read_spk2utt(path) if models and path.is_file() else {}


def categories_of(tables, trials, trial_file, models=""):
    """{category: (of the enrolments (n,), of the tests (n,))} of ``Trials``, lists of strings.

    tables: from ``read_categories``; trial_file: path of the list; models: see ``parts_of``: an enrolment that a table of
    categories lacks has all the categories of its utterances. Raises ``InputError`` naming an id that has none.
    """
    parts, found = parts_of(models, trial_file), {}
    for name, (source, table) in tables.items():
        here = {}
        for key in dict.fromkeys([*trials.enroll, *trials.test]):
            values = [table.get(part) for part in ([key] if key in table else parts.get(key, [key]))]
            if None in values:
                raise InputError(f"{trial_file}: '{key}' is not in {source}; complete it, or leave --categories out")
            here[key] = category(JOINS.join(values))
        found[name] = [here[key] for key in trials.enroll], [here[key] for key in trials.test]
    return found
