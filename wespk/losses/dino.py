"""DINO: Caron et al. 2021, "Emerging properties in self-supervised vision transformers", arXiv 2104.14294.

With s and t the head outputs (K of them, 65536 published) of student and teacher for two views of an utterance,

    loss = mean over pairs of views (student's, teacher's) that are not the same view, and over utterances, of
           -sum_k softmax((t - c) / tau_t)_k log softmax(s / tau_s)_k

Sharpening (tau_t < tau_s) and centring, c being an EMA of the mean of t over batches, balance each other: without the one
all outputs become alike, without the other one of them takes all.
"""

import torch
from torch import nn

from wespk.losses.base import alone, check_count, check_number
from wespk.metrics import collapse
from wespk.utils.errors import InputError
from wespk.utils.precision import at_least_float32


class DINOLoss(nn.Module):
    """num_outputs: K; temperature: tau_s; teacher_temperature: tau_t, a plain attribute that a schedule may move;
    centre_momentum: of the EMA.

    forward(student (V, B, K), teacher (G, B, K), shared, reduce) -> 0-dim loss, float32 or wider, the mean over the B
    utterances here. ``shared``: the student's first views, as many as this, are the teacher's first ones, and not compared
    with them; 0 if the student sees none of the teacher's. A call in training mode moves ``centre`` (1, K), a buffer,
    after the loss is computed. reduce: sum over processes (see ``base.alone``), by which all have the same centre.

    ``stats``, detached, of the teacher's assignments here: ``outputs_used``, ``max_target``, ``target_entropy``.

    Raises ``InputError`` for options out of range and shapes that do not fit.
    """

    def __init__(self, num_outputs=65536, temperature=0.1, teacher_temperature=0.04, centre_momentum=0.9):
        super().__init__()
        self.num_outputs = check_count("num_outputs", num_outputs, 2)
        self.temperature = check_number("temperature", temperature, 0, strict=True)
        self.teacher_temperature = check_number("teacher_temperature", teacher_temperature, 0, strict=True)
        self.centre_momentum = check_number("centre_momentum", centre_momentum, 0, 1)
        self.register_buffer("centre", torch.zeros(1, num_outputs))
        self.stats = {}

    def forward(self, student, teacher, shared=0, reduce=alone):
        self._check(student, teacher, shared)
        with torch.autocast(student.device.type, enabled=False):
            teacher = at_least_float32(teacher.detach())
            targets = ((teacher - self.centre) / self.teacher_temperature).softmax(-1)
            log_p = (at_least_float32(student) / self.temperature).log_softmax(-1)
            # the sum over pairs is that of each student's view with the sum of the targets, less the shared pairs
            total = torch.einsum("vbk,bk->", log_p, targets.sum(0))
            for view in range(shared):
                total = total - (log_p[view] * targets[view]).sum()
            pairs = len(student) * len(teacher) - shared
            self._follow(teacher, reduce)
        self.stats = {"outputs_used": collapse.prototypes_used(targets), "max_target": collapse.mean_max(targets),
                      "target_entropy": collapse.mean_entropy(targets)}
        return -total / (pairs * student.shape[1])

    @torch.no_grad()
    def _follow(self, teacher, reduce):
        """Move the centre towards the mean of the teacher's outputs of all processes."""
        if self.training:
            rows = teacher.flatten(0, 1)
            count = reduce(torch.full((), float(len(rows)), dtype=rows.dtype, device=rows.device))
            self.centre.lerp_((reduce(rows.sum(0, keepdim=True)) / count).to(self.centre.dtype), 1 - self.centre_momentum)

    def _check(self, student, teacher, shared):
        for name, outputs in (("student", student), ("teacher", teacher)):
            if outputs.dim() != 3 or outputs.shape[1:] != (student.shape[1], self.num_outputs) or not outputs.numel():
                raise InputError(f"DINO takes the {name}'s outputs (views, batch, {self.num_outputs}), the batch being the same "
                                 f"for student and teacher, not {tuple(outputs.shape)}")
        if not 0 <= shared <= min(len(student), len(teacher)) or shared == len(student) * len(teacher):
            raise InputError(f"DINO compares pairs of different views; with {shared} of the student's {len(student)} and the "
                             f"teacher's {len(teacher)} views shared there are none, or too few views")
