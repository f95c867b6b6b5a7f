"""A training step of ECAPA-TDNN with a classification loss alone, and with a contrastive one beside it under each balance.

    . tools/path.sh; python tools/bench/balance.py --batch 64,128,256 --frames 300 --channels 1024 --device cuda --bf16 true

All sides step from the same weights on the same made-up batch: forward, backward, SGD. "step" is that; "heads" is what
comes behind the embeddings, forward and backward, on embeddings that stay as they are, in which differences show that
the whole step's unrest would hide. Each is the median over rounds in which the sides take turns: of the time by the
wall clock on a GPU, of the process's own CPU time on a CPU, which others may be using.

"x step" is the side's step divided by that of the plain sum. "added" is what its heads take more than those of the
classification loss alone, as a share of that one's whole step: the cost of contrastive loss and balance together.
"check" is the relative difference between the embeddings' gradient and the one that the side's weights make of the
single losses' gradients. "MB" is the peak of the first step beyond what
lay there before, of as many utterances as went through the network. "exponents" are the powers of the batch size by which
the time of the step and of the heads has grown so far.
"""

import statistics
import time

from measuring import growth, peak_memory, reset_peak, sizes

from wespk.utils.cli import main
from wespk.utils.errors import InputError

SIDES = ("alone", "sum", "min_norm", "pcgrad", "uncertainty")


class _Side:
    """Losses and balance of one side; ``side(embeddings (B, V, D), labels (B,))`` is the loss to go back from."""

    def __init__(self, name, contrastive, classes, dim, device):
        import torch

        from wespk.losses import build_loss
        from wespk.training.balance import Balance

        torch.manual_seed(0)
        names = {"classes": "aam_softmax"} if name == "alone" else {"classes": "aam_softmax", "pairs": contrastive}
        self.heads = torch.nn.ModuleDict({key: build_loss({"name": loss}, dim, classes) for key, loss in names.items()})
        self.balance = None if name == "alone" else Balance(name, names)
        if self.balance:
            self.heads["balance"] = self.balance
        self.heads.to(device)
        self.optimizer, self.step_ms, self.heads_ms, self.peak = None, [], [], 0

    def losses(self, z, labels):
        found = {"classes": self.heads["classes"](z.flatten(0, 1), labels.repeat_interleave(z.shape[1]))}
        return found | {"pairs": self.heads["pairs"](z, labels)} if self.balance else found

    def __call__(self, z, labels):
        found = self.losses(z, labels)
        return self.balance(found, z) if self.balance else found["classes"]

    def step(self, z, labels):
        self(z, labels).backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    def behind(self, z, labels):
        self(z.detach().requires_grad_(), labels).backward()
        self.heads.zero_grad(set_to_none=True)

    def check(self, z, labels):
        """Relative difference of the gradient by the embeddings from the one that the weights stand for."""
        import torch

        z = z.detach().requires_grad_()
        found, = torch.autograd.grad(self(z, labels), z)
        weights = self.balance.stats if self.balance else {"weight_classes": 1}
        expected = sum(weights[f"weight_{name}"] * torch.autograd.grad(loss, z)[0]
                       for name, loss in self.losses(z, labels).items())
        return ((found - expected).norm() / expected.norm()).item()


def _milliseconds(work, device):
    import torch

    clock = time.perf_counter if device.type == "cuda" else time.process_time
    start = clock()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return 1000 * (clock() - start)


def _times(sides, network, embed, z, labels, some, rounds, where):
    """{side: (ms of a step, ms of its heads, bytes at a step's peak)}, medians over rounds in which the sides take turns."""
    first = {name: value.clone() for name, value in network.state_dict().items()}
    for i in range(rounds + 1):  # the first warms up
        for side in sides.values():
            network.load_state_dict(first)
            before = reset_peak(str(where)) if not i else 0
            whole = _milliseconds(lambda side=side: side.step(embed(), labels[:some]), where)
            part = statistics.median(_milliseconds(lambda side=side: side.behind(z, labels), where) for _ in range(3))
            if not i:
                side.peak = max(0, peak_memory(str(where)) - before)
            else:
                side.step_ms.append(whole)
                side.heads_ms.append(part)
    return {name: (statistics.median(side.step_ms), statistics.median(side.heads_ms), side.peak)
            for name, side in sides.items()}


