"""Print ``name==version`` of each package in this virtual environment that is not whole; nothing when all are.

An installation that was killed leaves packages whose files are missing, cut short, or not listed. pip takes such a
package for installed, so tools/setup.sh asks here.
"""

import sys
from importlib import metadata
from pathlib import Path


def whole(distribution):
    """True if every file that the package's RECORD lists exists with the recorded size (compiled caches aside)."""
    if distribution.files is None:
        return False
    for entry in distribution.files:
        if "__pycache__" in entry.parts:
            continue
        path = Path(distribution.locate_file(entry))
        if not path.is_file() or (entry.size is not None and path.stat().st_size != entry.size):
            return False
    return True


def main():
    prefix = Path(sys.prefix).resolve()
    for distribution in metadata.distributions():
        inside = prefix in Path(distribution.locate_file("")).resolve().parents
        if inside and not whole(distribution):
            print(f"{distribution.metadata['Name']}=={distribution.version}")


if __name__ == "__main__":
    main()
