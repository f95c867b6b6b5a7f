"""Which utterances go through the network together: lengths alike, little padding, a bounded size."""

import numpy as np


def length_batches(num_frames, max_frames, max_waste=0.1):
    """Group utterances of like length.

    num_frames: frames of each utterance, integers (N,). Returns a list of int64 index arrays that together hold each
    of 0..N-1 once. Inside a batch no more than ``max_frames`` frames are computed (utterances x longest, padding
    included) and at most the share ``max_waste`` of them is padding; an utterance longer than ``max_frames`` goes
    alone. The result is a function of the arguments alone: longest first (a batch that does not fit the memory fails
    at once, not at the end), equal lengths in their given order.
    """
    num_frames = np.asarray(num_frames, dtype=np.int64)
    order = np.argsort(-num_frames, kind="stable")
    batches, start = [], 0
    while start < len(order):
        lengths = num_frames[order[start:start + max(1, max_frames // max(1, num_frames[order[start]]))]]
        padded = np.arange(1, len(lengths) + 1) * lengths[0]
        # lengths fall, so the share of padding only grows along the candidates
        fits = np.count_nonzero(np.cumsum(lengths) >= (1 - max_waste) * padded)
        batches.append(order[start:start + fits])
        start += fits
    return batches


def share(items, job, num_jobs):
    """The items of job ``job`` (1..num_jobs): every ``num_jobs``-th, so that jobs get alike mixtures of lengths."""
    return items[job - 1::num_jobs]
