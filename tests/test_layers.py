"""The house as the documents describe it: imports point down, nothing lies about unused, the README's commands exist."""

import ast
import re
import subprocess
import sys

import pytest

from tests.conftest import ROOT

PACKAGE = ROOT / "wespk"
# a part may import what stands in a later line, and its neighbours as long as no circle comes of it
LAYERS = [
    {"bin"},
    {"training", "embedding", "scoring", "corpora"},
    {"data"},
    {"models", "losses", "metrics", "features", "augment"},
    {"io"},
    {"utils"},
]
LEVEL = {part: level for level, parts in enumerate(LAYERS) for part in parts}
TENSORS_ONLY = LAYERS[3]
DOCUMENTS = sorted([ROOT / "README.md", *(ROOT / "egs").rglob("README.md")])
BARRED_FROM_TENSORS_ONLY = {"wespk.io", "wespk.utils.config", "wespk.utils.dist", "wespk.utils.log"}


def module_name(path):
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    return name.removesuffix(".__init__")


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def imports(path):
    """Names of the modules that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: relative import"
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def within(path):
    """Those of the file's imports that are modules of the package."""
    return {name for name in imports(path) if name in MODULES and name != "wespk"}


def part_of(module):
    return module.split(".")[1]


def test_every_part_has_its_layer():
    assert {path.name for path in PACKAGE.iterdir() if path.is_dir()} - {"conf", "__pycache__"} == set(LEVEL)


@pytest.mark.parametrize("module", [name for name in MODULES if name != "wespk"])
def test_imports_point_down(module):
    part, path = part_of(module), MODULES[module]
    for other in within(path):
        assert LEVEL[part_of(other)] >= LEVEL[part], f"{module} imports {other}, which stands above it"
    if part in TENSORS_ONLY:
        barred = {n for n in within(path) if any(f"{n}.".startswith(f"{b}.") for b in BARRED_FROM_TENSORS_ONLY)}
        assert not barred, f"{module} takes tensors and returns them, but imports {barred}"
    if part != "bin":
        assert not any(name.startswith("wespk.bin") for name in imports(path)), "entry points are imported by nothing"
    if module != "wespk.io.ark":
        assert "kaldiio" not in imports(path), "kaldiio is for wespk.io.ark alone"


def circle(edges):
    """A list of names that import one another in a circle; empty without one."""
    done, trail = set(), []

    def visit(name):
        if name in trail:
            return trail[trail.index(name):] + [name]
        if name not in done:
            trail.append(name)
            for other in sorted(edges[name]):
                found = visit(other)
                if found:
                    return found
            trail.pop()
            done.add(name)
        return []

    return next(filter(None, map(visit, sorted(edges))), [])


def test_no_parts_import_each_other_in_a_circle():
    parts = {part: set() for part in LEVEL}
    for module, path in MODULES.items():
        if module != "wespk":
            parts[part_of(module)] |= {part_of(other) for other in within(path)} - {part_of(module)}
    assert circle(parts) == []
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]


def test_no_module_is_left_unused():
    """Every module is imported by another, entered in a registry when its package loads, or named in a document."""
    tools = [path for path in (ROOT / "tools").rglob("*.py") if "venv" not in path.parts]
    used = set().union(*map(imports, [*MODULES.values(), *tools]))
    for document in DOCUMENTS:
        used |= set(re.findall(r"wespk(?:\.\w+)+", document.read_text(encoding="utf-8")))
    for module, path in MODULES.items():
        if path.name != "__init__.py" and part_of(module) != "bin" and module not in used:
            assert re.search(r"^@\w+\.register\(|^@register", path.read_text(), re.MULTILINE), f"nothing uses {module}"


def test_no_tool_is_left_unused():
    scripts = [path for folder in ("tools", "egs", "tests") for path in (ROOT / folder).rglob("*.[sp][hy]")]
    texts = [path.read_text() for path in scripts if "venv" not in path.parts]
    texts += [(ROOT / "README.md").read_text(), (ROOT / ".ci" / "run").read_text()]
    for path in (ROOT / "tools").iterdir():
        if path.is_file() and path.suffix in (".sh", ".py"):
            assert sum(path.name in text for text in texts) > (path.name in path.read_text()), f"nothing uses {path}"


def test_entry_points_start_without_torch():
    """--help must come at once, so an entry point imports heavy packages only when it runs."""
    names = [name for name in MODULES if name.startswith("wespk.bin.")]
    assert len(names) >= 12
    code = f"import sys\nfor name in {names}:\n    __import__(name)\n"
    code += "print([m for m in ('torch', 'numpy', 'scipy', 'matplotlib', 'soundfile', 'kaldiio') if m in sys.modules])"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "[]"


@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
def test_commands_in_the_documents_exist(document):
    text = document.read_text(encoding="utf-8")
    for module in re.findall(r"python -m (wespk[\w.]*\w)", text):
        assert module in MODULES, module
    for script in re.findall(r"bash ([\w./-]+\.sh)", text):
        assert (ROOT / script).is_file() or (document.parent / script).is_file() or script == "run.sh", script
    known = re.findall(r"^ *--([a-z0-9-]+) ", (ROOT / "tools" / "stages.sh").read_text(), re.MULTILINE)
    assert "stop-stage" in known
    known.append("help")
    for line in re.findall(r"^.*bash \S*run\.sh.*(?:\\\n.*)*", text, re.MULTILINE):
        if "tests/run.sh" not in line:
            for option in re.findall(r"(?<=\s)--([a-z0-9-]+)", line.split("  #")[0]):
                assert option in known, f"{document}: run.sh has no --{option}"
