"""Floating-point widths."""

import torch


def at_least_float32(x):
    """The tensor ``x`` itself, or its float32 copy where it is narrower (bfloat16 or float16, as under autocast)."""
    return x if x.dtype in (torch.float32, torch.float64) else x.float()
