"""Circle loss with class labels: Sun et al. 2020, arXiv 2002.10857, section 3 and equation 6."""

from wespk.losses import LOSSES
from wespk.losses.base import MarginHead, check_number, cosines


@LOSSES.register("circle")
class Circle(MarginHead):
    """log(1 + sum over j != y of exp(n_j - p)), mean over the batch, where with cosines c and margin m

        p   = scale * max(0, 1 + m - c_y) * (c_y - (1 - m))
        n_j = scale * max(0, c_j + m) * (c_j - m)

    The factors max(0, ...), which weigh each cosine by its distance from the optimum, carry no gradient. scale and
    margin default to the paper's values for face recognition.
    """

    def __init__(self, embed_dim, num_classes, scale=256.0, margin=0.25):
        super().__init__(embed_dim, num_classes, margin, limits=(0, 1))
        self.scale = check_number("scale", scale, 0, strict=True)

    def compute(self, embeddings, labels):
        cosine = cosines(embeddings, self.weight)
        self.set_accuracy(cosine.argmax(1), labels)
        target = cosine.gather(1, labels[:, None])
        positive = (1 + self.margin - target.detach()).relu() * (target - (1 - self.margin))
        negative = (cosine.detach() + self.margin).relu() * (cosine - self.margin)
        return self.cross_entropy(self.scale * negative.scatter(1, labels[:, None], positive), labels)
