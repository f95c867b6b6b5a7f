"""What the contrastive losses share: several views of an utterance, anchors, and contrast sets of several processes."""

import torch
import torch.nn.functional as F

from wespk.losses.base import Loss
from wespk.losses.pairs import count_positives, pair_loss
from wespk.utils.errors import InputError
from wespk.utils.precision import at_least_float32


class ContrastiveLoss(Loss):
    """Base of the losses that compare every embedding of a batch with every other one.

    forward(embeddings (B, V, D), labels (B,) int64 or None) -> 0-dim loss, float32 or wider: V views of each of B
    utterances. Embeddings of one label are positives of each other; without labels those of one utterance are. The
    loss is the mean over the anchors that have a positive, and 0, with zero gradients, if none has one.

    embed_dim: None, or the size that embeddings are checked for. num_classes: labels are compared with each other and
    may be any integers, so it means nothing here, unless the loss has class vectors (``needs_labels``).

    ``stats``: ``skipped``, how many anchors have no positive; ``positive_cosine`` and ``negative_cosine``, the mean
    cosine with positives and with all others (0 if there are none).

    A subclass writes ``form`` and, if it has one, ``log_attention``.
    """

    views = True
    needs_labels = False

    def __init__(self, embed_dim=None, num_classes=None):
        super().__init__(embed_dim, num_classes)

    def form(self):
        """The ``pairs.Form`` of the loss as it is now."""
        raise NotImplementedError

    def log_attention(self, units, labels):
        """Log of each embedding's weight (N,), given embeddings of length 1 (N, D) and labels (N,).

        None stands for no weights, and is what a loss without attention has.
        """

    def forward(self, embeddings, labels):
        name = type(self).__name__
        if embeddings.dim() != 3 or embeddings.shape[2] != (self.embed_dim or embeddings.shape[2]):
            raise InputError(f"{name} takes embeddings (batch, views, {self.embed_dim or 'size'}), not "
                             f"{tuple(embeddings.shape)}")
        batch, views = embeddings.shape[:2]
        if labels is None:
            if self.needs_labels:
                raise InputError(f"{name} needs labels: its class vectors are the speakers'")
            if views < 2:
                raise InputError(f"{name} without labels takes at least two views of an utterance, not {views}: nothing "
                                 "else could be a positive")
            return self.rows(embeddings.flatten(0, 1), torch.arange(batch * views, device=embeddings.device) // views)
        if labels.shape != (batch,):
            raise InputError(f"{name} takes {batch} integer labels, one an utterance, not {tuple(labels.shape)}")
        return self.rows(embeddings.flatten(0, 1), labels[:, None].expand(-1, views).flatten())

    def rows(self, embeddings, labels, first=0, count=None):
        """The loss of the anchors first .. first + count among all: what one of several processes computes.

        embeddings (N, D), labels (N,) int64: all embeddings, as gathered from the processes, views of an utterance
        being embeddings of the same label (without labels: of the same number, unlike that of any other utterance on
        any process). count: all from ``first`` on, by default.

        The whole loss is a mean over all anchors that have a positive, M of them. Returned is the sum over the anchors
        here times N / (M count), so that the mean of the processes' results, weighed by their shares count / N, is the
        whole loss, however many anchors each of them skips. Gradients: what a process sends back is the gradient of
        its own anchors' losses by *all* N embeddings, of which others are the owners. The gather must add up what
        arrives for an embedding from all processes; then with each process's result multiplied by
        count / N * (number of processes), the mean over processes of the parameters' gradients, which is what DDP
        takes, is the gradient of the whole loss. For a gather without gradients the result would be wrong.
        """
        self.check(embeddings, labels)
        count = len(labels) - first if count is None else count
        if not (0 <= first and 0 < count <= len(labels) - first):
            raise InputError(f"anchors {first} to {first + count} do not lie within {len(labels)} embeddings")
        with torch.autocast(embeddings.device.type, enabled=False):
            return self.compute(F.normalize(at_least_float32(embeddings)), labels, first, count)

    def check(self, embeddings, labels):
        """Raise ``InputError`` for shapes of ``rows`` that do not fit and labels that the loss cannot use."""
        name, size = type(self).__name__, self.embed_dim or embeddings.shape[-1]
        if embeddings.dim() != 2 or embeddings.shape[1] != size or len(embeddings) < 2:
            raise InputError(f"{name} compares two or more embeddings (number, {size}), not {tuple(embeddings.shape)}")
        if labels.shape != embeddings.shape[:1] or labels.is_floating_point():
            raise InputError(f"{name} takes {len(embeddings)} integer labels, one an embedding, not {labels.dtype} of "
                             f"shape {tuple(labels.shape)}")
        if self.needs_labels and (labels.device.type == "cpu" or not self._labels_seen):
            self.check_labels(labels)
            self._labels_seen = True

    def compute(self, units, labels, first, count):
        """``rows`` of checked input: units (N, D) have length 1."""
        own, total = slice(first, first + count), len(labels)
        positives = count_positives(labels)
        weights = (positives > 0).to(units.dtype)
        log_attention = self.log_attention(units, labels)
        value, similarity = pair_loss(self.form(), units, log_attention, labels, first, weights[own], positives[own])
        with torch.no_grad():
            pairs, everything = positives[own].sum(), units[own].sum(0) @ units.sum(0) - units[own].square().sum()
            others = count * (total - 1) - pairs
            self.stats = {**self.stats, "skipped": count - weights[own].sum(),
                          "positive_cosine": similarity / pairs.clamp(min=1),
                          "negative_cosine": (everything - similarity) / others.clamp(min=1)}
        return value * total / (count * weights.sum().clamp(min=1))
