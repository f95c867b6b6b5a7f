"""EER on held-out training speakers: the figure to watch while training, never taken from the test lists."""

from pathlib import Path

import numpy as np
import torch.distributed as torch_dist

from wespk.embedding.extractor import embed_features
from wespk.io.ark import read_array, read_scp
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
        dev_dir = Path(dev_dir)
        self.trials = read_trials(dev_dir / "trials" / "dev")
        table = read_scp(dev_dir / "feats.scp")
        self.keys = sorted({*self.trials.enroll, *self.trials.test}, key=str.encode)
        missing = next((k for k in self.keys if k not in table), None)
        if missing is not None:
            raise InputError(f"{dev_dir}/trials/dev names '{missing}', which {dev_dir}/feats.scp has not; run stage 2")
        self.specs = [table[k] for k in self.keys]
        self.cmn, self.device = conf["features"]["cmn"], device

    def __call__(self, model):
        mine = range(dist.rank(), len(self.keys), dist.world_size())
        found = embed_features(model, (read_array(self.specs[i]) for i in mine), self.device, self.cmn,
                               keys=[self.keys[i] for i in mine])
        embeddings = np.empty((len(self.keys), found.shape[1]), dtype=np.float32)
        embeddings[dist.rank()::dist.world_size()] = found
        if dist.world_size() > 1:
            parts = [None] * dist.world_size()
            torch_dist.all_gather_object(parts, found)
            for rank, part in enumerate(parts):
                embeddings[rank::dist.world_size()] = part
        position = {k: i for i, k in enumerate(self.keys)}
        enroll = np.array([position[k] for k in self.trials.enroll])
        test = np.array([position[k] for k in self.trials.test])
        normalise(embeddings, self.keys, embeddings.mean(axis=0))
        scores = cosine_scores(embeddings, embeddings, enroll, test)
        return {"dev_eer": float(eer(scores, self.trials.labels)),
                "dev_min_dcf": float(min_dcf(scores, self.trials.labels, p_target=0.01))}
