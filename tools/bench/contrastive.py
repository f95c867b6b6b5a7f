"""Contrastive losses by blocks of anchors against the formula written out for autograd: time and memory.

    . tools/path.sh; python tools/bench/contrastive.py --numbers 512,1024,2048,4096

Both sides compute on the same embeddings, labels and class vectors; a step is forward and backward, and its figure the
least, the sides taking turns: of CPU time on a CPU, by the wall clock on a GPU. Memory is the peak of what torch allocates during a step, counted by its profiler on the CPU
and by its allocator on a GPU, and printed in units of one float32 matrix of all pairs, N x N; besides the pairs
it has what is of size (N, dim) and, with attention, (N, classes). "x" is the plain figure
divided by ours; "exponents" the powers of N by which the time of either side has grown so far; "difference" the largest relative one between the sides' gradients.
"""

import time

from measuring import growth, sizes

from wespk.utils.cli import main

CONFS = ({"name": "supcon"}, {"name": "sup_margin_con"}, {"name": "caa_margin_con"},
         {"name": "caa_margin_con", "attention_in": "negatives"})  # fmt: skip


def _plain(loss, embeddings, labels):
    """The loss ``loss`` as its formula stands, on (B, V, D)."""
    import torch
    import torch.nn.functional as F

    from wespk.losses.aam_softmax import add_angle

    form, own = loss.form(), labels[:, None].expand(-1, embeddings.shape[1]).flatten()
    units = F.normalize(embeddings.flatten(0, 1))
    cosine, log_attention = units @ units.T, loss.log_attention(units, own)
    itself = torch.eye(len(own), dtype=torch.bool, device=own.device)
    positive = (own[:, None] == own) & ~itself
    target, logits = add_angle(cosine, form.margin) / form.temperature, cosine / form.temperature
    if form.attention:
        pair = torch.minimum(log_attention[:, None], log_attention)
        if form.attention == "exponent":
            target, logits = pair.exp() * target, pair.exp() * logits
        else:
            logits = torch.where(positive, logits, logits + pair)
    total = logits.masked_fill(itself, -torch.inf).logsumexp(1, keepdim=True)
    return -(((target - total) * positive).sum(1) / positive.sum(1)).mean()


def _step(side, loss, embeddings, labels):
    loss.zero_grad(set_to_none=True)
    embeddings.grad = None
    side(embeddings, labels).backward() if side is loss else side(loss, embeddings, labels).backward()
    return embeddings.grad


def _seconds(device, *step):
    import torch

    clock = time.perf_counter if device.type == "cuda" else time.process_time
    start = clock()
    _step(*step)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return clock() - start


def _peak(device, *step):
    """Most bytes allocated at a time during a step, beyond what lay there before."""
    import torch
    from torch.profiler import ProfilerActivity, profile

    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        _step(*step)
        return torch.cuda.max_memory_allocated(device) - before
    step[2].grad = None  # the last step's memory is not this one's
    step[1].zero_grad(set_to_none=True)
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        _step(*step)
    now, peak = 0, 0
    events = seen.profiler.kineto_results.events()  # seen.events() leaves out what is allocated within operations
    for event in sorted((e for e in events if e.name() == "[memory]"), key=lambda e: e.start_ns()):
        now += event.nbytes()
        peak = max(peak, now)
    return peak


def bench(numbers: str = "512,1024,2048", views: int = 2, dim: int = 192, classes: int = 1211, device: str = "cpu", threads: int = 1,
          rounds: int = 5):
    """Print a line for every loss and number of embeddings.

    Args:
        numbers: numbers of embeddings, over all views, separated by commas
        views: of each utterance
        dim: size of the embeddings
        classes: number of speakers
        device: cpu or cuda
        threads: CPU threads for computing
        rounds: steps timed
    """
    import torch

    from wespk.losses import build_loss

    torch.set_num_threads(threads)
    where = torch.device(device)
    print(f"{views} views, dim {dim}, {classes} classes, {device}, {threads} threads")
    print(f"{'loss':>26} {'N':>6} {'plain ms':>9} {'ours ms':>9} {'x':>5} {'plain NxN':>9} {'ours NxN':>9} {'x':>5} {'exponents':>10} {'difference':>11}")
    had = {}
    for number in sizes(numbers, least=2 * views):
        for conf in CONFS:
            torch.manual_seed(0)
            loss = build_loss(conf, dim, classes).to(where)
            embeddings = torch.randn(number // views, views, dim).to(where).requires_grad_()
            labels = torch.randint(classes, (number // views,)).to(where)
            sides = [(side, loss, embeddings, labels) for side in (_plain, loss)]
            gradients = [_step(*side).clone() for side in sides]
            apart = ((gradients[0] - gradients[1]).abs().max() / gradients[0].abs().max()).item()
            times = [min(both) for both in zip(*([_seconds(where, *side) for side in sides] for _ in range(rounds)))]
            past = had.setdefault("+".join(conf.values()), [])
            past.append((number, *times))
            done, plain, own = zip(*past)
            powers = f"{growth(done, plain):.2f} {growth(done, own):.2f}" if len(past) > 1 else "-"
            peaks = [_peak(where, *side) / (4 * number**2) for side in sides]
            print(f"{'+'.join(conf.values()):>26} {number:>6} {1000 * times[0]:>9.2f} {1000 * times[1]:>9.2f} "
                  f"{times[0] / times[1]:>5.2f} {peaks[0]:>9.2f} {peaks[1]:>9.2f} {peaks[0] / peaks[1]:>5.1f} "
                  f"{powers:>10} {apart:>11.1e}", flush=True)  # fmt: skip


if __name__ == "__main__":
    main(bench)
