"""Signs of collapse in training without labels: tensors in, 0-dim tensors on their device out, gradients for none.

Targets are assignments to prototypes (..., K) whose last dimension sums to 1. There are two ways down: all utterances on
a few prototypes (few of them used, ``balance_entropy`` towards 0), and every utterance on all prototypes alike
(``mean_max`` towards 1 / K, ``mean_entropy`` towards ln K). Embeddings collapse to a point (``spread`` towards 0) or to
few directions (``effective_rank`` towards 1).
"""

import torch
import torch.nn.functional as F


def entropy(distribution):
    """Entropy in nats over the last dimension; entries of 0 count 0. Differentiable where entries are 0, too.

    The logarithm is held at the smallest normal number, which keeps its derivative finite.
    """
    return -(distribution * distribution.clamp(min=torch.finfo(distribution.dtype).tiny).log()).sum(-1)


@torch.no_grad()
def assigned(targets):
    """1 for each prototype that is the first choice of a row of ``targets`` (..., K), else 0: (K,), of their dtype.

    Sums of it over batches or processes are above 0 where a prototype is used at all.
    """
    used = targets.new_zeros(targets.shape[-1])
    return used.scatter_(0, targets.argmax(-1).flatten(), 1.0)


def prototypes_used(targets):
    """How many prototypes are the first choice of a row of ``targets`` (..., K)."""
    return assigned(targets).sum()


@torch.no_grad()
def mean_max(targets):
    """Mean over the rows of their largest entry, in [1 / K, 1]."""
    return targets.amax(-1).mean()


@torch.no_grad()
def mean_entropy(targets):
    """Mean over the rows of their entropy, in nats: 0 where each chooses one prototype, ln K where each takes all alike."""
    return entropy(targets).mean()


@torch.no_grad()
def balance_entropy(targets):
    """Entropy, in nats, of the rows' mean: ln K where all prototypes are used alike, 0 where all rows choose the same."""
    return entropy(targets.flatten(0, -2).mean(0))


@torch.no_grad()
def spread(embeddings):
    """Standard deviation (by N) over embeddings (N, D) of length 1, averaged over dimensions, times sqrt(D).

    1 at most, which directions spread evenly come close to; 0 where all embeddings have one direction. (Chen & He 2021,
    arXiv 2011.10566, section 4.1, without the factor.)
    """
    units = F.normalize(embeddings.double(), dim=1)
    return (units.std(0, correction=0).mean() * units.shape[1] ** 0.5).float()


@torch.no_grad()
def effective_rank(embeddings):
    """exp of the entropy of the singular values, scaled to sum 1, of embeddings (N, D) of length 1: in [1, min(N, D)].

    Roy & Vetterli 2007; as a figure to choose among models without labels Garrido et al. 2023 (arXiv 2210.02885, RankMe),
    who keep the embeddings' lengths. A cosine does not see lengths, and long embeddings would outweigh the others. The
    mean is not taken away, so that embeddings in one direction have rank 1. Computed in float64.
    """
    values = torch.linalg.svdvals(F.normalize(embeddings.double(), dim=1))
    return entropy(values / values.sum()).exp().float()
