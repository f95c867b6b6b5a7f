"""What losses share: checked input, float32 whatever autocast says, class weights, margins, accuracy."""

import math

import torch
import torch.nn.functional as F
from torch import nn

from wespk.utils.errors import InputError
from wespk.utils.precision import at_least_float32
from wespk.utils.registry import nearest


def check_number(name, value, low, high=math.inf, strict=False):
    """Return ``value`` if it is a finite number in [low, high] (``strict``: in the open interval).

    Raises ``InputError`` naming the option otherwise.
    """
    number = float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else math.nan
    inside = low < number < high if strict else low <= number <= high
    if not inside or math.isinf(number):
        low_sign, high_sign = (">", "<") if strict else (">=", "<=")
        bound = f" and {high_sign} {high:g}" if high < math.inf else ""
        raise InputError(f"loss option {name} must be a number {low_sign} {low:g}{bound}, not {value!r}")
    return value


def check_count(name, value, low):
    """Return ``value`` if it is an integer >= ``low``; else raise ``InputError`` naming the option."""
    if not isinstance(value, int) or isinstance(value, bool) or value < low:
        raise InputError(f"loss option {name} must be an integer >= {low}, not {value!r}")
    return value


def check_choice(name, value, known):
    """Return ``value`` if it is one of ``known``; else raise ``InputError`` naming the option and the nearest."""
    if value not in known:
        raise InputError(f"loss option {name}: '{value}' is unknown{nearest(value, known)}; known: {', '.join(known)}")
    return value


def check_flag(name, value):
    """Return ``value`` if it is a bool; else raise ``InputError`` naming the option."""
    if not isinstance(value, bool):
        raise InputError(f"loss option {name} must be true or false, not {value!r}")
    return value


def alone(tensor):
    """What stands for the sum of ``tensor`` over all processes where there is one: the tensor itself.

    A loss that needs sums over processes takes a function ``reduce`` that makes them, being ignorant of processes itself.
    Backward, such a function must give each process the sum of what all of them send back.
    """
    return tensor


def safe_sine(cosine):
    """sin(theta) >= 0 for cosines in [-1, 1], with a finite gradient at both ends.

    sqrt(1 - c^2) has an infinite derivative at |c| = 1, and rounding can bring |c| slightly beyond 1. Below the
    dtype's epsilon the argument is held, which leaves the derivative finite, and 0 at the ends.
    """
    return (1.0 - cosine * cosine).clamp(min=torch.finfo(cosine.dtype).eps).sqrt()


