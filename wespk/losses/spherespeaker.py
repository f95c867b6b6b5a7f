"""SphereSpeaker: binary classifiers, three angular margins, mined targets. Our reconstruction, not the published loss.

Ji, Chen, Ye, Wang, Zhou 2025, "Target sample mining with modified activation residual network for speaker verification"
(PLOS ONE, doi 10.1371/journal.pone.0320256). Of that paper we have seen the abstract alone.

*It says* that softmax trains many classes where verification tests two; that positives and negatives differ in number,
so that the negatives' gradients dominate; that their similarities overlap; that more weight on hard samples helps; that
the loss, an adaptive one, answers this with several kinds of hyper-parameters, and that three different angular margins
are used to update the network.

*Not known to us*: any formula, the margins and how they meet, the values of all parameters, the results.

*Our choices.* The four complaints are what SphereFace2's four parameters are for, so this is SphereFace2
(``wespk.losses.sphereface2``): one classifier a class against the first, lambda (``lam``) and b against the second, the
exponent t of g(u) = 2 ((u + 1) / 2)^t - 1 against the third, the scale r against the fourth. The margins are the three
known kinds, multiplied into the angle, added to it, taken from the cosine:

    psi(theta) = cos(m1 theta + m2) - m3           P = r g(psi(theta_y)) + b           N_j = r g(cos(theta_j)) + b

with two readings of "three margins". ``combined``: all in every logit. ``alternate``: one at a time, in the order M
(m1 alone), A (m2), C (m3), by training step, or by part of the batch: an utterance with label y has type (y + step)
mod 3, so that every speaker meets every type.

*Beyond pi.* cos(m1 theta + m2) would rise again where m1 theta + m2 passes pi. There SphereFace2's types go on, one in
the other: the angle m1 theta stops at pi, as in type M, and from m1 theta = pi - m2 on cos(m1 theta) - (1 + cos(pi - m2))
takes over, as in type A. So psi is continuous, never rises, and falls strictly until m1 theta = pi, behind which it is
-2 + cos(m2) - m3 and has no gradient.

*Single types.* m1 alone is SphereFace2's type M; m2 alone is type A with ``two_sided: false``. With ``two_sided: true``
the others are raised, to cos(theta_j - m2) and by m3, and m2 alone is type A as it is by default; with ``m3_on:
similarity`` besides, m3 lies outside of g, P = r (g(.) - m3) + b, and m3 alone is type C. No margin: SphereFace2 with m = 0.

*Mining* of target samples, each off by default. With w_i the weight of target i, k the kept negatives of each embedding,
a the weight of targets in place of lambda, and c a factor, the loss of B embeddings is

    L = c / B sum_i [ a w_i sp(-P_i) + (1 - a) sum over the kept j of sp(N_ij) ]               sp the softplus

``positive_power`` gamma: w_i = s(-P_i)^gamma / mean of the same over the batch, s the logistic function: a target weighs
by how wrong its classifier is, as in focal loss (Lin et al. 2017), but all together as much as before. The weights are
constants to the gradient.

``top_k``: of each embedding's negatives those k with the largest logits are kept. The balanced start of the bias is that of
all negatives. At cosines of 0 the k would push so little that b began several units higher; but they are the largest of
many and push much more. (1167 classes, 128 dimensions, r = 16, k = 10: b = 10.5 for 5.8, where they push 5 times as hard as
positives pull, not a third as hard, and b, which moves by about the learning rate a step, stays wrong.)

``gradient_ratio`` rho: a is such that positives pull rho times as hard as negatives push, as sums of absolute derivatives
by the logits. As d sp(-P)/dP = -s(-P) and d sp(N)/dN = s(N), these sums are, up to c / B,

    pull = a A,  A = sum_i w_i s(-P_i)             push = (1 - a) N,  N = sum over i and the kept j of s(N_ij)
    a A = rho (1 - a) N      <=>      a = rho N / (A + rho N)

A and N are taken from the batch at hand and are constants to the gradient; a is kept within 0.01 and 0.99. Where one of
the sums is small, as N at the start, such an a alone would make the other gradient as small, so the sum of both is what
it is with lambda: c = (lam A + (1 - lam) N) / (a A + (1 - a) N). The bias is not to follow a: dL/db = push - pull = (1 -
rho) push would leave it where it is (rho = 1) or drive it without end. It gets the gradient (1 - lam) N - lam A of the fixed
lambda, and rests where that is 0; there a / (1 - a) = rho lam / (1 - lam), so that with rho = 1 the adaptive lambda does
something only as long as the bias is on its way.

The value of a loss with ``positive_power`` or ``gradient_ratio`` is therefore no measure of progress. Weights and a are
of the embeddings of one call: with several processes or micro-batches, of each one's own.

``stats`` has positive_gradient and negative_gradient, which are c a A / B and c (1 - a) N / B.
"""

import functools
import math

import torch
import torch.nn.functional as F

