"""Several losses on the same embeddings, combined by their gradients with respect to the embeddings.

A gradient g_k = dL_k/dz costs one backward pass through the head of loss k, none through the network below z. All that
the rules here need of the gradients is their Gram matrix G (n, n), G_ij = g_i . g_j; over processes it is summed, so that
every process has the weights of the global batch.

min_norm  weights of the shortest vector sum a_k g_k with a_k >= 0, sum a_k = 1: unless it is zero, none of the losses
          rises along it (Desideri 2012; Sener & Koltun 2018, with gradients of the embeddings as in their section 3.3;
          for speakers: Li, Mak & Meng 2023). The weights sum to 1, where those of a plain sum are 1 each.
pcgrad    from each gradient, what points against another is taken away, and the rest added up (Yu et al. 2020).
"""

import numpy as np
import torch
from torch import nn

from wespk.utils import dist
from wespk.utils.errors import InputError
from wespk.utils.registry import nearest
from wespk.utils.seed import generator

METHODS = ("sum", "fixed", "min_norm", "uncertainty", "pcgrad")
BY_GRADIENTS = ("min_norm", "pcgrad")
EQUAL = 1e-12  # squared distance of two gradients, beside their squared norms, that is float32's rounding
GAP, STEPS = 1e-8, 1000  # where Frank-Wolfe stops


def gram_matrix(gradients):
    """Inner products of tensors of one shape, summed in float64: (n, n) float64, on their device."""
    flat = [g.detach().double().flatten() for g in gradients]
    return torch.stack([torch.stack([(a * b).sum() for b in flat]) for a in flat])  # of equal tensors, equal entries


def min_norm_two(g1, g2):
    """The alpha in [0, 1] with the least norm of alpha g1 + (1 - alpha) g2, in closed form.

    g1, g2: tensors of one shape, any; their inner products are taken in float64. Returns a 0-dim tensor on their device
    (which is not waited for), float32 or, of float64 tensors, float64:

        alpha = clip((g2 - g1) . g2 / |g1 - g2|^2, 0, 1);   0.5 where g1 = g2 to float32's rounding (any alpha will do)

    NaN or infinity in a gradient makes it NaN. Raises ``InputError`` if the shapes differ.
    """
    if g1.shape != g2.shape:
        raise InputError(f"gradients to be combined have one shape, not {tuple(g1.shape)} and {tuple(g2.shape)}")
    alpha = _closed_form(gram_matrix([g1, g2]))[0]
    return alpha if g1.dtype == torch.float64 else alpha.float()


def _closed_form(gram):
    """Min-norm weights (2,) of two gradients."""
    squares = gram[0, 0] + gram[1, 1]
    distance = squares - 2 * gram[0, 1]
    equal = (distance <= EQUAL * squares) & torch.isfinite(squares)
    alpha = torch.where(equal, 0.5, ((gram[1, 1] - gram[0, 1]) / distance).clamp(0, 1))
    return torch.stack([alpha, 1 - alpha])


def frank_wolfe(gram):
    """Min-norm weights of n gradients by Frank-Wolfe with pairwise steps (Lacoste-Julien & Jaggi 2015).

    gram: (n, n). A step moves weight, as much as shortens d = sum w_k g_k most, from the gradient in use with the largest
    g_k . d to the one with the smallest. It ends where |d|^2 - min_k g_k . d, which bounds the excess of |d|^2 / 2, is
    within 1e-8 of the smallest |g_k|^2; or after 1000 steps, which only gradients that depend on one another linearly
    and differ by orders of magnitude have been seen to need. |d| has risen in no step.

    Computed on the host in float64, for which a GPU is waited for. Returns (n,) float64 on gram's device, non-negative
    and of sum 1; NaN if ``gram`` is not finite.
    """
    inner = gram.detach().double().cpu().numpy()
    weights = np.full(len(inner), np.nan)
    if np.isfinite(inner).all():
        weights = _pairwise_steps(inner)
    return torch.from_numpy(weights).to(gram.device)


def _pairwise_steps(inner):
    weights = np.zeros(len(inner))
    weights[inner.diagonal().argmin()] = 1
    for _ in range(STEPS):
        along = inner @ weights
        best = along.argmin()
        if weights @ along - along[best] <= GAP * inner.diagonal().min():
            break
        worst = np.where(weights > 0, along, -np.inf).argmax()
        curvature = inner[best, best] + inner[worst, worst] - 2 * inner[best, worst]
        step = weights[worst]
        if curvature > 0:
            step = min(step, (along[worst] - along[best]) / curvature)
        weights[best] += step
        weights[worst] -= step
    return weights / weights.sum()


