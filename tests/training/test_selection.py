"""Figures of held-out utterances, without labels, and the choice of checkpoints by them."""

import json
import types

import numpy as np
import pytest
import torch

from tests.training.test_run import SETS, make_set
from wespk.bin.average_checkpoints import average_checkpoints
from wespk.io.tables import read_table
from wespk.metrics import collapse
from wespk.training import checkpoint
from wespk.training.run import check_model, train
from wespk.training.selection import best_epochs
from wespk.training.validation import WholeUtterances, validation
from wespk.utils import config
from wespk.utils.errors import InputError

SDPN = (SETS + " objective.name=sdpn loss.name=none objective.head_hidden=10 objective.head_dim=6 objective.prototypes=12 "
        "crops.teacher_frames=40 crops.student_frames=20 crops.student_number=2 optimizer.lr=0.05 train.average=1 runtime.num_workers=0 ")


class Utterances:
    """A source of utterances of unlike lengths in memory."""

    def __init__(self, number=9):
        rng = np.random.default_rng(0)
        self.feats = [rng.normal(size=(20 + i, 8)).astype(np.float32) for i in range(number)]
        self.keys = [f"u{i}" for i in range(number)]

    def read(self, index):
        return self.feats[index]


class Network(torch.nn.Module):
    """The sum of the frames; in training mode something else."""

    feat_dim, min_frames, embed_dim = 8, 1, 8

    def forward(self, feats, lengths):
        return (feats.sum(1) + 1.0) * (torch.nan if self.training else 1.0)


def test_figures_are_those_of_whole_utterances_in_evaluation_mode_and_nobody_reads_a_label():
    source, network = Utterances(), Network()
    conf = config.load(sets="features.cmn=none")
    for rows in (None, np.array([1, 4, 5, 8])):
        found = WholeUtterances(source, conf, "cpu", rows)(network)
        whole = torch.stack([torch.from_numpy(source.feats[i].sum(0) + 1) for i in (range(9) if rows is None else rows)])
        assert found == {"heldout_effective_rank": pytest.approx(collapse.effective_rank(whole).item(), rel=1e-5),
                         "heldout_spread": pytest.approx(collapse.spread(whole).item(), rel=1e-5)}
    assert network.training


def test_without_labels_held_out_utterances_need_no_speakers_and_training_ones_stand_in_for_them(tmp_path):
    make_set(tmp_path / "train", 5, 6, 1)
    keys = make_set(tmp_path / "dev", 3, 4, 2)
    conf, model = config.load(sets=SDPN + "data.min_frames=62"), types.SimpleNamespace(min_frames=1)
    (tmp_path / "dev" / "utt2spk").unlink()
    whole = validation(tmp_path / "dev", tmp_path / "train", conf, "cpu", model, labels=False)
    assert type(whole) is WholeUtterances and list(whole.source.keys) == keys and len(whole.rows) == 12
    with pytest.raises(InputError, match="trials/dev"):
        validation(tmp_path / "dev", tmp_path / "train", conf, "cpu", model, labels=True)
    assert validation(None, tmp_path / "train", conf, "cpu", model, labels=True) is None
    taken = validation(None, tmp_path / "train", conf, "cpu", model, labels=False)
    lengths = read_table(tmp_path / "train" / "utt2num_frames")
    assert {taken.source.keys[i] for i in taken.rows} == {key for key, num in lengths.items() if int(num) >= 62}
    assert list(taken.rows) == list(validation(None, tmp_path / "train", conf, "cpu", model, labels=False).rows)


def test_the_best_epochs_are_those_with_the_best_figures_the_later_of_equal_ones():
    records = [{"step": 3, "loss": 1.0}, *({"step": 3 * e, "heldout_effective_rank": r, "dev_eer": x}
                                           for e, r, x in ((1, 5.0, 0.3), (2, 9.0, 0.1), (3, 9.0, 0.2), (4, 7.0, 0.1)))]
    assert best_epochs(records, "effective_rank", 3, 1) == [3]
    assert best_epochs(records, "effective_rank", 3, 3) == [2, 3, 4]
    assert best_epochs(records, "dev_eer", 3, 1) == [4] and best_epochs(records, "dev_eer", 3, 2) == [2, 4]
    assert best_epochs(records, "dev_eer", 3, 9) == [1, 2, 3, 4]


