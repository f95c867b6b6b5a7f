"""The cost of a network: multiply-adds of one forward pass, and parameters."""

import torch


def multiply_adds(model, num_frames=200):
    """Multiply-adds of embedding one utterance of ``num_frames`` frames (200 frames: 2 s).

    Counted by torch's own counter, which takes convolutions and matrix products (two operations a multiply-add, hence
    the half) and leaves out normalisation, activations, pooling sums and biases.
    """
    from torch.utils.flop_counter import FlopCounterMode

    parameter = next(model.parameters())
    feats = torch.zeros(1, num_frames, model.feat_dim, device=parameter.device, dtype=parameter.dtype)
    training = model.training
    model.eval()
    try:
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            model(feats)
    finally:
        model.train(training)
    return counter.get_total_flops() // 2


def num_parameters(model):
    """Number of learnt values."""
    return sum(p.numel() for p in model.parameters())
