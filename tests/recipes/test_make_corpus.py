"""egs/mini/make_corpus.sh: a signal for the script reaches the synthesis."""

import shutil
import subprocess

from tests.conftest import ROOT


def test_the_synthesis_takes_the_place_of_the_script(tmp_path):
    recipe, tools = tmp_path / "egs" / "mini", tmp_path / "tools"
    recipe.mkdir(parents=True)
    tools.mkdir()
    shutil.copy(ROOT / "egs" / "mini" / "make_corpus.sh", recipe)
    (tools / "setup.sh").write_text("")
    (tools / "path.sh").write_text(f"PATH='{tools}':$PATH\n")
    (tools / "python").write_text('#!/bin/sh\necho "$$ $*"\n')
    (tools / "python").chmod(0o755)
    process = subprocess.Popen(["bash", recipe / "make_corpus.sh"], stdout=subprocess.PIPE, text=True)
    said, _ = process.communicate(timeout=60)
    assert said == f"{process.pid} -m wespk.bin.make_synthetic --out {recipe}/corpus\n"
