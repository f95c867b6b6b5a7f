"""What the data-directory validator reports, and the reading of tables that goes on after a defect."""

from pathlib import Path
from typing import NamedTuple

from wespk.io.tables import split_line


class Defect(NamedTuple):
    """One thing that is wrong: where (file, line; line 0 is the file as a whole), with what, what, and the way out."""

    file: str
    line: int
    item: str
    message: str
    fix: str

    def __str__(self):
        place = f"{self.file}:{self.line}" if self.line else self.file
        item = f"'{self.item}' " if self.item else ""
        return f"{place}: {item}{self.message}; {self.fix}"


class Table:
    """A table with the line of every key: ``rows`` is a dict key -> (line, rest of the line)."""

    def __init__(self, path):
        self.path = str(path)
        self.rows = {}

    def __contains__(self, key):
        return key in self.rows

    def __iter__(self):
        return iter(self.rows)

    def __len__(self):
        return len(self.rows)

    def value(self, key):
        """The rest of the key's line."""
        return self.rows[key][1]

    def defect(self, key, message, fix):
        """A ``Defect`` at the key's line."""
        return Defect(self.path, self.rows[key][0], key, message, fix)


def scan_table(path, defects):
    """Read a table as far as it can be read; appends a ``Defect`` for each line that Kaldi's rules refuse.

    The rules: UTF-8, LF line ends, the last line ended, no blank line, a key and a value on each, keys unique and
    sorted by byte (LC_ALL=C). Returns a ``Table`` of the lines that are entries.
    """
    table = Table(path)
    lines = Path(path).read_bytes().split(b"\n")
    if lines == [b""]:
        defects.append(Defect(table.path, 0, "", "is empty", "run the stage that writes it again"))
        return table
    if lines[-1]:
        message = "the last line has no newline, as in a file cut short"
        defects.append(Defect(table.path, len(lines), "", message, "write it again, or add the newline"))
    else:
        lines.pop()
    last = None
    for number, line in enumerate(lines, start=1):
        key = _enter(table, number, line, defects)
        if key is not None:
            if last is not None and key < last:
                message = f"comes after '{last}': not sorted"
                defects.append(Defect(table.path, number, key, message, f"LC_ALL=C sort -o {path} {path}"))
            last = key
    first = next((number for number, line in enumerate(lines, start=1) if line.endswith(b"\r")), None)
    if first is not None:
        fix = f"sed -i 's/\\r$//' {path}"
        defects.append(Defect(table.path, first, "", "CRLF line end, which Kaldi's tools take for text", fix))
    return table


def _enter(table, number, line, defects):
    """Put one line into the table, or a defect on the list; returns its key, None if it has none."""

    def complain(item, message, fix):
        defects.append(Defect(table.path, number, item, message, fix))

    try:
        fields = split_line(line.decode("utf-8").rstrip("\r"), 1)
    except UnicodeDecodeError as error:
        complain("", f"byte 0x{line[error.start]:02x} is not UTF-8", "convert the file to UTF-8")
        return None
    if not fields:
        complain("", "blank line", "remove it")
        return None
    key = fields[0]
    if len(fields) == 1:
        complain(key, "has no value", "each line is a key, a space and a value")
    elif key in table:
        complain(key, f"is a duplicate of line {table.rows[key][0]}", "keep one of the two lines")
    else:
        table.rows[key] = (number, fields[1].rstrip())
    return key


def compare_keys(table, reference, defects, fix):
    """Report the keys that only one of two tables has."""
    for key in reference:
        if key not in table:
            defects.append(reference.defect(key, f"has no line in {Path(table.path).name}", fix))
    for key in table:
        if key not in reference:
            defects.append(table.defect(key, f"is not in {Path(reference.path).name}", fix))
