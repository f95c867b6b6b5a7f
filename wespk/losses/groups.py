"""What the losses on batches of P speakers x M utterances share."""

import torch

from wespk.losses.base import Loss, check_count
from wespk.utils.errors import InputError


class GroupLoss(Loss):
    """Base of the losses that compare the utterances of a batch, which holds ``utterances`` (M) of each speaker.

    The order of the batch is free. Raises ``InputError`` when a speaker has another number of utterances, or there is
    one speaker only.
    """

    def __init__(self, embed_dim, num_classes, utterances):
        super().__init__(embed_dim, num_classes)
        self.utterances = check_count("utterances", utterances, 2)

    def check_labels(self, labels):
        super().check_labels(labels)
        speakers, counts = torch.unique(labels, return_counts=True)
        wrong = counts != self.utterances
        if wrong.any():
            raise InputError(f"speaker {int(speakers[wrong][0])} has {int(counts[wrong][0])} utterances in the batch; "
                             f"the loss takes {self.utterances} of each: sample batches of speakers x utterances")
        if len(speakers) < 2:
            raise InputError("all utterances of the batch are one speaker's; the loss compares at least two speakers")

    def grouped(self, embeddings, labels):
        """Embeddings (P * M, D) as (P, M, D), speakers by rising label, utterances as they stand in the batch."""
        return embeddings[labels.argsort(stable=True)].unflatten(0, (-1, self.utterances))
