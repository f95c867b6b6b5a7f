"""What the classification heads share: class weights, float32 cosines, margins, label checks, accuracy."""

import math

import torch
import torch.nn.functional as F
from torch import nn

from wespk.utils.errors import InputError
from wespk.utils.precision import at_least_float32


def check_number(name, value, low, high=math.inf, strict=False):
    """Return ``value`` as a float if it lies in [low, high] (``strict``: above ``low``); else raise ``InputError``."""
    number = float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else math.nan
    if not (low < number if strict else low <= number) or not number <= high or math.isinf(number):
        sign = ">" if strict else ">="
        bound = f" and <= {high:g}" if high < math.inf else ""
        raise InputError(f"loss option {name} must be a number {sign} {low:g}{bound}, not {value!r}")
    return number


def safe_sine(cosine):
    """sin(theta) >= 0 for cosines in [-1, 1], with a finite gradient at both ends.

    sqrt(1 - c^2) has an infinite derivative at |c| = 1, and rounding can bring c slightly beyond; below 1e-7 the
    argument is held, so that the derivative is at most 3163 and 0 at the ends.
    """
    return (1.0 - cosine * cosine).clamp(min=1e-7).sqrt()


class Loss(nn.Module):
    """Base of every loss: checked input, arithmetic in float32 whatever autocast says, figures for the log.

    A subclass writes ``compute(embeddings, labels)``. After each forward pass ``stats`` holds detached 0-dim
    tensors on the embeddings' device (such as ``accuracy``); reading them is what waits for the device.

    On the CPU labels are checked at every call; on a GPU, where looking at them waits for all queued work, at the
    first call only.

    ``has_margin`` tells whether ``set_margin`` exists, so that the margin schedule applies.
    """

    has_margin = False

    def __init__(self, embed_dim, num_classes):
        super().__init__()
        self.embed_dim = embed_dim
        self.num_classes = num_classes
        self.stats = {}
        self._labels_seen = False

    def forward(self, embeddings, labels):
        """embeddings: (B, D) floats; labels: (B,) int64 in [0, num_classes). Returns a 0-dim loss, float32 or wider.

        Raises ``InputError`` for shapes that do not fit and labels out of range.
        """
        if embeddings.dim() != 2 or (self.embed_dim is not None and embeddings.shape[1] != self.embed_dim):
            raise InputError(f"the loss takes embeddings (batch, {self.embed_dim}), not {tuple(embeddings.shape)}")
        if labels.shape != embeddings.shape[:1] or labels.is_floating_point():
            raise InputError(f"the loss takes {len(embeddings)} integer labels, one an embedding, not {labels.dtype} "
                             f"of shape {tuple(labels.shape)}")
        if labels.device.type == "cpu" or not self._labels_seen:
            self.check_labels(labels)
            self._labels_seen = True
        with torch.autocast(embeddings.device.type, enabled=False):
            return self.compute(at_least_float32(embeddings), labels)

    def check_labels(self, labels):
        """Raise ``InputError`` if a label is not in [0, num_classes)."""
        low, high = int(labels.min()), int(labels.max())
        if low < 0 or high >= self.num_classes:
            raise InputError(f"label {low if low < 0 else high} is out of range: the loss has {self.num_classes} "
                             f"classes, labels are 0 to {self.num_classes - 1}")

    def compute(self, embeddings, labels):
        """The loss, of checked input in float32 (or float64, if the embeddings are)."""
        raise NotImplementedError


class ClassHead(Loss):
    """Base of the losses with one weight vector a class and a margin.

    ``weight`` (num_classes, embed_dim) starts from Xavier's uniform distribution. ``margin`` is a plain number, a
    function of the training step that the trainer sets; it is no part of the state dict.
    """

    has_margin = True
    max_margin = math.inf

    def __init__(self, embed_dim, num_classes, margin=0.0):
        if num_classes < 2:
            raise InputError(f"a classification loss needs at least two classes, not {num_classes}")
        super().__init__(embed_dim, num_classes)
        self.weight = nn.Parameter(torch.empty(num_classes, embed_dim))
        nn.init.xavier_uniform_(self.weight)
        self.set_margin(margin)

    def set_margin(self, margin):
        """Use this margin from now on; its unit is the loss's. Raises ``InputError`` out of [0, max_margin]."""
        self.margin = check_number("margin", margin, 0, self.max_margin)

    def cosines(self, embeddings):
        """Cosine of each embedding with each class weight: (B, num_classes)."""
        return F.linear(F.normalize(embeddings), F.normalize(at_least_float32(self.weight)))

    def set_accuracy(self, logits, labels):
        """Put the share of rows whose largest logit (B, num_classes) is the label's into ``stats``."""
        with torch.no_grad():
            self.stats = {"accuracy": (logits.argmax(1) == labels).float().mean()}