from wespk.losses import LOSSES
from wespk.losses.aam_softmax import add_angle, subtract_angle
from wespk.losses.base import check_choice, check_count, check_flag, check_number, cosines
from wespk.losses.blocks import find_targets
from wespk.losses.sphereface2 import BinaryHead, adjust, multiply_angle
from wespk.utils.errors import InputError

# m1, m2, m3. Alternating: a common m1, and SphereFace2's published A and C. Combined: at 45 degrees, on g with t = 3,
# three about equal parts of what type C's 0.2 is on both sides.
MARGINS = {"combined": (1.1, 0.1, 0.1), "alternate": (1.2, 0.15, 0.2)}
NEUTRAL = (1.0, 0.0, 0.0)
LEAST_WEIGHT = 0.01  # of the targets or the others, adapted
TINY = 1e-30  # a sum of gradients below it counts as this


def lowered_cosine(cosine, m1, m2):
    """cos(m1 theta + m2) for cos(theta) of any shape, continued beyond pi as the top of this file says."""
    return add_angle(multiply_angle(cosine, m1), m2)


def check_effects(margins, reading, two_sided, m3_on):
    """Raise ``InputError`` for an option that would do nothing with these margins (m1, m2, m3), by its name."""
    _, m2, m3 = margins
    if two_sided is True and not m2 and not m3:
        raise InputError("loss option two_sided: m2 and m3 are 0, so that nothing raises the other classes; give one, or "
                         "leave it out")
    if m3_on == "similarity" and not m3:
        raise InputError("loss option m3_on: there is no m3 to lie outside of g: it is 0; give m3, or leave m3_on out")
    for name, value, neutral in zip(("m1", "m2", "m3"), margins, NEUTRAL):
        if reading == "alternate" and value == neutral:
            raise InputError(f"loss option {name}: at {value:g} its turns in the reading alternate have no margin; give more, "
                             "or the reading combined")


