"""The loop: what it learns, what it writes, and that an interruption changes nothing."""

import json
import os
import signal

import numpy as np
import pytest
import torch

from tests.training.conftest import MemorySource
from wespk.training import checkpoint
from wespk.training.guards import StopSignal
from wespk.utils.errors import InputError


def weights(trainer):
    return {n: p.clone() for n, p in trainer.objective.state_dict().items()}


def assert_same(a, b):
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name


class Interrupting(MemorySource):
    """Sends this process a signal, or dies, when the batch of a given step is fetched."""

    def __init__(self, at, action):
        super().__init__()
        self.at, self.action = at, action

    def fetch(self, epoch, items):
        if len(self.fetched) == self.at:
            self.action()
        return super().fetch(epoch, items)


def die():
    raise KeyboardInterrupt


def test_training_learns_the_speakers(make_trainer):
    trainer = make_trainer(sets="train.num_epochs=20 margin.final=0.0 optimizer.lr=0.1")
    assert trainer.run() is True
    records = [json.loads(line) for line in trainer.experiment.metrics.read_text().splitlines()]
    assert records[-1]["accuracy"] > 0.9
    assert records[0]["accuracy"] < 0.6
    assert records[-1]["loss"] < 0.5 * records[0]["loss"]


@pytest.mark.parametrize("at", [1, 3, 4, 7])
def test_a_killed_run_resumes_to_the_same_weights(make_trainer, at):
    whole = make_trainer("whole")
    whole.run()
    with pytest.raises(KeyboardInterrupt):
        make_trainer("cut", source=Interrupting(at, die)).run()
    rest = make_trainer("cut")
    rest.run()
    assert_same(weights(whole), weights(rest))
    state = [checkpoint.load(t.experiment.checkpoints / "epoch_0003.pt") for t in (whole, rest)]
    assert_same(*({f"{i}.{n}": v for i, s in x["optimizer"]["state"].items() for n, v in s.items() if torch.is_tensor(v)}
                  for x in state))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_checkpoints_and_leaves(make_trainer, number):
    whole = make_trainer("whole")
    whole.run()
    cut = make_trainer("cut", "runtime.save_every=1000", Interrupting(4, lambda: os.kill(os.getpid(), number)))
    before = signal.getsignal(number)
    assert cut.run() is False
    assert signal.getsignal(number) == before
    assert checkpoint.newest(cut.experiment.checkpoints).name == "latest.pt"
    assert checkpoint.load(checkpoint.newest(cut.experiment.checkpoints))["step"] == 5
    rest = make_trainer("cut", "runtime.save_every=1000")
    assert rest.run() is True
    assert_same(weights(whole), weights(rest))


def test_draws_inside_the_network_resume_too(make_trainer):
    def with_dropout(*args, **kwargs):
        trainer = make_trainer(*args, **kwargs)
        trainer.objective.model.register_forward_hook(lambda m, _, out: torch.nn.functional.dropout(out, 0.5, m.training))
        return trainer

    whole = with_dropout("whole")
    whole.run()
    with pytest.raises(KeyboardInterrupt):
        with_dropout("cut", source=Interrupting(5, die)).run()
    rest = with_dropout("cut")
    rest.run()
    assert_same(weights(whole), weights(rest))


def test_workers_change_nothing(make_trainer):
    alone, helped = make_trainer("alone"), make_trainer("helped", "runtime.num_workers=2")
    alone.run()
    helped.run()
    assert_same(weights(alone), weights(helped))


def test_micro_batches_give_the_gradient_of_the_whole_batch(make_trainer):
    found = []
    for name, accumulate in (("whole", 1), ("cut", 2)):
        # the network in eval mode has no batch statistics, the one thing that micro-batches do change
        trainer = make_trainer(name, f"train.accumulate={accumulate} train.num_epochs=2 optimizer.lr=0.01")
        model = trainer.objective.model.eval()
        model.train = lambda mode=True, model=model: model
        trainer.run()
        found.append(weights(trainer))
    for name in found[0]:
        torch.testing.assert_close(found[0][name], found[1][name], rtol=1e-4, atol=1e-6)


def test_each_epoch_fetches_each_utterance_once(make_trainer):
    source = MemorySource()
    make_trainer(source=source).run()
    for epoch in range(3):
        seen = sorted(i for e, items in source.fetched if e == epoch for i in items)
        assert seen == list(range(24))


def test_a_non_finite_loss_stops_naming_the_utterances(make_trainer):
    source = MemorySource()
    make_trainer(source=source, sets="train.num_epochs=1").run()
    good = make_trainer(name="bad", source=source, sets="train.num_epochs=3 runtime.save_every=1000")
    source.fetched.clear()
    first = good.plan.step(1, 0)[0][0]
    source.poison = int(first[0])
    original = source.fetch
    source.fetch = lambda epoch, items: original(epoch, items) if epoch else MemorySource.fetch(MemorySource(), epoch, items)
    with pytest.raises(InputError) as error:
        good.run()
    assert f"utt{first[0]}" in str(error.value) and "the loss is nan" in str(error.value)
    assert [e for e, _ in checkpoint.epoch_checkpoints(good.experiment.checkpoints)] == [1]
    assert torch.isfinite(checkpoint.load(good.experiment.checkpoints / "epoch_0001.pt")["loss"]["weight"]).all()


