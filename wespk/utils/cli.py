"""Command lines for the entry points: python-fire for the parsing, with its guesses taken away.

``main(function)`` turns a function with keyword parameters into a command. Values are converted by the annotation (str,
int, float, bool, or ``X | None``), never guessed from their looks; an unknown, repeated or valueless option stops the
command before it does anything; ``--help`` prints the docstring's ``Args:`` with each default.
"""

import inspect
import os
import signal
import sys
import threading
import typing
from contextlib import contextmanager

from wespk.utils.errors import InputError
from wespk.utils.registry import nearest

USAGE_ERROR = 2
INPUT_ERROR = 1
STOPPED = 143  # 128 + SIGTERM, as shells count
_TRUE = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def listed(text):
    """What an option lists, separated by commas: list of str, empty for an empty text."""
    return [word for word in text.split(",") if word]


def _spelt(name):
    """An option's name as messages and --help write it, with dashes; underscores are taken as well."""
    return name.replace("_", "-")


def _convert(name, text, kind):
    kinds = typing.get_args(kind) or (kind,)
    if type(None) in kinds and text.lower() in ("none", ""):
        return None
    kind = next(k for k in kinds if k is not type(None))
    try:
        if kind is bool:
            return _TRUE[text.lower()]
        return kind(text)
    except (ValueError, KeyError):
        word = {bool: "true or false", int: "an integer", float: "a number"}.get(kind, kind.__name__)
        raise InputError(f"--{_spelt(name)} takes {word}, not '{text}'") from None


def _help(function, parameters, program):
    first, _, rest = inspect.getdoc(function).partition("\nArgs:\n")
    command = f"-m {program}" if "." in program else sys.argv[0]  # a module of the package, or a file of tools
    lines = [first.rstrip(), "", f"usage: python {command} --option value ...", "", "options:"]
    meaning, current = {}, None
    for line in rest.splitlines():
        word, colon, text = line.strip().partition(": ")
        if colon and word in parameters:
            current, meaning[word] = word, text
        elif current and line.strip():
            meaning[current] += " " + line.strip()
    for name, p in parameters.items():
        default = "required" if p.default is p.empty else f"default: {p.default if p.default not in ('', None) else 'none'}"
        lines.append(f"  --{_spelt(name)}  {meaning.get(name, '')} ({default})")
    return "\n".join(lines)


def _check_words(words, parameters):
    """Refuse what fire would let through: positional words, repeats, options without a value, unknown names."""
    seen, i = set(), 0
    while i < len(words):
        word = words[i]
        if not word.startswith("--") or word == "--":
            raise InputError(f"unexpected word '{word}'; options are given as --name value")
        name, equals, _ = word[2:].partition("=")
        name = name.replace("-", "_")
        if name not in parameters:
            raise InputError(f"unknown option --{_spelt(name)}{nearest(_spelt(name), map(_spelt, parameters))}")
        if name in seen:
            raise InputError(f"option --{_spelt(name)} is given twice")
        seen.add(name)
        if not equals:
            if i + 1 >= len(words) or words[i + 1].startswith("--"):
                raise InputError(f"option --{_spelt(name)} needs a value")
            i += 1
        i += 1
    for name, p in parameters.items():
        if p.default is p.empty and name not in seen:
            raise InputError(f"option --{_spelt(name)} is required (--help lists all)")


def parse(function, words, program):
    """Bind command-line ``words`` to ``function``'s parameters; returns the keyword arguments, converted.

    Raises ``InputError`` on anything that does not fit, ``SystemExit(0)`` after printing help.
    """
    parameters = inspect.signature(function).parameters
    if any(w in ("--help", "-h") for w in words):
        print(_help(function, parameters, program))
        raise SystemExit(0)
    _check_words(words, parameters)

    import fire
    from fire.decorators import SetParseFn

    bound = {}

    @SetParseFn(str)
    def collect(**options):
        bound.update(options)

    # each value is glued to its option so that fire cannot take "-" or "-5" for something else
    glued, i = [], 0
    while i < len(words):
        if "=" in words[i].split(" ")[0]:
            glued.append(words[i])
            i += 1
        else:
            glued.append(f"{words[i]}={words[i + 1]}")
            i += 2
    fire.Fire(collect, command=glued, name=program)
    hints = typing.get_type_hints(function)
    return {name.replace("-", "_"): _convert(name, text, hints.get(name, str)) for name, text in bound.items()}


@contextmanager
def _ending_on_sigterm():
    """Let SIGTERM end the block by ``SystemExit``, so that unfinished files are removed on the way out.

    Without it the system ends the process on the spot. A handler that somebody set, or a SIGTERM that is ignored, stays.
    """
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return

    def stop(number, _):
        signal.signal(number, signal.SIG_IGN)  # a second one must not cut the clearing up short
        os.write(2, b"stopped by SIGTERM\n")
        raise SystemExit(STOPPED)

    signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def main(function, words=None):
    """Run ``function`` as a command: parse, call, and turn bad input into one line on stderr and a non-zero exit.

    Exit status: 0 done; 2 the command line is wrong; 1 the input is bad or the work failed; 143 stopped by SIGTERM.
    """
    words = sys.argv[1:] if words is None else list(words)
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    program = spec.name if spec else function.__name__
    try:
        options = parse(function, words, program)
    except InputError as error:
        print(f"{program}: error: {error}", file=sys.stderr)
        raise SystemExit(USAGE_ERROR) from None
    try:
        with _ending_on_sigterm():
            function(**options)
    except InputError as error:
        print(f"{program}: error: {error}", file=sys.stderr)
        raise SystemExit(INPUT_ERROR) from None
    except OSError as error:
        # a full disk, a missing permission, an unreadable mount: the system's own words and the path say it best
        print(f"{program}: error: {error}", file=sys.stderr)
        raise SystemExit(INPUT_ERROR) from None
