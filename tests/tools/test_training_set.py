"""Stages 4 to 8 take an experiment only with the data that it was trained on; entry points are fakes."""

import subprocess

import pytest

from tests.conftest import ROOT
from tests.tools.staged_recipe import CURRENT, Stages


def test_the_experiment_of_another_recipe_is_left_as_it_is(tmp_path):
    owner, other = Stages(tmp_path / "a JOB"), Stages(tmp_path / "other")
    owner.run("--stop-stage", 4)
    other.run("--stop-stage", 2, text="of the other recipe")
    files = {path: path.stat().st_mtime_ns for path in owner.exp.rglob("*")}
    for words in (("--stage", 4, "--force", "true"), ("--stage", 8, "--lm-overlay", other.folder / "conf/plain.yaml"),
                  ("--stage", 5, "--dry-run")):  # fmt: skip
        status, said, errors = other.run("--exp", owner.exp, *words, check=False)
        assert (status, said, other.calls()) == (1, [], "")
        assert f"{owner.exp} was trained on {owner.data}/train, and here {other.data}/train would be taken for" in errors
        assert f"or give --data {owner.data}, with --eval-data DIR" in errors
    assert {path: path.stat().st_mtime_ns for path in owner.exp.rglob("*")} == files
    assert CURRENT.format(4) in other.only(4, "--exp", owner.exp, "--data", owner.data)[1]


TAKEN, NOTED = "", "taken for the same (stage 3 would make sure and note it)"


@pytest.mark.parametrize("trained_on, given, exp, says", [
    ("data/train", "", "recipe/exp/a", TAKEN), ("data/train_aug", "", "recipe/exp/a", TAKEN),
    ("data/../data/train", "", "other/exp/a", TAKEN), ("link/train", "", "other/exp/a", TAKEN),
    ("link/train_aug", "", "other/exp/a", TAKEN),  # removed meanwhile, as copies are large
    ("elsewhere/train", "", "recipe/exp/a", "if ROOT/data is a copy, first --stage 3 --stop-stage 3"),
    ("elsewhere/train", "data", "recipe/exp/a", "or give --data ROOT/elsewhere,"),
    ("gone/train", "", "recipe/exp/a", NOTED), ("gone/train", "data", "other/exp/a", NOTED),
    ("gone/train", "", "other/exp/a", "say by --data where its data folder lies now"),
])  # fmt: skip
def test_the_data_are_those_of_the_training_by_their_real_path_or_may_have_moved(tmp_path, trained_on, given, exp, says):
    for name in ("data/train", "elsewhere/train"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "link").symlink_to("data")
    script = (f"set -eu; . '{ROOT}/tools/stages/configuration.sh'; die() {{ echo \"$1\"; exit 1; }}; say() {{ echo \"$1\"; }}; "
              f"training_data() {{ echo T; }}; data=$PWD/data recipe=$PWD/recipe exp=$PWD/{exp} given=' {given} '; "
              f"trained_on=$PWD/{trained_on}; check_training_set")  # fmt: skip
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.stderr == "" and done.returncode == (says not in (TAKEN, NOTED))
    assert says.replace("ROOT", str(tmp_path)) in done.stdout and bool(done.stdout) == bool(says)