def test_metrics_hold_each_step_once_after_a_resume(make_trainer):
    with pytest.raises(KeyboardInterrupt):
        make_trainer("cut", source=Interrupting(5, die), sets="runtime.log_every=1").run()
    trainer = make_trainer("cut", "runtime.log_every=1")
    trainer.run()
    steps = [json.loads(line)["step"] for line in trainer.experiment.metrics.read_text().splitlines()]
    assert steps == list(range(1, 10))


def test_validation_runs_each_epoch_and_is_recorded(make_trainer):
    def validate(model):
        model.eval()
        return {"dev_eer": 0.25}

    trainer = make_trainer(validate=validate)
    trainer.run()
    records = [json.loads(line) for line in trainer.experiment.metrics.read_text().splitlines()]
    assert [r["step"] for r in records if "dev_eer" in r] == [3, 6, 9]
    assert list(trainer.experiment.tensorboard.iterdir())
    assert trainer.objective.training


def test_a_validation_that_a_signal_left_out_is_made_up_for(make_trainer):
    seen = []

    def validate(model):
        model.eval()
        seen.append(1)
        return {"dev_eer": 0.25}

    cut = make_trainer("cut", source=Interrupting(2, lambda: os.kill(os.getpid(), signal.SIGTERM)), validate=validate)
    assert cut.run() is False and not seen
    assert (cut.experiment.folder / "requeue").is_file()
    rest = make_trainer("cut", validate=validate)
    rest.run()
    records = [json.loads(line) for line in rest.experiment.metrics.read_text().splitlines()]
    assert [r["step"] for r in records if "dev_eer" in r] == [3, 6, 9]


def test_only_the_newest_checkpoints_are_kept(make_trainer):
    trainer = make_trainer(sets="train.num_epochs=5 train.keep=2")
    trainer.run()
    assert [e for e, _ in checkpoint.epoch_checkpoints(trainer.experiment.checkpoints)] == [4, 5]


def test_an_experiment_begun_with_other_options_is_refused(make_trainer):
    make_trainer().run()
    with pytest.raises(InputError, match="optimizer.lr: 0.05 there, 0.1 now"):
        make_trainer(sets="optimizer.lr=0.1")
    make_trainer(sets="runtime.log_every=7")


def test_half_files_of_killed_runs_are_gone_after_the_next_start_and_nothing_else(make_trainer):
    first = make_trainer()
    first.run()
    folder = first.experiment.checkpoints
    (folder / "average.pt").touch()
    before = sorted(folder.iterdir())
    for name in (".epoch_0002.pt.4711.tmp", ".latest.pt.4712.tmp"):
        (folder / name).write_bytes(b"half a file")
    make_trainer()
    assert sorted(folder.iterdir()) == before


def test_an_experiment_without_a_checkpoint_may_be_begun_again_otherwise(make_trainer):
    make_trainer()
    make_trainer(sets="optimizer.lr=0.1")


def test_another_number_of_processes_is_worth_a_warning(make_trainer):
    trainer = make_trainer()
    trainer.run()
    assert trainer.experiment.begin(trainer.conf, {"processes": 1}) == ["processes was None, now 1"]
    assert trainer.experiment.begin(trainer.conf, {"processes": 2}) == ["processes was 1, now 2"]


def test_other_training_data_are_refused_on_resume(make_trainer):
    make_trainer().run()
    with pytest.raises(InputError, match="trained on other data"):
        make_trainer(source=MemorySource(speakers=5)).run()


def test_training_data_of_the_same_numbers_under_other_names_are_refused_on_resume(make_trainer):
    make_trainer().run()
    source = MemorySource()
    source.speakers = [f"t{name}" for name in source.speakers]
    with pytest.raises(InputError, match=r"trained on other data than these \(speakers differs\)"):
        make_trainer(source=source).run()


def test_bfloat16_trains_with_a_float32_loss(make_trainer):
    trainer = make_trainer(sets="train.bf16=true")
    trainer.run()
    assert all(p.dtype == torch.float32 for p in trainer.objective.parameters())
    assert np.isfinite([json.loads(line)["loss"] for line in trainer.experiment.metrics.read_text().splitlines()]).all()


def test_signal_handlers_are_restored():
    before = signal.getsignal(signal.SIGUSR1)
    stop = StopSignal()
    os.kill(os.getpid(), signal.SIGUSR1)
    assert stop.received == "SIGUSR1"
    stop.close()
    assert signal.getsignal(signal.SIGUSR1) == before
