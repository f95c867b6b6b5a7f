"""KoLeo: each embedding away from its nearest neighbour. Sablayrolles et al. 2019, arXiv 1806.03198, equation 2.

Of embeddings e_i of length 1, e_nn(i) being the other one with the largest inner product,

    -1/N sum_i log(||e_i - e_nn(i)|| + eps)

is least where they fill the sphere evenly. eps = 1e-8 is also added to each component of the difference, as in the code
that SDPN was released with: then equal embeddings have a finite loss (15.26 of 512 components) and gradient. That code
takes neighbours among the utterances of one GPU, so that its meaning hangs on their number; here they are looked for in
the whole batch.
"""

import torch
import torch.nn.functional as F
from torch import nn

from wespk.losses import WITHOUT_LABELS
from wespk.utils.errors import InputError
from wespk.utils.precision import at_least_float32

EPS = 1e-8


def koleo(embeddings, first=0, count=None):
    """The loss above of embeddings (N, D) of any length: 0-dim, float32 or wider, whatever autocast says.

    first, count: the mean is taken over the rows first .. first + count only, all from ``first`` on by default, their
    neighbours being looked for among all N: what one of several processes computes of embeddings gathered from all. The
    mean of the processes' results, weighed by count / N, is the whole; for gradients the gather must add up what arrives
    for an embedding from all processes.

    Raises ``InputError`` for a single embedding, which has no neighbour.
    """
    if embeddings.dim() != 2 or len(embeddings) < 2:
        raise InputError(f"KoLeo takes two embeddings or more (number, size), not {tuple(embeddings.shape)}: one has no "
                         "neighbour; take a larger batch or leave KoLeo out")
    count = len(embeddings) - first if count is None else count
    if not (0 <= first and 0 < count <= len(embeddings) - first):
        raise InputError(f"rows {first} to {first + count} do not lie within {len(embeddings)} embeddings")
    with torch.autocast(embeddings.device.type, enabled=False):
        units = F.normalize(at_least_float32(embeddings), dim=1, eps=EPS)
        own = units[first : first + count]
        with torch.no_grad():
            inner = own @ units.T
            inner.diagonal(first).fill_(-torch.inf)
            nearest = inner.argmax(1)
        return -(F.pairwise_distance(own, units[nearest], eps=EPS) + EPS).log().mean()


def koleo_of_views(embeddings, first=0, count=None):
    """Sum over views of ``koleo``, given embeddings (N, V, D) of V views of N utterances.

    Views of one utterance are meant to be alike, so neighbours are looked for within a view. first, count: utterances.
    """
    if embeddings.dim() != 3:
        raise InputError(f"KoLeo of views takes embeddings (number, views, size), not {tuple(embeddings.shape)}")
    return sum(koleo(view, first, count) for view in embeddings.unbind(1))


@WITHOUT_LABELS.register("koleo")
class KoLeo(nn.Module):
    """``koleo`` as a module: forward(embeddings (B, D), labels=None) -> 0-dim loss; labels are not looked at.

    embed_dim: D, or None for any; num_classes: says nothing to it.
    """

    def __init__(self, embed_dim=None, num_classes=None):
        super().__init__()
        self.embed_dim = embed_dim

    def forward(self, embeddings, labels=None):
        if self.embed_dim and embeddings.shape[-1] != self.embed_dim:
            raise InputError(f"KoLeo takes embeddings (number, {self.embed_dim}), not {tuple(embeddings.shape)}")
        return koleo(embeddings)
