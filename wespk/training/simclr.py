"""SimCLR, Chen et al. 2020 (arXiv 2002.05709), as a rival to SDPN: crops of an utterance against those of all others.

The loss is the section ``contrast``'s without labels: ``supcon`` is SimCLR's NT-Xent then, ``sup_margin_con`` adds an angular
margin to it. There is no teacher: all crops are the student's (crops.teacher_number=0).
"""

import torch
from torch import nn

from wespk.losses import build_loss, load_all
from wespk.models import build_model
from wespk.models.projection import ProjectionHead
from wespk.training.gather import all_rows, own_rows
from wespk.training.objectives import OBJECTIVES
from wespk.training.student_teacher import WithoutLabels
from wespk.utils.errors import InputError
from wespk.utils.precision import at_least_float32


@OBJECTIVES.register("simclr")
class SimCLR(WithoutLabels):
    """Options: head_hidden, head_dim, head_layers of the ``ProjectionHead``; crops of one length, two or more.

    forward(crops, labels, outputs=False): crops {"student": (B, V, T, F) float32}; labels are not looked at. outputs:
    embeddings (B, V, D) and the head's outputs (B, V, d).
    """

    sections = ("crops", "contrast")
    least = (0, 2)

    def __init__(self, conf, num_classes, head_hidden=2048, head_dim=256, head_layers=3):
        super().__init__(conf)
        if conf["crops"]["teacher_number"]:
            raise InputError("objective.name=simclr has no teacher: set crops.teacher_number=0")
        name = conf["contrast"]["name"]
        if name == "none":
            raise InputError("objective.name=simclr has no loss but that of the section 'contrast': set contrast.name=supcon, or "
                             "sup_margin_con")
        if not load_all().find(name).views or load_all().find(name).needs_labels:
            raise InputError(f"contrast.name={name} does not compare crops without labels; supcon and sup_margin_con do")
        self.model = build_model(conf["model"])
        head = ProjectionHead(self.model.embed_dim, head_hidden, head_dim, head_layers)
        self.loss = nn.ModuleDict({"head": head, "criterion": build_loss(conf["contrast"], head_dim, None)})

    def summary(self):
        """A few words for the log."""
        conf = self.conf
        return (f"simclr with {conf['contrast']['name']}, {conf['crops']['student_number']} crops of "
                f"{conf['crops']['student_frames']} frames, contrast sets of about "
                f"{conf['train']['batch_size'] * conf['crops']['student_number']}")

    def forward(self, crops, labels=None, outputs=False):
        feats = crops["student"]
        with self.autocast(feats.device):
            embeddings = self.model(feats.flatten(0, 1))
            found = embeddings, self.loss["head"](embeddings)
        found = tuple(at_least_float32(each).unflatten(0, feats.shape[:2]) for each in found)
        return found if outputs else self.losses(*found)

    def losses(self, embeddings, outputs):
        """The loss of the utterances here, given what forward returns as ``outputs``."""
        rows, views, criterion = outputs.flatten(0, 1), outputs.shape[1], self.loss["criterion"]
        self.note(embeddings[:, 0], {})
        everyone, sizes = all_rows(rows)
        utterances = torch.arange(len(everyone), device=rows.device) // views
        loss = criterion.rows(everyone, utterances, own_rows(sizes).start, len(rows))
        return {"loss": loss, **criterion.stats}
