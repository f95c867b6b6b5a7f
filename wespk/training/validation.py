"""Figures to watch while training, never taken from the test lists: the EER of held-out speakers, and, without labels, how
far apart the embeddings of always the same utterances lie."""

from pathlib import Path

import numpy as np
import torch
import torch.distributed as torch_dist

from wespk.embedding.extractor import embed_features
from wespk.embedding.sources import FeatureArks, WaveFiles
from wespk.features.front_end import FrontEnd
from wespk.io.tables import read_trials
from wespk.metrics import collapse, eer, min_dcf
from wespk.scoring.cosine import cosine_scores
from wespk.scoring.vectors import normalise
from wespk.utils import dist
from wespk.utils.errors import InputError
from wespk.utils.seed import generator

SAMPLE = 500  # training utterances, where there are no others


class WholeUtterances:
    """Callable (model) -> {"heldout_effective_rank", "heldout_spread"}, floats: ``metrics.collapse`` of whole utterances.

    source: where they come from, see ``wespk.embedding.sources``; rows: the numbers of those to take; None: all. They are
    embedded in evaluation mode, shared out among the processes. Nothing is read of who speaks.
    """

    notes = ("heldout_effective_rank", "heldout_spread")

    def __init__(self, source, conf, device, rows=None):
        self.source, self.cmn, self.device = source, conf["features"]["cmn"], device
        self.rows = range(len(source.keys)) if rows is None else rows

    def __call__(self, model):
        return self.figures(self.embed(model))

    def figures(self, embeddings):
        """Figures of embeddings (N, D)."""
        found = torch.from_numpy(embeddings)
        return {"heldout_effective_rank": collapse.effective_rank(found).item(),
                "heldout_spread": collapse.spread(found).item()}

    def embed(self, model):
        """The embeddings (N, D) float32 of all of them, on every process."""
        rank, world, keys = dist.rank(), dist.world_size(), self.source.keys
        mine = self.rows[rank::world]
        found = embed_features(model, map(self.source.read, mine), self.device, self.cmn, keys=[keys[i] for i in mine])
        parts = [found]
        if world > 1:
            parts = [None] * world
            torch_dist.all_gather_object(parts, found)
        embeddings = np.empty((len(self.rows), found.shape[1]), dtype=np.float32)
        for other, part in enumerate(parts):
            embeddings[other::world] = part
        return embeddings


class HeldOutSpeakers(WholeUtterances):
    """Callable (model) -> {"dev_eer": fraction, "dev_min_dcf": p_target 0.01} over the dev set's trials, and the above.

    dev_dir: folder with feats.scp and trials/dev, made in stages 1 and 2; its utterances are embedded whole, centred by
    their own mean and compared by cosine.
    """

    notes = ("dev_eer", "dev_min_dcf", *WholeUtterances.notes)

    def __init__(self, dev_dir, conf, device):
        trials = read_trials(Path(dev_dir) / "trials" / "dev")
        super().__init__(FeatureArks(dev_dir, conf["features"]), conf, device)
        self.labels, row = trials.labels, {key: i for i, key in enumerate(self.source.keys)}
        missing = next((k for k in (*trials.enroll, *trials.test) if k not in row), None)
        if missing is not None:
            raise InputError(f"{dev_dir}/trials/dev names '{missing}', which is not in that folder; run stage 1 again")
        self.enroll, self.test = (np.array([row[k] for k in side]) for side in (trials.enroll, trials.test))

    def figures(self, embeddings):
        spread, keys = super().figures(embeddings), self.source.keys
        normalise(embeddings, keys, embeddings.mean(axis=0))
        scores = cosine_scores(embeddings, embeddings, self.enroll, self.test)
        return {"dev_eer": float(eer(scores, self.labels)),
                "dev_min_dcf": float(min_dcf(scores, self.labels, p_target=0.01)), **spread}


def validation(dev_dir, train_dir, conf, device, model, labels):
    """What is to be looked at after an epoch: a callable (model) -> figures, or None.

    dev_dir: folder of held-out utterances, with trials/dev, or None. labels: whether training reads any. Without, trials/dev
    need not be there; and without dev_dir as well, the figures are of ``SAMPLE`` training utterances, always the same.
    """
    if dev_dir and (labels or (Path(dev_dir) / "trials" / "dev").is_file()):
        return HeldOutSpeakers(dev_dir, conf, device)
    if dev_dir:
        return WholeUtterances(FeatureArks(dev_dir, conf["features"]), conf, device)
    if labels or not conf["runtime"]["validate_every"]:
        return None
    stored = (Path(train_dir) / "feats.scp").is_file()
    source = FeatureArks(train_dir, conf["features"]) if stored else WaveFiles(train_dir, FrontEnd(conf["features"]))
    long = np.flatnonzero(np.asarray(source.num_frames) >= max(conf["data"]["min_frames"], model.min_frames))
    chosen = generator(conf["seed"], "held-out").permutation(long)[:SAMPLE]
    return WholeUtterances(source, conf, device, np.sort(chosen))
