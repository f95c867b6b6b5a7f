"""Contrastive loss with an angular margin and class-aware attention: Li, Mak, Meng 2023, arXiv 2210.16622.

An embedding z_i of class y_i that its class vector does not recognise is a hard sample; pairs with it count less:

    a_i  = softmax over classes k of (s cos(z_i, w_k)), at k = y_i          attention of i to its own class
    A_ij = min(a_i, a_j) / norm                                             weight of a pair

    exponent    mean of -1/|P(i)| sum over p of log [ exp(A_ip cos(theta_ip + m) / tau) / sum over a of exp(A_ia cos(theta_ia) / tau) ]
    negatives   the same without A, but with A_ia in front of exp(...) in the denominator where a is a negative

(notation of ``wespk.losses.supcon``). With all A_ij = 1 either is ``sup_margin_con``.

What is known: the abstract (an additive angular margin in the supervised contrastive loss; class-aware attention so that
hard negatives contribute less); the attention, min and learnable class vectors, from the authors' first code and from
the older loss that it follows (arXiv 1811.01459), where the class vectors are the classification layer's; and that in
this code A multiplies the logit of every pair, is differentiated, and has neither s nor norm (1 and none here).

What is not: the paper's equations and results have not been seen, and the authors' codes disagree with each other and
in places with themselves. ``exponent`` with the margin on positives is our reading of abstract and code; ``negatives``
is ours, the literal reading of "hard negatives contribute less". Ours too, because with K classes and unit vectors a
lies between 1 / (1 + (K - 1) e^2) and 1 / (1 + (K - 1) e^-2), some 1e-4 to 6e-3 for a thousand, which as a factor in
the exponent would flatten the softmax: the scale s, the norm, and the default of dividing by the largest A, which keeps
the temperature what it says for the best recognised pair. The margin's default is that of ``sup_margin_con``, so that
nothing but the attention is added to it; the authors' last code of this loss has 0.2.
"""

import torch
import torch.nn.functional as F
from torch import nn

from wespk.losses import LOSSES
from wespk.losses.base import check_choice, check_count, check_flag, check_number
from wespk.losses.pairs import Form
from wespk.losses.supcon import SupMarginCon
from wespk.utils.errors import InputError
from wespk.utils.precision import at_least_float32


def normaliser(log_attention, kind):
    """Log of what the weights A_ij = min(a_i, a_j) are divided by, for log a (N,): their ``max`` or ``mean``.

    Over all pairs i != j. Sorted by rising a, the n-th is the smaller one of N - n pairs, and the largest A is the last
    but one a. Nothing under- or overflows.
    """
    ordered = log_attention.sort().values[:-1]
    if kind == "max":
        return ordered[-1]
    pairs = torch.arange(len(ordered), 0, -1, device=ordered.device, dtype=ordered.dtype)
    return (ordered + (pairs / pairs.sum()).log()).logsumexp(0)


@LOSSES.register("caa_margin_con")
class CAAMarginCon(SupMarginCon):
    """The loss above; input and output as of ``ContrastiveLoss``, but labels (B,) in [0, num_classes) are needed.

    temperature, margin, margin_on: see ``SupMarginCon``.
    class_vectors: ``own``: ``weight`` (num_classes, embed_dim), learnt, from Xavier's uniform distribution; ``head``:
        those of the classification loss given to ``share_classes``, which then learns from both losses.
    attention_scale: s > 0.
    attention_normalise: ``none``, or the ``max`` or ``mean`` of A over the pairs of the batch.
    attention_in: ``exponent`` or ``negatives``, see above.
    attention_detach: the attention weighs but sends no gradient, to embeddings or class vectors; not with vectors of
        their own, which would learn nothing.

    ``stats``, further: ``attention``, the mean of a; ``least_weight``, the smallest A.
    """

    needs_labels = True

    def __init__(self, embed_dim, num_classes, temperature=0.07, margin=0.1, margin_on="positives", class_vectors="own",
                 attention_scale=1.0, attention_normalise="max", attention_in="exponent", attention_detach=False):
        super().__init__(temperature, margin, margin_on, embed_dim=check_count("embed_dim", embed_dim, 1),
                         num_classes=check_count("num_classes", num_classes, 2))
        self.class_vectors = check_choice("class_vectors", class_vectors, ("own", "head"))
        self.attention_scale = check_number("attention_scale", attention_scale, 0, strict=True)
        self.attention_normalise = check_choice("attention_normalise", attention_normalise, ("none", "max", "mean"))
        self.attention_in = check_choice("attention_in", attention_in, ("exponent", "negatives"))
        self.attention_detach = check_flag("attention_detach", attention_detach)
        self._head = ()  # in a tuple, so that the head stays a part of the objective alone
        if class_vectors == "own":
            if attention_detach:
                raise InputError("loss option attention_detach: with class_vectors=own nothing would train the class "
                                 "vectors; set class_vectors=head, or leave it false")
            self.weight = nn.Parameter(torch.empty(num_classes, embed_dim))
            nn.init.xavier_uniform_(self.weight)

    def share_classes(self, head):
        """Take the class vectors from ``head.weight`` (num_classes, embed_dim) from now on, as it is at each call.

        Raises ``InputError`` if the loss has its own, or the head none of this shape.
        """
        if self.class_vectors == "own":
            raise InputError("loss option class_vectors is 'own': set it to 'head' to share the classification loss's")
        shape = tuple(getattr(head, "weight", torch.empty(0)).shape)
        if shape != (self.num_classes, self.embed_dim):
            raise InputError(f"loss option class_vectors=head: the loss {type(head).__name__} has class vectors {shape}, "
                             f"but ({self.num_classes}, {self.embed_dim}) are needed; set class_vectors=own, or use "
                             "another classification loss")
        self._head = (head,)

    def _classes(self):
        if self.class_vectors == "own":
            return self.weight
        if not self._head:
            raise InputError("loss option class_vectors=head: there is no classification loss to share with; set "
                             "class_vectors=own, or give it one by share_classes")
        return self._head[0].weight

    def form(self):
        return Form(self.temperature, self.margin, self.margin_on, self.attention_in)

    def log_attention(self, units, labels):
        weight = self._classes()
        if self.attention_detach:
            units, weight = units.detach(), weight.detach()
        weight = at_least_float32(weight)
        log_a = -F.cross_entropy(F.linear(self.attention_scale * units, F.normalize(weight)), labels, reduction="none")
        log_weight = log_a
        if self.attention_normalise != "none":
            log_weight = log_a - normaliser(log_a, self.attention_normalise)
        self.stats = {"attention": log_a.detach().exp().mean(), "least_weight": log_weight.detach().min().exp()}
        return log_weight
