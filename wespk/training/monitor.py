"""What a run tells while it works: log lines, metrics.jsonl, TensorBoard, a progress bar."""

import time
from contextlib import contextmanager

import torch
from tqdm import tqdm

from wespk.utils.dist import sum_over_ranks

HELD_OUT = {"dev_eer": "speakers: EER {:.2%}", "heldout_effective_rank": "utterances: effective rank {:.4g}",
            "heldout_spread": "spread {:.3g}"}
SHOWN = ("prototypes_used", "outputs_used", "embedding_spread", "effective_rank")  # also in the log, where there are any


def positive_share(record):
    """{"positive_gradient_share": the share of the target positions in the summed absolute gradients by the logits}.

    In [0, 1], of all that went into the means ``record``; 0.5 with a softmax, and where there is no gradient at all.
    {} for a record without such gradients.
    """
    if "positive_gradient" not in record:
        return {}
    pull, push = record["positive_gradient"], record["negative_gradient"]
    return {"positive_gradient_share": pull / (pull + push) if pull + push > 0 else 0.5}


class Meter:
    """Sums named scalars on the device, weighted by utterances, and the time spent working and waiting."""

    def __init__(self, device):
        self.device = device
        self.reset()

    def reset(self):
        """Forget everything; the clock starts again."""
        self.sums, self.utterances, self.waited = {}, 0, 0.0
        self.since = time.perf_counter()

    def add(self, scalars, utterances):
        """Add one micro-batch's scalars (0-dim tensors, not read here)."""
        for name, value in scalars.items():
            self.sums[name] = self.sums.get(name, 0) + value.detach().float() * utterances
        self.utterances += utterances

    @contextmanager
    def waiting(self):
        """Time spent inside is time spent waiting for data."""
        began = time.perf_counter()
        yield
        self.waited += time.perf_counter() - began

    def read(self):
        """Means over all ranks since ``reset``, utterances per second and the share of time spent waiting for data."""
        names = sorted(self.sums)
        packed = torch.stack([self.sums[n] for n in names] + [torch.tensor(float(self.utterances), device=self.device)])
        *totals, utterances = sum_over_ranks(packed.double()).tolist()
        passed = time.perf_counter() - self.since
        record = {name: total / utterances for name, total in zip(names, totals)}
        record |= positive_share(record)
        return record | {"chunks_per_second": utterances / passed, "waiting": self.waited / passed}


class Monitor:
    """Writes a run's figures; on ranks other than the main one it does nothing."""

    def __init__(self, experiment, logger, total_steps, steps_per_epoch, first_step, main, progress):
        self.experiment, self.logger, self.main = experiment, logger, main
        self.steps_per_epoch = steps_per_epoch
        self.writer = None
        if main:
            from torch.utils.tensorboard import SummaryWriter

            experiment.truncate_metrics(first_step)
            self.writer = SummaryWriter(str(experiment.tensorboard), purge_step=first_step + 1)
        self.bar = tqdm(total=total_steps, initial=first_step, unit="step", dynamic_ncols=True,
                        disable=None if main and progress else True)

    def advance(self):
        """One step done."""
        self.bar.update()

    def steps(self, step, record):
        """Report the mean figures of the steps up to ``step``."""
        if not self.main:
            return
        epoch = step / self.steps_per_epoch
        self.experiment.append_metrics({"step": step, "epoch": round(epoch, 4), **record})
        for name, value in record.items():
            self.writer.add_scalar(f"train/{name}", value, step)
        text = {"loss": f"{record['loss']:.4f}", "lr": f"{record['lr']:.3g}",
                "chunks/s": f"{record['chunks_per_second']:.0f}", "waiting": f"{100 * record['waiting']:.1f}%"}
        if "accuracy" in record:
            text["accuracy"] = f"{100 * record['accuracy']:.2f}%"
        for name in SHOWN:
            if name in record:
                text[name] = f"{record[name]:.3g}"
        if record.get("positive_gradient_share", 0.5) != 0.5:  # a softmax's, always
            text["positive_gradient_share"] = f"{record['positive_gradient_share']:.3g}"
        text |= {name.removeprefix("loss_"): f"{value:.3f}" for name, value in record.items()
                 if name.startswith(("loss_", "weight_"))}
        if record.get("margin"):
            text["margin"] = f"{record['margin']:.3f}"
        self.bar.set_postfix(text)
        self.logger.info("epoch %.2f step %d %s", epoch, step, " ".join(f"{k} {v}" for k, v in text.items()))

    def validation(self, step, record):
        """Report figures of held-out utterances."""
        if not self.main:
            return
        self.experiment.append_metrics({"step": step, **record})
        for name, value in record.items():
            self.writer.add_scalar(f"dev/{name}", value, step)
        said = [form.format(record[name]) for name, form in HELD_OUT.items() if name in record]
        self.logger.info("step %d held-out %s", step, ", ".join(said))

    def close(self):
        """Flush and close."""
        self.bar.close()
        if self.writer:
            self.writer.close()
