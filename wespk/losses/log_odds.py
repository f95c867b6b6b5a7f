"""What a trained SphereFace2 says of one cosine: log-odds, a log-likelihood ratio, and where to accept.

**Without margin.** The loss adds up, for each embedding, one target pair with weight lam and K - 1 other pairs with
weight 1 - lam, each through the logistic loss of z = r g(c) + b (``wespk.losses.sphereface2``). Were z free to be any
function of the cosine c, it would at the minimum satisfy, at every c,

    lam p(c|target) s(-z) = (1 - lam)(K - 1) p(c|other) s(z)         s the logistic function, so that s(z)/s(-z) = e^z
    z = log [p(c|target) / p(c|other)] + log zeta                    zeta = lam / ((1 - lam)(K - 1))

So z is the log-odds of "target" at the training prior zeta / (1 + zeta), and z - log zeta the log-likelihood ratio
(natural log). In truth z has this form and r is fixed: b is learnt, and the embeddings arrange themselves so that the
logistic curve fits.

**With a margin** z, always that of the cosine without margin, is no longer exactly a log-odds:

* type C trains on z - r m for targets and on z + r m for the others; z is the midpoint. At the minimum

      log [p(c|target) / p(c|other)] + log zeta = z + r m + sp(z - r m) - sp(z + r m)         sp the softplus,

  which has the sign of z: the decision z > 0 stays that of the training prior, but between -r m and r m the true
  log-odds are much closer to 0 than z. The margin makes z claim too much.
* types A and M shift the angle before g, so that targets and others are trained on the values of z at other cosines
  than c: z is a log-odds neither in size nor, strictly, in sign.

**At a test** c compares two embeddings and not an embedding with a weight vector that was fitted to the speaker, and the
speakers are new, so the cosines of either kind of pair are distributed otherwise: lower for targets when weights and
embeddings fit each other well, higher for all when a short training has moved the embeddings but hardly the weights.
That is why the result is uncalibrated, margin or not. The cosine is that of the embeddings as they are: no mean is
subtracted in training, so none may be subtracted here.
"""

import math
from dataclasses import dataclass

import numpy as np

ROUNDING = 1e-6  # by so much g may exceed 1 for a cosine of 1, from ratios that were written with 9 digits


@dataclass(frozen=True)
class LogOdds:
    """The numbers that turn a cosine c into log-odds z = scale * g(c) + bias, g(c) = 2 ((c + 1) / 2)^t - 1.

    lam: weight of targets in training, in (0, 1); num_classes: K, the number of classes in training (speed copies count as
    speakers of their own).
    """

    scale: float
    t: float
    bias: float
    lam: float
    num_classes: int

    @property
    def prior_log_odds(self):
        """log zeta, the log-odds of a target before anything is seen, as training weighs them."""
        return math.log(self.lam) - math.log1p(-self.lam) - math.log(self.num_classes - 1)

    @property
    def prior(self):
        """The training prior, zeta / (1 + zeta), in (0, 1)."""
        return 1 / (1 + math.exp(-self.prior_log_odds))

    def log_likelihood_ratio(self, cosine):
        """Natural-log likelihood ratios, float64, of cosines of any shape; those beyond +-1 by rounding count as +-1."""
        half = (np.clip(np.asarray(cosine, dtype=np.float64), -1, 1) + 1) / 2
        return self.scale * (2 * half**self.t - 1) + self.bias - self.prior_log_odds

    def cosine(self, llr):
        """The cosine that has this log-likelihood ratio, a float: g^-1((llr + log zeta - bias) / scale).

        None if that is above what a cosine of 1 has, so that as a threshold it accepts nothing; -1 if it is below what
        a cosine of -1 has, so that it accepts everything.
        """
        adjusted = (llr + self.prior_log_odds - self.bias) / self.scale
        if adjusted > 1 + ROUNDING:
            return None
        half = min(max((adjusted + 1) / 2, 0.0), 1.0)
        return 2 * half ** (1 / self.t) - 1

    def threshold(self, p_target):
        """The cosine from which to accept at prior ``p_target`` with equal costs, were the ratios right; see ``cosine``.

        At ``prior`` it is c0 = g^-1(-bias / scale), where the log-odds are 0.
        """
        return self.cosine(math.log1p(-p_target) - math.log(p_target))
