"""What another number of epochs changes in a configuration."""

import pytest

from tools.fit_epochs import fit_epochs, told, words
from wespk.utils import config

LONG = "train.num_epochs=80 schedule.warmup_epochs=4 margin.start_epoch=20 margin.end_epoch=40 runtime.validate_every={}"
FITTED = ["train.num_epochs=1", "schedule.warmup_epochs=0.05", "margin.start_epoch=0.25", "margin.end_epoch=0.5"]


@pytest.mark.parametrize("every, extra", [(8, ["runtime.validate_every=1"]), (1, []), (0, [])])
def test_schedules_keep_their_proportions_and_the_last_epoch_is_validated(every, extra):
    assert words(config.load(sets=LONG.format(every)), 1) == FITTED + extra


@pytest.mark.parametrize("every, epochs, given, line", [
    (8, 1, "seed=3 runtime.log_every=2", "--x 1: runtime.validate_every is 1 in place of 8, or nothing would be validated\n"),
    (8, 8, "", ""), (0, 1, "", ""), (8, 1, "runtime.validate_every=0", ""),
])
def test_the_user_is_told_of_another_interval_of_validation_unless_he_sets_it(every, epochs, given, line):
    assert told(config.load(sets=LONG.format(every)), epochs, given, "--x") == line


def test_what_is_told_stays_out_of_the_words(tmp_path, capsys):
    (tmp_path / "long.yaml").write_text("train: {num_epochs: 80}\nruntime: {validate_every: 8}\n")
    fit_epochs(2, str(tmp_path / "long.yaml"))
    out, err = capsys.readouterr()
    assert out.split()[-1] == "runtime.validate_every=2" and len(out.splitlines()) == 1
    assert err == "--epochs 2: runtime.validate_every is 2 in place of 8, or nothing would be validated\n"
    fit_epochs(2, str(tmp_path / "long.yaml"), set="runtime.validate_every=1")
    assert capsys.readouterr().err == ""
