"""A training step of ECAPA-TDNN with a classification loss alone, and with a contrastive one beside it under each balance.

    . tools/path.sh; python tools/bench/balance.py --batch 256 --frames 300 --channels 1024 --device cuda --bf16 true

All sides step from the same weights on the same made-up batch: forward, backward, SGD. "step" is that; "heads" is what
comes behind the embeddings, forward and backward, on embeddings that stay as they are, in which differences show that
the whole step's unrest would hide. Each is the median over rounds in which the sides take turns: of the time by the
wall clock on a GPU, of the process's own CPU time on a CPU, which others may be using.

"x step" is the side's step divided by that of the plain sum. "added" is what its heads take more than those of the
classification loss alone, as a share of that one's whole step: the cost of contrastive loss and balance together.
"check" is the relative difference between the embeddings' gradient and the one that the side's weights make of the
single losses' gradients.
"""

import statistics
import time

from wespk.utils.cli import main

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
        self.optimizer, self.step_ms, self.heads_ms = None, [], []

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


def bench(contrastive: str = "supcon", classes: int = 1211, batch: int = 8, views: int = 2, frames: int = 100,
          channels: int = 128, device: str = "cpu", threads: int = 1, bf16: bool = False, rounds: int = 5,
          encoder_batch: int = 0):
    """Print for each side the time of a step and of the heads, and what they add to the classification loss alone.

    Args:
        contrastive: supcon, sup_margin_con or caa_margin_con; the classification loss is aam_softmax
        classes: number of speakers
        batch: utterances
        views: of each utterance; all are classified and compared
        frames: of each view
        channels: of ECAPA-TDNN; the embeddings have 192 dimensions
        device: cpu, cuda or cuda:N
        threads: CPU threads for computing
        bf16: bfloat16 autocast of the network
        rounds: steps timed
        encoder_batch: utterances that go through the network; the time of its step is multiplied up to ``batch``, for
            machines where the whole batch takes too much time or memory. 0: batch
    """
    import torch

    from wespk.embedding.loading import pick_device
    from wespk.models import build_model

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    where = pick_device(device)
    network = build_model({"name": "ecapa_tdnn", "channels": channels, "feat_dim": 80, "embed_dim": 192}).to(where).train()
    some = encoder_batch or batch
    feats, labels = torch.randn(some * views, frames, 80, device=where), torch.randint(classes, (batch,), device=where)
    first = {name: value.clone() for name, value in network.state_dict().items()}

    def embed():
        with torch.autocast(where.type, torch.bfloat16, enabled=bf16):
            return network(feats).float().view(some, views, -1)

    sides = {name: _Side(name, contrastive, classes, 192, where) for name in SIDES}
    z = torch.randn(batch, views, 192, device=where) if encoder_batch else embed().detach()
    for side in sides.values():
        side.optimizer = torch.optim.SGD([*network.parameters(), *side.heads.parameters()], lr=0.01)
    for i in range(rounds + 1):  # the first warms up
        for side in sides.values():
            network.load_state_dict(first)
            whole = _milliseconds(lambda side=side: side.step(embed(), labels[:some]), where)
            part = statistics.median(_milliseconds(lambda side=side: side.behind(z, labels), where) for _ in range(3))
            if i:
                side.step_ms.append(whole)
                side.heads_ms.append(part)
    print(f"ecapa_tdnn {channels}, aam_softmax of {classes} classes and {contrastive}, batch {batch} x {views} views of {frames} "
          f"frames, {device}, {threads} threads, {'bfloat16' if bf16 else 'float32'}")
    print(f"{'side':>12} {'step ms':>9} {'x step':>7} {'heads ms':>9} {'added':>7} {'check':>8}")
    times = {name: (statistics.median(side.step_ms), statistics.median(side.heads_ms)) for name, side in sides.items()}
    if encoder_batch:
        network_ms, heads_ms = times["alone"][0] * batch / some, times["alone"][1]
        print(f"the network's step on {some} utterances, times {batch / some:g}")
        times = {name: (network_ms + part - heads_ms, part) for name, (_, part) in times.items()}
    for name, (whole, part) in times.items():
        added = (part - times["alone"][1]) / times["alone"][0]
        print(f"{name:>12} {whole:>9.1f} {whole / times['sum'][0]:>7.3f} {part:>9.2f} {100 * added:>6.1f}% "
              f"{sides[name].check(z, labels):>8.0e}")


if __name__ == "__main__":
    main(bench)
