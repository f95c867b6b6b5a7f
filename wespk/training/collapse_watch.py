"""Figures that tell whether training without labels collapses, and a warning that says what to do."""

import math

from wespk.metrics import collapse
from wespk.utils.log import get_logger

AT_FIRST = 1.0  # epochs: untrained networks have all embeddings alike
SPREAD, RANK, USED, UNIFORM = 0.1, 0.05, 0.05, 0.98

MEANINGS = {
    "embedding_spread": "embeddings have nearly one direction",
    "effective_rank": "embeddings fill few directions",
    "prototypes_used": "few prototypes are chosen",
    "outputs_used": "few outputs are chosen",
    "target_entropy": "targets say nothing: every prototype alike",
}
ADVICE = ("raise the weights that keep embeddings apart (sdpn: objective.koleo, objective.me_max, objective.dimension), lower "
          "optimizer.lr or lengthen schedule.warmup_epochs, take a larger batch (train.accumulate keeps the memory), and see "
          "that the crops are augmented (augment.prob)")


def signs(figures, batch, choices=None):
    """The names of the ``figures`` (floats) that look like collapse, given the utterances of a batch.

    choices: the number of prototypes, or None. embedding_spread is below 0.1 of at most 1; effective_rank below 5 % of
    the batch (or 1.5); used ones below 5 % of what the batch could use; target_entropy above 98 % of ln K.
    """
    most = {"embedding_spread": SPREAD, "effective_rank": max(1.5, RANK * batch)}
    if choices:
        most |= dict.fromkeys(("prototypes_used", "outputs_used"), max(1.5, USED * min(batch, choices)))
    found = [name for name, bound in most.items() if figures.get(name, math.inf) < bound]
    if choices and figures.get("target_entropy", 0) > UNIFORM * math.log(choices):
        found.append("target_entropy")
    return found


class CollapseWatch:
    """``watch(embeddings (B, D), stats, choices, batch, epochs)`` -> {"embedding_spread", "effective_rank"} floats.

    See ``metrics.collapse`` for what they are; of the embeddings of this process. stats: dict of 0-dim tensors that are
    looked at, too; batch: utterances in the whole batch. From ``AT_FIRST`` epochs on a sign of collapse is logged as a
    warning, once as long as it lasts.
    """

    def __init__(self):
        self.told = set()

    def __call__(self, embeddings, stats, choices, batch, epochs):
        figures = {"embedding_spread": collapse.spread(embeddings).item(),
                   "effective_rank": collapse.effective_rank(embeddings).item()}
        known = {name: stats[name].item() for name in MEANINGS if name in stats} | figures
        # the embeddings of this process are fewer than the batch
        here = {name for name in signs(figures, len(embeddings))}
        found = here | {name for name in signs(known, batch, choices) if name not in figures}
        if epochs < AT_FIRST:
            return figures
        new = sorted(found - self.told)
        if new:
            said = "; ".join(f"{MEANINGS[name]} ({name} {known[name]:.3g})" for name in new)
            get_logger().warning("signs of collapse after %.2f epochs: %s. If it stays so: %s", epochs, said, ADVICE)
        self.told = found
        return figures