@pytest.mark.parametrize("average, kept, taken", [(1, [2, 5], [2]), (2, [2, 4, 5], [2, 4])])
def test_the_best_checkpoints_are_kept_and_averaged(make_trainer, capsys, average, kept, taken):
    ranks = iter([3.0, 8.0, 5.0, 7.0, 6.0])
    sets = f"train.num_epochs=5 train.keep={average} train.average={average} train.select=effective_rank"
    trainer = make_trainer("exp", sets, validate=lambda model: {"heldout_effective_rank": next(ranks)})
    trainer.run()
    folder = trainer.experiment.checkpoints
    assert [epoch for epoch, _ in checkpoint.epoch_checkpoints(folder)] == kept
    average_checkpoints(str(trainer.experiment.folder))
    assert f"epochs {', '.join(map(str, taken))}, best by effective_rank" in capsys.readouterr().out
    found = checkpoint.load(folder / "average.pt")["model"]["linear.weight"]
    parts = [checkpoint.load(checkpoint.epoch_path(folder, epoch))["model"]["linear.weight"] for epoch in taken]
    torch.testing.assert_close(found, sum(parts) / len(parts))
    checkpoint.epoch_path(folder, 2).unlink()
    with pytest.raises(InputError, match="lacks epoch 2, one of the best by train.select=effective_rank"):
        average_checkpoints(str(trainer.experiment.folder))


def test_a_run_without_any_label_notes_figures_and_takes_its_best_epoch(tmp_path, capsys):
    make_set(tmp_path / "train", 5, 6, 1)
    (tmp_path / "train" / "utt2spk").unlink()
    conf = config.load(sets=SDPN + "train.num_epochs=3 train.keep=1 train.select=effective_rank")
    train(conf, tmp_path / "exp", tmp_path / "train", None, "cpu")
    records = [json.loads(line) for line in (tmp_path / "exp" / "metrics.jsonl").read_text().splitlines()]
    ranks = {r["step"] // 4: r["heldout_effective_rank"] for r in records if "heldout_effective_rank" in r}
    assert list(ranks) == [1, 2, 3] and all(1 <= rank <= 12 for rank in ranks.values())
    assert "held-out utterances: effective rank" in (tmp_path / "exp" / "train.log").read_text()
    average_checkpoints(str(tmp_path / "exp"))
    assert f"averaged epochs {max(ranks, key=ranks.get)}, best by effective_rank" in capsys.readouterr().out
    assert any("waiting" in r and 0 <= r["waiting"] <= 1 for r in records)


def test_a_choice_without_figures_is_refused_before_training(tmp_path):
    with pytest.raises(InputError, match="runtime.validate_every=0 leaves none of 2: set runtime.validate_every between 1"):
        check_model(config.load(sets=SDPN + "train.select=effective_rank runtime.validate_every=0"))
    with pytest.raises(InputError, match="runtime.validate_every=3 leaves none of 2"):
        check_model(config.load(sets=SDPN + "train.select=dev_eer runtime.validate_every=3"))
    make_set(tmp_path / "train", 5, 6, 1)
    with pytest.raises(InputError, match="goes by dev_eer, which nothing gives in this run.* or effective_rank"):
        train(config.load(sets=SDPN + "train.select=dev_eer"), tmp_path / "exp", tmp_path / "train", None, "cpu")
    with pytest.raises(InputError, match="goes by heldout_effective_rank, which nothing gives.*set train.select=last$"):
        train(config.load(sets=SETS + " train.select=effective_rank"), tmp_path / "exp", tmp_path / "train", None, "cpu")
    assert not (tmp_path / "exp").exists()