def min_norm(gram):
    """Min-norm weights (n,) float64 of n >= 2 gradients with Gram matrix ``gram``: closed form for two, else Frank-Wolfe."""
    return _closed_form(gram.double()) if len(gram) == 2 else frank_wolfe(gram)


def pcgrad(gram, orders=None):
    """The c (n,) float64 for which sum c_k g_k is PCGrad's combination of n gradients with Gram matrix ``gram``.

    orders: for each gradient the order in which the others are looked at, n permutations of range(n); ascending without
    them. It matters from three gradients on. Each gradient's conflicts with the others as they came are taken away one
    after the other: g <- g - (g . g_j) / |g_j|^2 g_j where g . g_j < 0. Then all are added up.
    """
    gram = gram.double()
    mixed = torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    for i in range(len(gram)):
        for j in range(len(gram)) if orders is None else orders[i]:
            if j != i:
                product = (mixed[i] * gram[int(j)]).sum()
                mixed[i, int(j)] -= torch.where(product < 0, product / gram[int(j), int(j)], 0.0)
    return mixed.sum(0)


def build_balance(conf, names):
    """The ``Balance`` of the section ``balance`` of a whole configuration, for losses called ``names``, in this order."""
    return Balance(conf["balance"]["method"], names, conf["balance"]["weights"], conf["seed"])


def check_used(conf, objective):
    """Raise ``InputError`` if the section ``balance`` asks for something and ``objective`` has no losses to balance."""
    asked = conf["balance"]["method"] != "sum" or conf["balance"]["weights"]
    if asked and not any(isinstance(module, Balance) for module in objective.modules()):
        raise InputError(f"balance.method={conf['balance']['method']}, balance.weights={conf['balance']['weights']}: the "
                         f"objective '{conf['objective']['name']}' has one loss, there is nothing to balance: set "
                         "balance.method=sum and balance.weights=[], or give it two (objective.name=contrastive with "
                         "a loss.name and a contrast.name other than none)")


