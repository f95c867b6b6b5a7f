"""What every network promises: its sizes, checked input, and embeddings that padding does not change."""

import torch
from torch import nn

from wespk.models.layers import positive
from wespk.utils.errors import InputError


class EmbeddingModel(nn.Module):
    """Base of all networks; a subclass writes ``embed(x, lengths)``.

    Attributes: ``feat_dim`` (F), ``embed_dim`` (D), ``min_frames`` (the fewest frames an utterance may have: below it
    a standard deviation over time would be taken over fewer than two frames).
    """

    def __init__(self, feat_dim, embed_dim, min_frames):
        super().__init__()
        positive(feat_dim=feat_dim, embed_dim=embed_dim)
        self.feat_dim = feat_dim
        self.embed_dim = embed_dim
        self.min_frames = min_frames

    def forward(self, feats, lengths=None):
        """Embed utterances.

        feats: (B, T, F) mean-normalised log-mel features; lengths: None when all T frames are speech, or the number
        of frames (B,) of each utterance, integers on any device: what lies behind them then has no influence.
        Returns (B, D) float32, not length-normalised.

        Raises ``InputError`` for a wrong shape, too few frames, or ``lengths`` in training mode, where batch
        normalisation would count the padding.
        """
        self._check(feats)
        if lengths is not None:
            lengths = self._checked_lengths(feats, lengths)
        return self.embed(feats.transpose(1, 2), lengths)

    def embed(self, x, lengths):
        """x: (B, F, T); lengths: None or int64 (B,) on x's device, each in [min_frames, T]. Returns (B, D)."""
        raise NotImplementedError

    def _check(self, feats):
        if feats.dim() != 3 or feats.shape[2] != self.feat_dim:
            raise InputError(f"the model takes features (batch, frames, {self.feat_dim}), not {tuple(feats.shape)}; "
                             "set model.feat_dim to the number of coefficients of the features")
        if feats.shape[1] < self.min_frames:
            raise InputError(f"{feats.shape[1]} frames are too few for this model: min_frames is {self.min_frames}; "
                             "leave out shorter utterances or extend them")

    def _checked_lengths(self, feats, lengths):
        batch, frames, _ = feats.shape
        lengths = torch.as_tensor(lengths)
        if lengths.shape != (batch,) or lengths.is_floating_point():
            raise InputError(f"lengths must be {batch} integers, one an utterance, not {lengths.dtype} "
                             f"of shape {tuple(lengths.shape)}")
        if self.training:
            raise InputError("lengths are for evaluation mode: in training, batch normalisation would count the "
                             "padding; call model.eval() or give chunks of equal length")
        shortest, longest = int(lengths.min()), int(lengths.max())
        if shortest < self.min_frames:
            raise InputError(f"utterance {int(lengths.argmin())} of the batch has {shortest} frames: min_frames of "
                             f"this model is {self.min_frames}; leave out shorter utterances or extend them")
        if longest > frames:
            raise InputError(f"utterance {int(lengths.argmax())} of the batch is said to have {longest} frames, but "
                             f"the batch has {frames}")
        return None if shortest == frames else lengths.to(feats.device, torch.int64)
