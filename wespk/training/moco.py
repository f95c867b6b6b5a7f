"""MoCo, He et al. 2020 (arXiv 1911.05722), as a rival to SDPN on the same crops: an utterance's crops against a queue.

The teacher's outputs for its crop are the keys, the student's for its crops the queries; see ``wespk.losses.moco``. The student's
encoder is kept, as published.
"""

from wespk.losses.moco import MoCoLoss
from wespk.models.projection import ProjectionHead
from wespk.training.gather import gather
from wespk.training.objectives import OBJECTIVES
from wespk.training.student_teacher import StudentAndTeacher
from wespk.utils import dist
from wespk.utils.errors import InputError


def _of_all_processes(keys):
    """Keys (n, d) of all processes in the order of their ranks, without gradient."""
    return gather(keys, dist.from_all(len(keys)))


@OBJECTIVES.register("moco")
class MoCo(StudentAndTeacher):
    """Options beside those of ``StudentAndTeacher``: head_hidden, head_dim, head_layers of the ``ProjectionHead``; queue_size and
    temperature of ``MoCoLoss``. The momentum is constant by default. Takes one crop of the teacher's.
    """

    kept = "student"

    def __init__(self, conf, num_classes, head_hidden=2048, head_dim=128, head_layers=2, queue_size=65536, temperature=0.07,
                 momentum=(0.999, 0.999), average_buffers=False):
        super().__init__(conf, lambda size: ProjectionHead(size, head_hidden, head_dim, head_layers),
                         lambda: MoCoLoss(head_dim, queue_size, temperature), momentum, average_buffers)
        if conf["crops"]["teacher_number"] != 1:
            raise InputError("objective.name=moco takes one key of each utterance: set crops.teacher_number=1")
        if queue_size < conf["train"]["batch_size"]:
            raise InputError(f"objective.queue_size={queue_size} does not hold a batch of {conf['train']['batch_size']} keys: "
                             "raise it, or lower train.batch_size")

    def losses(self, embeddings, outputs, taught, targets):
        """The loss of the utterances here, given what forward returns as ``outputs``."""
        loss = self.criterion(outputs.transpose(0, 1), targets[:, 0], _of_all_processes)
        self.note(embeddings[:, 0], self.criterion.stats)
        return {"loss": loss, **self.criterion.stats}