@LOSSES.register("spherespeaker")
class SphereSpeaker(BinaryHead):
    """The loss at the top of this file. ``margin``, which the training schedule moves, is the share of all margins in force:
    m1 is 1 + margin (m1 - 1), m2 and m3 are multiplied by it; 1 is as given, and more is more.

    m1: factor >= 1; m2: radians; m3: on the scale of the cosine, or of g; by default ``MARGINS``. reading: ``combined``, or
    ``alternate`` with alternate_by: ``step`` (default) or ``part``; two_sided, m3_on: see above; positive_power: gamma;
    top_k: 0 keeps all negatives; gradient_ratio: rho, 0 leaves lambda fixed; bias_init: ``zero``, or ``balanced``: see
    ``sphereface2.balance_point``, at cosines of 0, without margins and mining; scale, lam, t, detach_g, block_size: see ``BinaryHead``.

    Before a batch in turns, ``set_step`` is to be called. Raises ``InputError`` otherwise, and for options that do not fit.
    """

    margin_is_share = True

    def __init__(self, embed_dim, num_classes, scale=32.0, margin=1.0, m1=None, m2=None, m3=None, reading="combined",
                 alternate_by=None, two_sided=False, m3_on="cosine", lam=0.7, t=3, positive_power=0.0, top_k=0,
                 gradient_ratio=0.0, bias_init="zero", detach_g=False, block_size=0):
        check_choice("reading", reading, tuple(MARGINS))
        if alternate_by is not None and reading != "alternate":
            raise InputError(f"loss option alternate_by: '{alternate_by}' is for reading alternate; leave it out")
        margins = [default if given is None else given for given, default in zip((m1, m2, m3), MARGINS[reading])]
        for name, value, low, high in zip(("m1", "m2", "m3"), margins, NEUTRAL, (math.inf, math.pi, math.inf)):
            check_number(name, value, low, high)
        check_effects(margins, reading, two_sided, m3_on)
        limit = math.pi / margins[1] if margins[1] else math.inf
        super().__init__(embed_dim, num_classes, scale, margin, (0, limit), lam, t, detach_g, block_size)
        self.margins, self.reading, self.step = tuple(margins), reading, None
        self.alternate_by = check_choice("alternate_by", alternate_by or "step", ("step", "part"))
        self.two_sided = check_flag("two_sided", two_sided)
        self.m3_on = check_choice("m3_on", m3_on, ("cosine", "similarity"))
        self.positive_power = check_number("positive_power", positive_power, 0)
        self.gradient_ratio = check_number("gradient_ratio", gradient_ratio, 0)
        self.top_k = check_count("top_k", top_k, 0)
        if top_k >= num_classes:
            raise InputError(f"loss option top_k: an embedding has {num_classes - 1} negatives, of which {top_k} cannot be "
                             "kept; give fewer, or 0 for all")
        level = 2 * 0.5**t - 1
        self.make_bias(bias_init, level, level, num_classes - 1)  # with top_k too

    def set_step(self, step):
        """Say which training step it is; only the reading ``alternate`` asks for it."""
        self.step = step

    def log_odds(self):
        if self.positive_power or self.top_k or self.gradient_ratio:
            raise InputError("loss spherespeaker with mining (positive_power, top_k, gradient_ratio) trains no log-odds: its "
                             "negatives and weights are not those of all pairs")
        return super().log_odds()

    def in_force(self, turn=None):
        """(m1, m2, m3) at the margin set now; with ``turn`` 0, 1, 2 those of type M, A, C: the other two do nothing."""
        now = [neutral + self.margin * (m - neutral) for m, neutral in zip(self.margins, NEUTRAL)]
        return tuple(m if turn in (None, i) else NEUTRAL[i] for i, m in enumerate(now))

    def margin_now(self):
        """The margins as plain values, for those who read the log-odds."""
        return {"margin_type": self.reading, "final_margin": self.margin, "margins": list(self.in_force())}

    def _target(self, cosine, m1, m2, m3):
        """The target's adjusted similarity: its cosine lowered by the margins, and g."""
        lowered = lowered_cosine(cosine, m1, m2)
        if self.m3_on == "cosine":
            return adjust(lowered - m3, self.t)
        return adjust(lowered, self.t) - m3

    def _other(self, cosine, _, m2, m3):
        """The adjusted similarity of the other classes."""
        if not self.two_sided:
            return adjust(cosine, self.t)
        raised = subtract_angle(cosine, m2)
        if self.m3_on == "cosine":
            return adjust(raised + m3, self.t)
        return adjust(raised, self.t) + m3

    def _in_turn(self, side, cosine, turn):
        """``side`` of ``cosine`` (B, k) with the margins of ``turn``: None, one number, or one for each row (B, 1)."""
        if not torch.is_tensor(turn):
            return side(cosine, *self.in_force(turn))
        if side == self._other and not self.two_sided:
            return side(cosine, *NEUTRAL)
        m, a, c = (side(cosine, *self.in_force(i)) for i in range(3))
        return torch.where(turn == 0, m, torch.where(turn == 1, a, c))

    def block_for(self, labels):
        if self.reading == "combined":
            return self.block
        if self.step is None:
            raise InputError("loss spherespeaker: in the reading alternate the margins take turns: call set_step before")
        turn = self.step % 3 if self.alternate_by == "step" else ((labels + self.step) % 3)[:, None]
        return functools.partial(self.block, turn=turn)

    def shared(self):
        bias, = super().shared()
        return (bias.detach() if self.gradient_ratio else bias,)

    def block(self, embeddings, weight, labels, bias, turn=None):
        """The part (1 + n, B): the target's logit, or 0 where it is not in this block, and of the negatives the ``top_k``
        largest logits (-inf where there are fewer), or the sums of sp(N) and of s(N), the latter without gradient.
        """
        cosine = cosines(embeddings, weight)
        column, here = find_targets(labels, cosine.shape[1])
        own = cosine.gather(1, column)
        target = torch.where(here, self.logit(self._in_turn(self._target, own, turn), own, bias), 0)
        others = self.logit(self._in_turn(self._other, cosine, turn), cosine, bias)
        others = others.scatter(1, column, torch.where(here, -math.inf, others.gather(1, column)))
        if self.top_k:
            kept = others.topk(min(self.top_k, others.shape[1])).values
            negatives = F.pad(kept, (0, self.top_k - kept.shape[1]), value=-math.inf)
        else:
            negatives = torch.stack([F.softplus(others).sum(1), others.detach().sigmoid().sum(1)], 1)
        return torch.cat([target, negatives], 1).T, cosine

    def merge(self, parts):
        target, negatives = parts[:, 0].sum(0), parts[:, 1:]
        together = negatives.flatten(0, 1).topk(self.top_k, 0).values if self.top_k else negatives.sum(0)
        return torch.cat([target[None], together])

    def losses(self, part):
        target, negatives = part[0], part[1:]
        positive, pull = F.softplus(-target), (-target.detach()).sigmoid()
        if self.top_k:
            negative, push = F.softplus(negatives).sum(0), negatives.detach().sigmoid().sum(0)
        else:
            negative, push = negatives[0], negatives[1].detach()
        if self.positive_power:
            weight = len(target) * (self.positive_power * F.logsigmoid(-target.detach())).softmax(0)
            positive, pull = weight * positive, weight * pull
        own, other = self._weights(pull.mean(), push.mean())
        self.note_gradients(own * pull.mean(), other * push.mean())
        losses = own * positive + other * negative
        if self.gradient_ratio:  # a term of value 0 gives the bias the gradient of the fixed lambda
            losses = losses + (self.bias - self.bias.detach())[0] * ((1 - self.lam) * push - self.lam * pull)
        return losses

    def _weights(self, pull, push):
        """c a and c (1 - a), of the targets' and the other classes' terms, from the sums A / B and N / B."""
        if not self.gradient_ratio:
            return self.lam, 1 - self.lam
        pull, push = pull.clamp(min=TINY), push.clamp(min=TINY)
        ratio = self.gradient_ratio * push
        a = (ratio / (pull + ratio)).clamp(LEAST_WEIGHT, 1 - LEAST_WEIGHT)
        factor = (self.lam * pull + (1 - self.lam) * push) / (a * pull + (1 - a) * push)
        return factor * a, factor * (1 - a)