class Loss(nn.Module):
    """Base of every loss: checked input, arithmetic in float32 whatever autocast says, figures for the log.

    A subclass writes ``compute(embeddings, labels)``. After each forward pass ``stats`` holds detached 0-dim
    tensors on the embeddings' device (such as ``accuracy``); reading them is what waits for the device.

    Losses with classes also note ``positive_gradient`` and ``negative_gradient``: the absolute derivatives of the loss by
    its logits, what softplus or softmax is applied to, summed over the batch's target and non-target positions. A
    softmax has two equal sums, as its derivatives by the logits add up to 0.

    On the CPU labels are checked at every call; on a GPU, where looking at them waits for all queued work, at the
    first call only.

    ``has_margin`` tells whether the loss has a margin that a schedule may move; ``margin_is_share`` whether that is the
    share in force of margins that are options of their own; ``views`` whether it takes several views
    of each utterance, (B, V, D) instead of (B, D), which the contrastive objective makes.
    """

    has_margin = False
    margin_is_share = False
    views = False

    def __init__(self, embed_dim, num_classes):
        super().__init__()
        self.embed_dim = embed_dim
        self.num_classes = num_classes
        self.stats = {}
        self._labels_seen = False

    def set_margin(self, margin):
        """Use this margin from now on. A loss without one takes 0 alone and raises ``InputError`` otherwise."""
        if margin != 0:
            raise InputError(f"loss {type(self).__name__} has no margin to set: it must be 0, not {margin!r}")

    def log_odds(self):
        """What the trained loss says of a cosine, as ``log_odds.LogOdds``. Raises ``InputError`` if it says nothing."""
        raise InputError(f"loss {type(self).__name__} trains no threshold: only sphereface2 and spherespeaker offer "
                         "log-odds by their bias")

    def forward(self, embeddings, labels):
        """embeddings: (B, D) floats; labels: (B,) int64. Returns a 0-dim loss, float32 or wider.

        Raises ``InputError`` for shapes that do not fit and labels that the loss cannot use.
        """
        self.check(embeddings, labels)
        with torch.autocast(embeddings.device.type, enabled=False):
            return self.compute(at_least_float32(embeddings), labels)

    def check(self, embeddings, labels):
        """Raise ``InputError`` for shapes that do not fit and labels that the loss cannot use."""
        if embeddings.dim() != 2 or embeddings.shape[1] != self.embed_dim:
            raise InputError(f"the loss takes embeddings (batch, {self.embed_dim}), not {tuple(embeddings.shape)}")
        if labels.shape != embeddings.shape[:1] or labels.is_floating_point():
            raise InputError(f"the loss takes {len(embeddings)} integer labels, one an embedding, not {labels.dtype} "
                             f"of shape {tuple(labels.shape)}")
        if labels.device.type == "cpu" or not self._labels_seen:
            self.check_labels(labels)
            self._labels_seen = True

    def check_labels(self, labels):
        """Raise ``InputError`` if a label is not in [0, num_classes)."""
        low, high = int(labels.min()), int(labels.max())
        if low < 0 or high >= self.num_classes:
            raise InputError(f"label {low if low < 0 else high} is out of range: the loss has {self.num_classes} "
                             f"classes, labels are 0 to {self.num_classes - 1}")

    def compute(self, embeddings, labels):
        """The loss, of checked input in float32 (or float64, if the embeddings are)."""
        raise NotImplementedError

    def set_accuracy(self, best, labels):
        """Put the share of rows where ``best`` (B,) is the label into ``stats``."""
        self.stats = {"accuracy": (best == labels).float().mean().detach()}

    def note_gradients(self, positive, negative):
        """Put the summed absolute derivatives by the logits (0-dim) of target and other positions into ``stats``."""
        self.stats |= {"positive_gradient": positive.detach(), "negative_gradient": negative.detach()}


class ClassHead(Loss):
    """Base of the losses with weight vectors for the classes.

    ``weight`` (num_classes, embed_dim) starts from Xavier's uniform distribution. ``margin`` is a plain number, a
    function of the training step that the trainer sets; it is no part of the state dict.
    """

    def __init__(self, embed_dim, num_classes):
        check_count("embed_dim", embed_dim, 1)
        if num_classes < 2:
            raise InputError(f"a classification loss needs at least two classes, not {num_classes}")
        super().__init__(embed_dim, num_classes)
        self.weight = nn.Parameter(torch.empty(num_classes, embed_dim))
        nn.init.xavier_uniform_(self.weight)

    def cross_entropy(self, logits, labels):
        """-log softmax(logits (B, K))[labels], mean over the batch; its gradients are noted."""
        losses = F.cross_entropy(logits, labels, reduction="none")
        self.note_softmax(losses)
        return losses.mean()

    def note_softmax(self, losses):
        """Note the gradients of losses (B,) that are -log p of the target: 1 - p, and p_j of the others, in all 1 - p too."""
        pull = -torch.expm1(-losses.detach()).mean()
        self.note_gradients(pull, pull)


class MarginHead(ClassHead):
    """A class head with a margin, in the unit of the loss, that lies within ``limits`` (least, most)."""

    has_margin = True

    def __init__(self, embed_dim, num_classes, margin, limits=(0, math.inf)):
        super().__init__(embed_dim, num_classes)
        self.limits = limits
        self.set_margin(margin)

    def set_margin(self, margin):
        """Use this margin from now on. Raises ``InputError`` outside of the limits."""
        self.margin = check_number("margin", margin, *self.limits)


def cosines(embeddings, weight):
    """Cosine of each row of ``embeddings`` (B, D) with each row of ``weight`` (K, D), in float32 at least: (B, K)."""
    return F.linear(F.normalize(embeddings), F.normalize(at_least_float32(weight)))
