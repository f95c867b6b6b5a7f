"""What objectives without labels have in common: a student, and a teacher that follows it, look at crops of utterances."""

import copy

import torch
from torch import nn

from wespk.losses.base import check_flag, check_number
from wespk.models import build_model
from wespk.training.collapse_watch import CollapseWatch
from wespk.training.objectives import Objective
from wespk.training.schedules import teacher_momentum
from wespk.training.teacher import Teacher, follow
from wespk.utils import dist
from wespk.utils.errors import InputError
from wespk.utils.precision import at_least_float32


class WithoutLabels(Objective):
    """Base of the objectives that see crops of utterances and read no label. ``losses(*outputs)`` is the subclass's.

    Raises ``InputError`` for sections of the configuration that only labels give a meaning, and without the crops that it
    takes: at least ``least`` of the teacher's and the student's.
    """

    sections = ("crops",)
    joint = True
    least = (1, 1)

    def __init__(self, conf):
        super().__init__()
        name, crops = conf["objective"]["name"], conf["crops"]
        if conf["loss"]["name"] != "none":
            raise InputError(f"objective.name={name} reads no labels, so there is nothing to classify: set loss.name=none")
        if conf["labels"]["noise"] != "none":
            raise InputError(f"objective.name={name} reads no labels: set labels.noise=none")
        for part, least in zip(("teacher_number", "student_number"), self.least):
            if crops[part] < least:
                raise InputError(f"objective.name={name} takes {least} or more of crops.{part}, not {crops[part]}")
        self.conf, self.bf16, self.watch, self.seen = conf, conf["train"]["bf16"], CollapseWatch(), None

    def autocast(self, device):
        """The context in which networks run."""
        return torch.autocast(device.type, dtype=torch.bfloat16, enabled=self.bf16)

    def note(self, embeddings, stats, choices=None):
        """Keep what ``figures`` is to look at: embeddings (B, D), a dict of 0-dim tensors, the number of prototypes."""
        self.seen = embeddings.detach(), dict(stats), choices

    def figures(self, epochs):
        if self.seen is None or not dist.is_main():
            return {}
        return self.watch(*self.seen, self.conf["train"]["batch_size"], epochs)


class StudentAndTeacher(WithoutLabels):
    """A student network with a head, a copy of both that follows them (EMA), and a criterion on what they say.

    ``model``, the network that is kept, is the teacher's encoder, as in SDPN and DINO: an average over steps that comes out
    better than the student, and what the published figures are of. With ``kept = "student"`` it is the student's.
    ``loss`` holds everything else: the other encoder, both heads and the criterion. Neither network gets the other's
    batch-norm statistics, unless ``average_buffers``.

    forward(crops, labels, outputs=False): crops as ``wespk.data.crops`` makes them: ``teacher`` (B, G, T, F) and ``student``
    (B, V, T', F) float32; labels are not looked at. outputs: the student's embeddings (B, V, D) and its head's outputs
    (B, V, d), then the teacher's (B, G, D) and (B, G, d), float32 or wider.

    conf: resolved configuration; head: function (embed_dim) -> module; criterion: function () -> module; momentum: of the
    EMA, [at the first step, at the end], half a cosine between; student_sees_all: the student gets the teacher's crops too,
    in front of its own.
    """

    kept = "teacher"

    def __init__(self, conf, head, criterion, momentum, average_buffers=False, student_sees_all=False):
        super().__init__(conf)
        if not (isinstance(momentum, (list, tuple)) and len(momentum) == 2):
            raise InputError(f"objective.momentum takes two numbers, at the first step and at the end, not {momentum!r}")
        for value in momentum:
            check_number("momentum", value, 0, 1)
        self.momentum, self.average_buffers = momentum, check_flag("average_buffers", average_buffers)
        self.student_sees_all = check_flag("student_sees_all", student_sees_all)
        student = build_model(conf["model"])
        teacher = copy.deepcopy(student).requires_grad_(False)
        self.model, other = (teacher, student) if self.kept == "teacher" else (student, teacher)
        head = head(student.embed_dim)
        self.loss = nn.ModuleDict({"encoder": other, "head": head, "teacher_head": Teacher(head, average_buffers),
                                   "criterion": criterion()})

    @property
    def student(self):
        """The encoder that learns."""
        return self.loss["encoder"] if self.kept == "teacher" else self.model

    @property
    def teacher(self):
        """The encoder that follows it."""
        return self.model if self.kept == "teacher" else self.loss["encoder"]

    @property
    def criterion(self):
        """The loss, with its own weights and buffers."""
        return self.loss["criterion"]

    def summary(self):
        """A few words for the log."""
        crops, learning = self.conf["crops"], sum(p.numel() for p in self.parameters() if p.requires_grad)
        return (f"{self.conf['objective']['name']}, {learning / 1e6:.2f} M parameters learn; {crops['teacher_number']} crop(s) "
                f"of {crops['teacher_frames']} frames for the teacher, {crops['student_number']} of "
                f"{crops['student_frames']} for the student; the {self.kept}'s encoder is kept")

    def forward(self, crops, labels=None, outputs=False):
        found = self._encode(crops)
        if not outputs:
            return self.losses(*found)
        untouched = 0 * sum(p.sum() for p in self.criterion.parameters())  # so that DDP reduces what the loss gave them
        return found[0], found[1] + untouched, *found[2:]

    def _encode(self, crops):
        with self.autocast(crops["student"].device):
            sets = [crops["teacher"], crops["student"]] if self.student_sees_all else [crops["student"]]
            pairs = [_pass(self.student, self.loss["head"], each) for each in sets]
            with torch.no_grad():
                taught = _pass(self.teacher, self.loss["teacher_head"], crops["teacher"])
        return *(torch.cat(parts, 1) for parts in zip(*pairs)), *taught

    def after_load(self):
        """The encoder that is not kept becomes a copy of the kept one, whose weights have been loaded."""
        other = self.student if self.kept == "teacher" else self.teacher
        other.load_state_dict(self.model.state_dict())

    def after_step(self, step, total_steps):
        momentum = teacher_momentum(step, total_steps, *self.momentum)
        follow(self.teacher, self.student, momentum, self.average_buffers)
        self.loss["teacher_head"].update(self.loss["head"], momentum)


def _pass(encoder, head, crops):
    """Embeddings (B, V, D) and the head's outputs (B, V, d) of crops (B, V, T, F)."""
    embeddings = encoder(crops.flatten(0, 1))
    pair = embeddings, head(embeddings)
    return tuple(at_least_float32(found).unflatten(0, crops.shape[:2]) for found in pair)
