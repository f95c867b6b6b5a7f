"""SDPN: self-distillation through prototypes, Chen et al. 2023 (arXiv 2308.02774), and its follow-up (arXiv 2505.13826).

A teacher sees an utterance as it is, a student short augmented pieces of it, and both assign what they see to the same
prototypes. What is known of the losses stands in ``wespk.losses.sdpn``, ``koleo`` and ``dimension``. Ours is that nearest
neighbours and correlations are those of the whole batch, over all processes and micro-batches: in the released code KoLeo
looks among the 96 utterances of one GPU.
"""

from wespk.losses.base import check_choice, check_number
from wespk.losses.dimension import REGULARISERS
from wespk.losses.koleo import koleo_of_views
from wespk.losses.sdpn import SDPNLoss
from wespk.models.projection import ProjectionHead
from wespk.training.gather import all_rows, own_rows, sum_with_gradient
from wespk.training.objectives import OBJECTIVES
from wespk.training.student_teacher import StudentAndTeacher
from wespk.utils.errors import InputError


@OBJECTIVES.register("sdpn")
class SDPN(StudentAndTeacher):
    """loss = cross-entropy + me_max * me-max + koleo * KoLeo + dimension_weight * regularisation of dimensions.

    Options (defaults as published, where anything is known), beside those of ``StudentAndTeacher``:
    head_hidden, head_dim, head_layers: of the ``ProjectionHead``; prototypes, temperature, sharpen, sinkhorn_iters: of
    ``SDPNLoss``; me_max: weight of me-max; koleo: weight of KoLeo of the student's embeddings, summed over crops;
    dimension: frobenius, off_diagonal or none, beside or instead of KoLeo; dimension_weight: its weight, which must be
    said (the published one is not known); dimension_of: the head's ``outputs``, as in a later implementation that cites
    the paper, or the ``embeddings``, which the paper's abstract speaks of.
    prototype_gradient: what the prototypes' gradient is multiplied by: 4 is what the released code does on the 4 GPUs of its
    authors, as it adds up over processes where the other gradients are averaged. For optimizer.name=sgd alone.

    Fewer utterances in a batch than prototypes are no error: Sinkhorn then gives each utterance its own, and
    ``prototypes_used`` is at most their number. Fewer in all are worth a warning (``remarks``).
    """

    def __init__(self, conf, num_classes, head_hidden=2048, head_dim=256, head_layers=3, prototypes=1024, temperature=0.1,
                 sharpen=0.25, sinkhorn_iters=3, me_max=1.0, koleo=0.1, dimension="none", dimension_weight=None,
                 dimension_of="outputs", prototype_gradient=1.0, momentum=(0.996, 1.0), average_buffers=False):
        self.weights = {"me_max": check_number("me_max", me_max, 0), "koleo": check_number("koleo", koleo, 0)}
        super().__init__(conf, lambda size: ProjectionHead(size, head_hidden, head_dim, head_layers),
                         lambda: SDPNLoss(head_dim, prototypes, temperature, sharpen, sinkhorn_iters), momentum,
                         average_buffers)
        self._regularise(dimension, dimension_weight, dimension_of)
        check_number("prototype_gradient", prototype_gradient, 0, strict=True)
        if prototype_gradient != 1:
            if conf["optimizer"]["name"] != "sgd":
                raise InputError(f"objective.prototype_gradient={prototype_gradient} would do nothing under optimizer.name="
                                 f"{conf['optimizer']['name']}, which does not look at a gradient's size: leave it out")
            self.criterion.prototypes.register_hook(lambda gradient: gradient * prototype_gradient)

    def _regularise(self, kind, weight, of):
        check_choice("dimension", kind, ("none", *REGULARISERS))
        self.regulariser, self.of_outputs = REGULARISERS.get(kind), of == "outputs"
        if check_choice("dimension_of", of, ("outputs", "embeddings")) != "outputs" and kind == "none":
            raise InputError("objective.dimension_of is for objective.dimension, which is none: leave it out")
        if (kind == "none") != (weight is None):
            raise InputError(f"objective.dimension={kind} and objective.dimension_weight={weight}: give both, or leave both out")
        if weight is not None:
            self.weights["dimension"] = check_number("dimension_weight", weight, 0, strict=True)

    def remarks(self, utterances):
        prototypes = self.criterion.num_prototypes
        if utterances >= prototypes:
            return []
        return [(f"{utterances} utterances for {prototypes} prototypes: each gets one of its own, and the others learn from none; "
                 f"consider objective.prototypes={max(2, utterances // 10)}")]

    def losses(self, embeddings, outputs, taught, targets):
        """The losses of the utterances here, given what forward returns as ``outputs``."""
        cross_entropy, me_max = self.criterion(outputs.transpose(0, 1), targets.transpose(0, 1), sum_with_gradient)
        parts = {"me_max": me_max}
        if self.weights["koleo"]:
            parts["koleo"] = self._koleo(embeddings)
        if self.regulariser:
            parts["dimension"] = self.regulariser((outputs if self.of_outputs else embeddings).flatten(0, 1), sum_with_gradient)
        loss = cross_entropy + sum(self.weights[name] * value for name, value in parts.items())
        self.note(taught[:, 0], self.criterion.stats, self.criterion.num_prototypes)
        figures = {"cross_entropy": cross_entropy, **parts}
        return {"loss": loss, **{name: value.detach() for name, value in figures.items()}, **self.criterion.stats}

    @staticmethod
    def _koleo(embeddings):
        everyone, sizes = all_rows(embeddings)
        return koleo_of_views(everyone, own_rows(sizes).start, len(embeddings))
