"""EER on held-out training speakers: the figure to watch while training, never taken from the test lists."""

from pathlib import Path

import numpy as np
import torch.distributed as torch_dist

from wespk.embedding.extractor import embed_features
from wespk.embedding.sources import FeatureArks
from wespk.io.tables import read_trials
from wespk.metrics import eer, min_dcf
from wespk.scoring.cosine import cosine_scores
from wespk.scoring.vectors import normalise
from wespk.utils import dist
from wespk.utils.errors import InputError


class HeldOutSpeakers:
    """Callable (model) -> {"dev_eer": fraction, "dev_min_dcf": p_target 0.01} over the dev set's trials.

    dev_dir: folder with feats.scp and trials/dev, made in stages 1 and 2; its utterances are embedded whole, shared out
    among the processes, centred by their own mean and compared by cosine.
    """

    def __init__(self, dev_dir, conf, device):
        trials = read_trials(Path(dev_dir) / "trials" / "dev")
        self.source, self.labels = FeatureArks(dev_dir, conf["features"]), trials.labels
        row = {key: i for i, key in enumerate(self.source.keys)}
        missing = next((k for k in (*trials.enroll, *trials.test) if k not in row), None)
        if missing is not None:
            raise InputError(f"{dev_dir}/trials/dev names '{missing}', which is not in that folder; run stage 1 again")
        self.enroll, self.test = (np.array([row[k] for k in side]) for side in (trials.enroll, trials.test))
        self.cmn, self.device = conf["features"]["cmn"], device

    def __call__(self, model):
        rank, world, keys = dist.rank(), dist.world_size(), self.source.keys
        mine = range(rank, len(keys), world)
        found = embed_features(model, map(self.source.read, mine), self.device, self.cmn, keys=[keys[i] for i in mine])
        parts = [found]
        if world > 1:
            parts = [None] * world
            torch_dist.all_gather_object(parts, found)
        embeddings = np.empty((len(keys), found.shape[1]), dtype=np.float32)
        for other, part in enumerate(parts):
            embeddings[other::world] = part
        normalise(embeddings, keys, embeddings.mean(axis=0))
        scores = cosine_scores(embeddings, embeddings, self.enroll, self.test)
        return {"dev_eer": float(eer(scores, self.labels)),
                "dev_min_dcf": float(min_dcf(scores, self.labels, p_target=0.01))}
