"""Softmax cross-entropy over a plain linear layer."""

import torch
import torch.nn.functional as F
from torch import nn

from wespk.losses import LOSSES
from wespk.losses.base import ClassHead
from wespk.utils.precision import at_least_float32


@LOSSES.register("softmax")
class Softmax(ClassHead):
    """-log softmax(W x + b)[y], mean over the batch; x is not normalised, there is no margin."""

    def __init__(self, embed_dim, num_classes):
        super().__init__(embed_dim, num_classes)
        self.bias = nn.Parameter(torch.zeros(num_classes))

    def compute(self, embeddings, labels):
        logits = F.linear(embeddings, at_least_float32(self.weight), at_least_float32(self.bias))
        self.set_accuracy(logits.argmax(1), labels)
        return self.cross_entropy(logits, labels)
