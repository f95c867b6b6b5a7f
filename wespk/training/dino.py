"""DINO, Caron et al. 2021 (arXiv 2104.14294), as a rival to SDPN on the same crops: a student's outputs follow a teacher's.

What is known of the loss stands in ``wespk.losses.dino``. As published, the teacher sees two long crops, augmented like all
others, and the student sees these too (``crops.teacher_number=2 crops.teacher_clean=false objective.student_sees_all=true``); by
default both see what they see in SDPN.
"""

from torch import nn

from wespk.losses.base import check_number
from wespk.losses.dino import DINOLoss
from wespk.models.projection import CosineLayer, ProjectionHead
from wespk.training.gather import sum_with_gradient
from wespk.training.objectives import OBJECTIVES
from wespk.training.schedules import teacher_temperature
from wespk.training.student_teacher import StudentAndTeacher


@OBJECTIVES.register("dino")
class DINO(StudentAndTeacher):
    """Options beside those of ``StudentAndTeacher``:

    head_hidden, head_dim, head_layers: of the ``ProjectionHead``, behind which a ``CosineLayer`` has head_outputs; temperature,
    centre_momentum: of ``DINOLoss``; teacher_temperature: what it is from the share ``temperature_warmup`` of all steps
    on, up to which it grows linearly from first_teacher_temperature.
    """

    def __init__(self, conf, num_classes, head_hidden=2048, head_dim=256, head_layers=3, head_outputs=65536, temperature=0.1,
                 first_teacher_temperature=0.04, teacher_temperature=0.07, temperature_warmup=0.2, centre_momentum=0.9,
                 student_sees_all=False, momentum=(0.996, 1.0), average_buffers=False):
        self.warmup = check_number("temperature_warmup", temperature_warmup, 0, 1)
        self.temperatures = tuple(check_number(name, value, 0, strict=True) for name, value in (
            ("first_teacher_temperature", first_teacher_temperature), ("teacher_temperature", teacher_temperature)))

        def head(size):
            return nn.Sequential(ProjectionHead(size, head_hidden, head_dim, head_layers), CosineLayer(head_dim, head_outputs))

        super().__init__(conf, head, lambda: DINOLoss(head_outputs, temperature, teacher_temperature, centre_momentum),
                         momentum, average_buffers, student_sees_all)

    def before_step(self, step, total_steps):
        self.criterion.teacher_temperature = teacher_temperature(step, self.warmup * total_steps, *self.temperatures)

    def losses(self, embeddings, outputs, taught, targets):
        """The loss of the utterances here, given what forward returns as ``outputs``."""
        shared = targets.shape[1] if self.student_sees_all else 0
        loss = self.criterion(outputs.transpose(0, 1), targets.transpose(0, 1), shared, sum_with_gradient)
        self.note(taught[:, 0], self.criterion.stats, self.criterion.num_outputs)
        return {"loss": loss, **self.criterion.stats}
