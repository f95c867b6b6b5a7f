"""The training loop. It knows steps, batches and checkpoints; what is learnt is the objective's business."""

import contextlib

from wespk.data.group_sampler import plan_batches
from wespk.data.loader import stream
from wespk.training import checkpoint
from wespk.training.batch_norm import synchronise
from wespk.training.guards import FiniteGuard, StopSignal
from wespk.training.micro_batches import two_pass
from wespk.training.monitor import Meter, Monitor
from wespk.training.optimizers import build_optimizer, set_learning_rate
from wespk.training.schedules import learning_rate, margin
from wespk.training.selection import best_epochs
from wespk.training.sharded_head import ShardedHead, Shards
from wespk.training.writer import CheckpointWriter
from wespk.utils import dist
from wespk.utils.errors import InputError
from wespk.utils.seed import seed_everything


class Trainer:
    """One training run: ``Trainer(...).run()`` goes from the newest checkpoint, or the start, to the last epoch.

    conf: resolved configuration; experiment: ``Experiment``; source: where chunks come from (``fetch``, ``finish``,
    ``describe``, ``speakers``, ``labels``); objective: an ``Objective``; device;
    validate: callable(module) -> {name: float}, see ``wespk.training.validation``, or None; logger.
    """

    def __init__(self, conf, experiment, source, objective, device, logger, validate=None):
        self.conf, self.experiment, self.source, self.device, self.log = conf, experiment, source, device, logger
        if conf["runtime"]["shard_head"] and dist.world_size() > 1:
            objective.loss = ShardedHead(objective.loss)
        if conf["train"]["sync_batchnorm"] and dist.world_size() > 1:
            synchronise(objective, device)
        self.objective, self.validate = objective.to(device), validate
        self.told_steps = [module for module in objective.modules() if hasattr(module, "set_step")]
        self.shards = Shards(self.objective)
        train = conf["train"]
        self.plan = plan_batches(source.labels, objective.utterances, train["batch_size"],
                                 train["accumulate"], conf["seed"], dist.rank(), dist.world_size())
        self.steps_per_epoch = self.plan.steps_per_epoch
        self.total_steps = train["num_epochs"] * self.steps_per_epoch
        self.optimizer = build_optimizer(self.objective, conf["optimizer"])
        self.fingerprint = checkpoint.fingerprint(source.identity())
        self.guard, self.writer, self.step = FiniteGuard(), CheckpointWriter(), 0

    # -- state ------------------------------------------------------------------------------------------------------
    def _state(self):
        return {"config": self.conf, "speakers": self.source.speakers, "fingerprint": self.fingerprint,
                "step": self.step, "steps_per_epoch": self.steps_per_epoch,
                "model": self.objective.model.state_dict(), **self.shards.state(self.optimizer)}

    def resume(self):
        """Take up the newest checkpoint of the experiment, if there is one. Returns the number of steps already done."""
        path = dist.from_main(checkpoint.newest(self.experiment.checkpoints))  # one view of a shared disk
        if path is None:
            return 0
        state = checkpoint.load(path, "cpu" if self.shards.head else self.device)  # a device need not hold all classes
        for name, mine in (("fingerprint", self.fingerprint), ("steps_per_epoch", self.steps_per_epoch),
                           ("speakers", self.source.speakers)):
            if state[name] != mine:
                raise InputError(f"{path} was trained on other data than these ({name} differs); train under another --exp")
        self.objective.model.load_state_dict(state["model"])
        self.shards.load(state, self.optimizer)
        self.step = state["step"]
        self.log.info("resuming from %s at step %d of %d", path, self.step, self.total_steps)
        return self.step

    def save(self):
        """Have a checkpoint written: the epoch's own at an epoch's end, latest.pt inside an epoch. The main process writes.

        Training may go on at once; ``self.writer.wait()`` waits until the file is there.
        """
        self.guard.drain()
        self.writer.wait()
        state = self._state()
        if not dist.is_main():
            return
        inside = self.step % self.steps_per_epoch
        self.writer.submit(state, self._write_latest if inside else self._write_epoch)

    def _write_latest(self, state):
        checkpoint.save(self.experiment.checkpoints / checkpoint.NAMES["latest"], state)

    def _write_epoch(self, state):
        folder, step = self.experiment.checkpoints, state["step"]
        checkpoint.save(checkpoint.epoch_path(folder, step // self.steps_per_epoch), state)
        (folder / checkpoint.NAMES["latest"]).unlink(missing_ok=True)
        checkpoint.prune(folder, self.conf["train"]["keep"], self._best_before(step))

    def _best_before(self, step):
        """The epochs, of those validated before, that stage 4 would take: their checkpoints are not to be deleted."""
        select, num = self.conf["train"]["select"], self.conf["train"]["average"]
        if select == "last":
            return ()
        earlier = (record for record in self.experiment.records() if record["step"] < step)
        return best_epochs(earlier, select, self.steps_per_epoch, num)

    # -- one step ---------------------------------------------------------------------------------------------------
    def _schedules(self):
        schedule, m, per_epoch = self.conf["schedule"], self.conf["margin"], self.steps_per_epoch
        now = {"lr": learning_rate(self.step, self.total_steps, schedule["name"], self.conf["optimizer"]["lr"],
                                   schedule["final_lr"], schedule["warmup_epochs"] * per_epoch)}
        set_learning_rate(self.optimizer, now["lr"])
        if self.objective.has_margin:
            now["margin"] = margin(self.step, m["initial"], m["final"], m["start_epoch"] * per_epoch,
                                   m["end_epoch"] * per_epoch, m["shape"])
            self.objective.set_margin(now["margin"])
        self.objective.before_step(self.step, self.total_steps)
        for module in self.told_steps:
            module.set_step(self.step)
        return now

    def _step(self, module, batches, meter):
        """One optimiser step over ``accumulate`` micro-batches; every utterance of the whole batch weighs the same."""
        accumulate = self.conf["train"]["accumulate"]
        if accumulate > 1 and self.objective.joint:
            self._gradients_of_whole(module, batches, meter)
        else:
            self._gradients(module, batches, meter)
        if self.conf["train"]["grad_clip"] > 0:
            self.shards.clip_gradients(self.conf["train"]["grad_clip"], self.conf["train"]["clip_each"])
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.objective.after_step(self.step, self.total_steps)
        self.step += 1

    def _next(self, batches, meter):
        """The next micro-batch: (``Batch``, inputs and labels on the device)."""
        with meter.waiting():
            batch = next(batches)
        return batch, self.source.finish(batch, self.device), batch.labels.to(self.device, non_blocking=True)

    def _watch(self, loss, *batches):
        self.guard.watch(self.step + 1, loss, lambda: " ".join(self.source.describe(b.items) for b in batches))

    def _gradients(self, module, batches, meter):
        """Of a loss that is a mean over micro-batches, or of one micro-batch."""
        accumulate = self.conf["train"]["accumulate"]
        for i in range(accumulate):
            batch, inputs, labels = self._next(batches, meter)
            together = i + 1 == accumulate or dist.world_size() == 1
            with contextlib.nullcontext() if together else module.no_sync():
                scalars = module(inputs, labels)
                share = len(labels) * dist.world_size() / batch.whole
                (scalars["loss"] * share).backward()
            meter.add(scalars, len(labels))
            self._watch(scalars["loss"], batch)

    def _gradients_of_whole(self, module, batches, meter):
        """Of a loss on the whole batch, in the memory of one micro-batch: see ``micro_batches.two_pass``."""
        pieces = [self._next(batches, meter) for _ in range(self.conf["train"]["accumulate"])]
        mine = sum(len(labels) for _, _, labels in pieces)
        share = mine * dist.world_size() / pieces[0][0].whole

        def loss(*outputs):
            scalars = self.objective.losses(*outputs)
            return {**scalars, "unscaled": scalars["loss"].detach(), "loss": scalars["loss"] * share}

        waiting = module.no_sync if dist.world_size() > 1 else contextlib.nullcontext
        scalars = two_pass(lambda piece: module(*piece[1:], outputs=True), pieces, loss, self.objective, waiting)
        scalars["loss"] = scalars.pop("unscaled")
        meter.add(scalars, mine)
        self._watch(scalars["loss"], *(batch for batch, _, _ in pieces))

    # -- the loop ---------------------------------------------------------------------------------------------------
    def run(self):
        """Train to the end. Returns True when done, False when a signal asked to stop and a checkpoint was written."""
        runtime, first = self.conf["runtime"], self.resume()
        module = self.objective
        if dist.world_size() > 1:
            module = self.shards.wrap()
        batches = stream(self.source, self.plan, first, self.total_steps, runtime["num_workers"],
                         pin_memory=self.device.type == "cuda")
        monitor = Monitor(self.experiment, self.log, self.total_steps, self.steps_per_epoch, first, dist.is_main(),
                          runtime["progress"])
        stop, meter, closing = StopSignal(), Meter(self.device), contextlib.closing
        with closing(batches), closing(monitor), closing(stop), self.writer:
            if self._validates() and not self.experiment.is_validated(first):
                self._validate(monitor)  # a signal came between the checkpoint of that epoch and its validation
            module.train()
            while self.step < self.total_steps:
                seed_everything(self.conf["seed"], "step", self.step, dist.rank())
                now = self._schedules()
                self._step(module, batches, meter)
                monitor.advance()
                at_end = self.step % self.steps_per_epoch == 0
                if self.step % runtime["log_every"] == 0 or at_end:
                    monitor.steps(self.step, meter.read() | self.objective.figures(self.step / self.steps_per_epoch) | now)
                    meter.reset()
                stopping = dist.any_rank(stop.received)
                if at_end or stopping or self.step % runtime["save_every"] == 0:
                    self.save()
                self.writer.check()
                if stopping and self.step < self.total_steps:
                    self.writer.wait()
                    self.experiment.mark_requeue(self.step)
                    self.log.info("%s: stopped after step %d; the same command goes on from there", stop.received, self.step)
                    return False
                if at_end and self._validates():
                    self._validate(monitor)
                    module.train()
                    meter.reset()
            self.guard.drain()
            return True

    def _validates(self):
        """Whether an epoch has just ended after which held-out utterances are to be looked at."""
        every, (epoch, step) = self.conf["runtime"]["validate_every"], divmod(self.step, self.steps_per_epoch)
        return self.validate is not None and every and epoch and not step and epoch % every == 0

    def _validate(self, monitor):
        dist.share_buffers(self.objective)  # each process has its own since the last forward; rank 0's are the saved ones
        monitor.validation(self.step, self.validate(self.objective.model))