def bench(contrastive: str = "supcon", classes: int = 1211, batch: str = "2,4,8", views: int = 2, frames: int = 100,
          channels: int = 128, device: str = "cpu", threads: int = 1, bf16: bool = False, rounds: int = 5,
          encoder_batch: int = 0):
    """Print for each batch and side the time of a step and of the heads, and what they add to the classification loss alone.

    Args:
        contrastive: supcon, sup_margin_con or caa_margin_con; the classification loss is aam_softmax
        classes: number of speakers
        batch: numbers of utterances, separated by commas
        views: of each utterance; all are classified and compared
        frames: of each view
        channels: of ECAPA-TDNN; the embeddings have 192 dimensions
        device: cpu, cuda or cuda:N
        threads: CPU threads for computing
        bf16: bfloat16 autocast of the network
        rounds: steps timed
        encoder_batch: utterances that go through the network; the time of its step is multiplied up to ``batch``, for
            machines where the whole batch takes too much time or memory; at most the smallest batch. 0: batch
    """
    import torch

    from wespk.embedding.loading import pick_device

    batches = sizes(batch)
    if encoder_batch > batches[0]:
        raise InputError(f"--encoder-batch {encoder_batch} is more than the smallest of --batch {batch}")
    torch.set_num_threads(threads)
    print(f"ecapa_tdnn {channels}, aam_softmax of {classes} classes and {contrastive}, {views} views of {frames} frames, {device}, "
          f"{threads} threads, {'bfloat16' if bf16 else 'float32'}")
    print(f"{'batch':>6} {'side':>12} {'step ms':>9} {'x step':>7} {'heads ms':>9} {'added':>7} {'MB':>6} {'exponents':>10} {'check':>8}")
    had, conf = {side: [] for side in SIDES}, (contrastive, classes, views, frames, channels, bf16, rounds)
    for count in batches:
        rows = _one_batch(pick_device(device), count, encoder_batch or count, *conf)
        for name, (whole, part, peak, check) in rows.items():
            had[name].append((count, whole, part))
            done, *both = zip(*had[name])
            powers = " ".join(f"{growth(done, times):.2f}" for times in both) if len(done) > 1 else "-"
            added = 100 * (part - rows["alone"][1]) / rows["alone"][0]
            print(f"{count:>6} {name:>12} {whole:>9.1f} {whole / rows['sum'][0]:>7.3f} {part:>9.2f} {added:>6.1f}% {peak / 1e6:>6.0f} "
                  f"{powers:>10} {check:>8.0e}", flush=True)


def _one_batch(where, batch, some, contrastive, classes, views, frames, channels, bf16, rounds):
    """{side: (ms of a step, ms of its heads, bytes, check)}; ``some`` of the batch go through the network."""
    import torch

    from wespk.models import build_model

    torch.manual_seed(0)
    network = build_model({"name": "ecapa_tdnn", "channels": channels, "feat_dim": 80, "embed_dim": 192}).to(where).train()
    feats, labels = torch.randn(some * views, frames, 80, device=where), torch.randint(classes, (batch,), device=where)

    def embed():
        with torch.autocast(where.type, torch.bfloat16, enabled=bf16):
            return network(feats).float().view(some, views, -1)

    sides = {name: _Side(name, contrastive, classes, 192, where) for name in SIDES}
    z = torch.randn(batch, views, 192, device=where) if some < batch else embed().detach()
    for side in sides.values():
        side.optimizer = torch.optim.SGD([*network.parameters(), *side.heads.parameters()], lr=0.01)
    times = _times(sides, network, embed, z, labels, some, rounds, where)
    if some < batch:
        network_ms, heads_ms = times["alone"][0] * batch / some, times["alone"][1]
        times = {name: (network_ms + part - heads_ms, part, peak) for name, (_, part, peak) in times.items()}
    return {name: (*both, sides[name].check(z, labels)) for name, both in times.items()}


if __name__ == "__main__":
    main(bench)
