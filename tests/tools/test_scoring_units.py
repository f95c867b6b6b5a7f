"""tools/stages/units.sh and tools/submit/share_of.sh: scores by array jobs are those of one process a list."""

import os
import subprocess
import sys

import numpy as np
import pytest

from tests.conftest import ROOT
from wespk.bin.score_cosine import score_cosine
from wespk.bin.score_norm import score_norm
from wespk.io.ark import ArkWriter

SHARE = ROOT / "tools" / "submit" / "share_of.sh"
# two units, as stages 5 and 6 have them, to the folder $home
SCRIPT = f"""
set -euo pipefail
export WESPK_ROOT='{ROOT}' PATH="$(dirname "$PYTHON"):$PATH"
home=$1 cmd=$2 nj=$3 threads=1
cd "$4"
run() {{ "$@"; }}
. "$WESPK_ROOT/tools/cmd.sh"
. "$WESPK_ROOT/tools/stages/units.sh"
vectors=(--embeddings "x vector.scp" --mean-embeddings "x vector.scp")
add_unit python -m wespk.bin.score_cosine --trials "list A" --out "$home/A.cosine" "${{vectors[@]}}"
add_unit python -m wespk.bin.score_norm --scores scores --out "$home/B.asnorm" "${{vectors[@]}}" --cohort-scp cohort.scp --top-n 900
run_units scoring
"""


def dealt(job, jobs, *words):
    done = subprocess.run(["bash", SHARE, str(job), str(jobs), *words], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout.splitlines()


def test_each_command_is_one_jobs_and_gets_its_arguments_as_they_are():
    words = ["printf", "%s,", "a b", "", "$c\n", ":::", "echo", "2", ":::", "echo", "3", ":::", "echo", "4"]
    assert dealt(1, 1, *words) == (0, ["a b,,$c", ",2", "3", "4"])
    assert [dealt(job, 3, *words)[1] for job in (1, 2, 3)] == [["a b,,$c", ",4"], ["2"], ["3"]]


def test_a_command_that_fails_ends_its_job_with_its_status():
    words = ["echo", "1", ":::", "bash", "-c", "exit 7", ":::", "echo", "3"]
    assert dealt(1, 1, *words) == (7, ["1"])
    assert dealt(1, 2, *words) == (0, ["1", "3"])


@pytest.fixture(scope="module")
def lists(tmp_path_factory):
    """A folder with embeddings, a cohort, a trial list and scores, and by_hand/ with what one process a list makes."""
    folder, random = tmp_path_factory.mktemp("some lists"), np.random.default_rng(0)
    for name, speaker, number in (("x vector", "s", 300), ("cohort", "c", 700)):
        with ArkWriter(folder / f"{name}.ark", folder / f"{name}.scp") as ark:
            for i in range(number):
                ark.write(f"{speaker}{i:03d}-u", random.normal(size=48).astype(np.float32) + 1)
    pairs = random.integers(0, 300, (2500, 2))
    (folder / "list A").write_text("".join(f"s{a:03d}-u s{b:03d}-u\n" for a, b in pairs))
    (folder / "scores").write_text("".join(f"s{a:03d}-u s{b:03d}-u {(a - b) / 300:.3f}\n" for a, b in pairs))
    vectors = {"embeddings": folder / "x vector.scp", "mean_embeddings": folder / "x vector.scp"}
    score_cosine(folder / "list A", out=folder / "by_hand/A.cosine", **vectors)
    score_norm(folder / "scores", out=folder / "by_hand/B.asnorm", **vectors, cohort_scp=folder / "cohort.scp", top_n=900)
    return folder


def scored(lists, cmd, nj, environment=None):
    """Name -> contents of what the jobs make; the words they say; the number of logs."""
    home = lists / f"{cmd} {nj}"
    env = {**(environment or os.environ), "PYTHON": sys.executable}
    line = ["bash", "-c", SCRIPT, "units", home, cmd, str(nj), lists]
    done = subprocess.run(line, capture_output=True, text=True, env=env, check=False)
    assert done.returncode == 0, done.stderr
    files = {path.name: path.read_bytes() for path in home.iterdir() if path.is_file()}
    return files, done.stdout.splitlines(), len(list((home / "log").glob("scoring.*.log")))


@pytest.mark.parametrize("nj, jobs", [(1, 1), (3, 2)])
def test_any_number_of_jobs_makes_the_scores_of_one_process_a_list_and_their_warnings_are_heard(lists, nj, jobs):
    files, said, logs = scored(lists, "local", nj)
    assert logs == jobs
    assert files == {path.name: path.read_bytes() for path in (lists / "by_hand").iterdir()}
    assert said[0] == f"{lists}/local {nj}/A.cosine: 2500 trials scored" and len(said) == 3
    assert "--top-n 900 is above the cohort's size: all 700 are used" in said[1]


@pytest.mark.slow
def test_a_scheduler_makes_them_too(lists, slurm):
    files, _, logs = scored(lists, "slurm", 2, slurm.environment)
    assert logs == 2 and files == {path.name: path.read_bytes() for path in (lists / "by_hand").iterdir()}
