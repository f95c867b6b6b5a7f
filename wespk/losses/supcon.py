"""Supervised contrastive loss, without and with an additive angular margin on the positives.

Khosla et al. 2020 (arXiv 2004.11362, L_sup_out); without labels it is the NT-Xent of SimCLR, Chen et al. 2020 (arXiv
2002.05709). The margin: Li, Mak, Meng 2023 (arXiv 2210.16622). With theta_ij the angle between embeddings i and j,
A(i) all embeddings but i, and P(i) those in A(i) with i's label, the mean over all i with a positive of

    supcon          -1/|P(i)| sum over p in P(i) of log [ exp(cos(theta_ip) / tau) / sum over a in A(i) of exp(cos(theta_ia) / tau) ]
    sup_margin_con  the same with cos(theta_ip + m) in the numerator

The denominator has the positives too, and has them without margin, so that an embedding is told apart where
theta_ip + m = theta_ia.

What is known of the margin's paper: its abstract, which has it on the positive pairs; the formula above, from the
authors' later code release, whose text sums over anchors where its code averages, as we do; and codes of theirs that
differ from it: with the margin in the denominator as well, or on every pair, which is ``margin_on: all`` here, where
cos(theta + m) takes the place of cos(theta) everywhere. The paper's own equation and results have not been seen.
Temperature 0.07 is in all of their codes, a margin of 0.1 in the latest. Theirs clamps cos(theta) - m or falls back on
a line beyond pi; ours is ``aam_softmax.add_angle``, which falls on beyond pi.
"""

import math

from wespk.losses import LOSSES
from wespk.losses.base import check_choice, check_number
from wespk.losses.contrastive import ContrastiveLoss
from wespk.losses.pairs import Form


@LOSSES.register("supcon")
class SupCon(ContrastiveLoss):
    """The loss ``supcon`` above. temperature: tau; the other arguments, input, output: see ``ContrastiveLoss``."""

    def __init__(self, temperature=0.07, *, embed_dim=None, num_classes=None):
        super().__init__(embed_dim, num_classes)
        self.temperature = check_number("temperature", temperature, 0, strict=True)

    def form(self):
        return Form(self.temperature)


@LOSSES.register("sup_margin_con")
class SupMarginCon(SupCon):
    """The loss ``sup_margin_con`` above.

    temperature: tau; margin: m, radians, within [0, pi]; margin_on: positives, or all pairs; the other arguments,
    input, output: see ``ContrastiveLoss``.
    """

    has_margin = True

    def __init__(self, temperature=0.07, margin=0.1, margin_on="positives", *, embed_dim=None, num_classes=None):
        super().__init__(temperature, embed_dim=embed_dim, num_classes=num_classes)
        self.margin_on = check_choice("margin_on", margin_on, ("positives", "all"))
        self.set_margin(margin)

    def set_margin(self, margin):
        """Use this margin from now on, in radians. Raises ``InputError`` outside of [0, pi]."""
        self.margin = check_number("margin", margin, 0, math.pi)

    def form(self):
        return Form(self.temperature, self.margin, self.margin_on)