class Balance(nn.Module):
    """Makes one loss of several on the same embeddings: ``balance(losses, embeddings)`` -> 0-dim loss to go back from.

    method, with the gradient that the heads' own parameters get from their loss beside it:
        sum          L = sum L_k                                        times 1
        fixed        L = sum w_k L_k, ``weights`` in the order of names   times w_k
        min_norm     L = sum a_k L_k, a as in ``min_norm``                times a_k: with a_k = 0 a head rests
        uncertainty  L = sum exp(-s_k) L_k + s_k / 2, s_k = log sigma_k^2 learnt, from 0 on: softmax-like losses with a
                     temperature of their own (Kendall, Gal & Cipolla 2018)   times exp(-s_k)
        pcgrad       the embeddings get PCGrad's combination, the value is sum L_k    times 1, as nobody conflicts there
    names: of the losses. seed: for the order of PCGrad's projections, from three losses on.

    embeddings: the tensor (B, ...) that all losses were computed from, B utterances of this process. Under min_norm and
    pcgrad it must be part of a graph, and this call goes back through the heads once for each loss, into no parameter:
    the network is gone through once, by the caller, who also goes through the heads a second time. To keep the first
    pass's gradients instead would save that, but it takes the heads' parameters out of their graph and hands DDP's hooks
    gradients made by hand; what it would save is small beside the network.

    Several processes: to be called inside DDP's forward, by all together, each with a loss that is a mean over its own
    utterances; as in the trainer they weigh as many utterances as they have. A loss that gathers embeddings must send
    gradients back as their sum over processes. Weights are those of the (micro-)batch over all processes, the same on
    each. With accumulation every micro-batch has its own.

    Checkpoints hold an objective's ``model`` and ``loss``: the balance, which may have learnt weights, belongs into ``loss``.

    Without gradients (``torch.no_grad``) there is nothing to weigh: min_norm then gives the mean, pcgrad the sum.

    A NaN or infinity in a loss or gradient makes the result NaN. ``stats`` holds detached 0-dim tensors for the log:
    loss_NAME, weight_NAME (pcgrad: the coefficient of NAME's gradient), and of the gradients over the whole batch
    gradient_norm_NAME and gradient_cosine (with _NAME_NAME behind it from three losses on; 0 if one has no length).

    Raises ``InputError`` for options that contradict each other, other losses than ``names``, and losses that do not
    hang on the embeddings.
    """

    undecayed = ("log_variances",)

    def __init__(self, method, names, weights=(), seed=0):
        super().__init__()
        if method not in METHODS:
            raise InputError(f"balance.method: '{method}' is unknown{nearest(method, METHODS)}; known: {', '.join(METHODS)}")
        self.method, self.names, self.seed, self.step, self.stats = method, tuple(names), seed, None, {}
        if len(self.names) < 2:
            raise InputError(f"a balance takes two losses or more, not {', '.join(self.names) or 'none'}")
        self._check_weights(list(weights))
        self.weights = [float(w) for w in weights] or [1.0] * len(self.names)
        self.log_variances = nn.Parameter(torch.zeros(len(self.names))) if method == "uncertainty" else None

    def _check_weights(self, weights):
        if self.method != "fixed" and weights:
            raise InputError(f"balance.weights={weights} is for balance.method=fixed; balance.method={self.method} has "
                             "weights of its own: leave balance.weights empty")
        right = len(weights) == len(self.names) and all(0 <= w < float("inf") for w in weights) and any(weights)
        if self.method == "fixed" and not right:
            raise InputError(f"balance.weights={weights}: balance.method=fixed takes a weight >= 0 for each of "
                             f"{', '.join(self.names)}, in this order, and not all 0")

    def set_step(self, step):
        """Say which training step it is. Only PCGrad of three losses or more asks for it."""
        self.step = step

    def forward(self, losses, embeddings):
        if tuple(losses) != self.names:
            raise InputError(f"the balance is for the losses {', '.join(self.names)}, in this order, not {', '.join(losses)}")
        values = list(losses.values())
        self.stats = {f"loss_{name}": value.detach() for name, value in losses.items()}
        if self.method in BY_GRADIENTS and torch.is_grad_enabled():
            return self._by_gradients(values, embeddings)
        if self.method in BY_GRADIENTS:
            return sum(values) / (len(values) if self.method == "min_norm" else 1)
        if self.method == "uncertainty":
            weights = torch.exp(-self.log_variances).unbind()
            rest = self.log_variances.sum() / 2
        else:
            weights, rest = [torch.full_like(value, w) for value, w in zip(values, self.weights)], 0
        self._note("weight", weights)
        return sum(w * value for w, value in zip(weights, values)) + rest

    def _by_gradients(self, values, embeddings):
        share = _share(embeddings, values[0])
        gradients = [self._gradient(name, value, embeddings, share) for name, value in zip(self.names, values)]
        gram = dist.sum_over_ranks(gram_matrix(gradients))
        weights = min_norm(gram) if self.method == "min_norm" else pcgrad(gram, self._orders())
        weights = weights.to(values[0].dtype).unbind()
        self._note("weight", weights)
        self._note_gradients(gram)
        if self.method == "min_norm":
            return sum(w * value for w, value in zip(weights, values))
        # the sum of the losses sends the sum of the gradients to the embeddings; a term of value 0 adds what is missing
        missing = sum((w - 1) * g for w, g in zip(weights, gradients)) / share
        return sum(values) + (missing * (embeddings - embeddings.detach())).sum()

    def _gradient(self, name, value, embeddings, share):
        """``share`` times the gradient of one loss with respect to the embeddings, and no other."""
        gradient = None
        if value.requires_grad and embeddings.requires_grad:
            gradient, = torch.autograd.grad(value, embeddings, share, retain_graph=True, allow_unused=True)
        if gradient is None:
            raise InputError(f"balance.method={self.method} weighs gradients with respect to the embeddings, but the loss "
                             f"'{name}' has none: it was computed from another tensor, or the network is frozen")
        return gradient

    def _orders(self):
        """Random orders of projection, a function of seed and step alone: the same on every process."""
        n = len(self.names)
        if n == 2:
            return None
        if self.step is None:
            raise InputError("pcgrad of three losses or more draws an order in each step: call set_step before")
        draw = generator(self.seed, "pcgrad", self.step)
        return [draw.permutation(n) for _ in range(n)]

    def _note(self, kind, tensors):
        self.stats |= {f"{kind}_{name}": tensor.detach() for name, tensor in zip(self.names, tensors)}

    def _note_gradients(self, gram):
        norms = gram.diagonal().sqrt()
        self._note("gradient_norm", norms.float().unbind())
        tiny = torch.finfo(gram.dtype).tiny
        cosines = (gram / (norms[:, None] * norms).clamp(min=tiny)).clamp(-1, 1).float()
        for i, first in enumerate(self.names):
            for j in range(i):
                pair = "" if len(self.names) == 2 else f"_{self.names[j]}_{first}"
                self.stats[f"gradient_cosine{pair}"] = cosines[i, j]


def _share(embeddings, value):
    """The share of this process's utterances in those of all, 0-dim, of the loss's dtype and on its device."""
    mine = torch.full((), len(embeddings), dtype=torch.float64, device=value.device)
    return (mine / dist.sum_over_ranks(mine.clone())).to(value.dtype)
