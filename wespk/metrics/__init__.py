"""Measures of detection performance: numpy arrays in, numbers out."""

from wespk.metrics.cllr import cllr, min_cllr
from wespk.metrics.det import act_dcf, eer, min_dcf
from wespk.metrics.overlap import overlap

__all__ = ["act_dcf", "cllr", "eer", "min_cllr", "min_dcf", "overlap"]
