"""Speaker labels made of clusters of embeddings, for training where nobody knows who speaks."""

import json
from pathlib import Path

import numpy as np

from wespk.io.ark import read_scp
from wespk.io.atomic import write_text
from wespk.io.tables import read_table, write_table
from wespk.metrics.clustering import nmi, purity
from wespk.scoring.vectors import read_mean, read_normalised
from wespk.utils.errors import InputError


def stays(labels, cosines, keep, min_utts):
    """Which items of clusters are kept: (N,) bool.

    labels (N,): cluster of each; cosines (N,): with its centre. Of each cluster the share ``keep`` nearest to the
    centre stays, rounded up, of equal ones the first; then clusters with fewer than ``min_utts`` left go altogether.
    """
    if not 0 < keep <= 1:
        raise InputError(f"keep is a share of each cluster, above 0 and at most 1, not {keep:g}")
    order = np.lexsort((-cosines, labels))  # stable: equal ones stay in order
    sizes = np.bincount(labels)
    rank = np.empty(len(labels), dtype=np.int64)
    rank[order] = np.arange(len(labels)) - (np.cumsum(sizes) - sizes)[labels[order]]
    kept = rank < np.ceil(keep * sizes - 1e-9)[labels]
    return kept & (np.bincount(labels[kept], minlength=len(sizes))[labels] >= min_utts)


def names_of(labels):
    """Names cl00001, cl00002, ... of the clusters (N,), in the order of their first members: list."""
    firsts = {}
    for label in labels.tolist():
        firsts.setdefault(label, len(firsts) + 1)
    return [f"cl{firsts[label]:05d}" for label in labels.tolist()]


def make_pseudo_labels(embeddings, out, number, seed, centre=True, restarts=1, iterations=100, tolerance=0.0,
                       keep=1.0, min_utts=1, device="cpu", speakers=""):  # fmt: skip
    """Cluster the embeddings of an scp and write OUT/utt2spk and OUT/clusters.json; returns the figures in the latter.

    centre: subtract their mean first; number .. tolerance, device: see ``spherical_kmeans``; keep, min_utts: see
    ``stays``. speakers: a table of who really speaks, to report how well the clusters agree with it: it decides nothing.
    Raises ``InputError`` for more clusters than embeddings, fewer than two clusters left, and an embedding that cannot
    be normalised.
    """
    from wespk.scoring.clustering import spherical_kmeans  # which takes torch

    table = read_scp(embeddings)
    if number > len(table):
        raise InputError(f"{number} clusters of the {len(table)} utterances in {embeddings}: ask for fewer "
                         "(clusters.number)")
    vectors = read_normalised(embeddings, table, read_mean(embeddings) if centre else None)
    found = spherical_kmeans(vectors, number, seed, restarts, iterations, tolerance, device)
    kept, keys = stays(found.labels, found.cosines, keep, min_utts), np.array(list(table), dtype=object)
    if len(np.unique(found.labels[kept])) < 2:
        raise InputError(f"of {number} clusters fewer than two have min_utts={min_utts} utterances: ask for fewer "
                         "clusters (clusters.number), or lower clusters.min_utts")
    given = dict(zip(keys[kept], names_of(found.labels[kept]), strict=True))
    figures = _figures(found, kept)
    if speakers:
        figures["with_speakers"] = _agreement(read_table(speakers), keys, found.labels, kept, speakers)
    write_text(Path(out) / "clusters.json", json.dumps(figures, indent=1) + "\n")
    write_table(Path(out) / "utt2spk", given)
    return figures


def _figures(found, kept):
    sizes = np.bincount(found.labels, minlength=len(found.centres))
    left = np.bincount(found.labels[kept], minlength=len(sizes))
    return {
        "utterances": len(kept), "utterances_kept": int(kept.sum()), "clusters": len(sizes),
        "clusters_kept": int((left > 0).sum()), "inertia": found.inertia, "inertia_of_restarts": list(found.inertias),
        "mean_cosine": float(found.cosines.mean(dtype=np.float64)), "iterations": found.iterations,
        "converged": found.converged, "sizes": sorted(sizes.tolist(), reverse=True),
        "sizes_kept": sorted(left[left > 0].tolist(), reverse=True),
    }  # fmt: skip


def _agreement(speaker_of, keys, labels, kept, path):
    missing = next((key for key in keys if key not in speaker_of), None)
    if missing is not None:
        raise InputError(f"{path}: no speaker for '{missing}'; give the table of the set of these embeddings, or none")
    speakers = np.unique([speaker_of[key] for key in keys], return_inverse=True)[1]
    return {
        "speakers": int(speakers.max()) + 1, "nmi": nmi(labels, speakers), "purity": purity(labels, speakers),
        "nmi_kept": nmi(labels[kept], speakers[kept]), "purity_kept": purity(labels[kept], speakers[kept]),
    }  # fmt: skip
