"""Stage 8 of recipes without labels: clusters of the training embeddings become labels to train on."""

from wespk.utils.cli import main


def cluster_embeddings(embeddings: str, out: str, number: int, seed: int = 0, centre: bool = True, restarts: int = 1,
                       iterations: int = 100, tolerance: float = 0.0, keep: float = 1.0, min_utts: int = 1,
                       speakers: str = "", device: str = "cpu"):  # fmt: skip
    """Cluster embeddings by cosine (spherical k-means), and write the clusters as a table of pseudo-labels.

    Writes OUT/utt2spk, names cl00001, cl00002, ..., of the utterances that are kept, and figures in OUT/clusters.json.

    Args:
        embeddings: xvector.scp of the training set
        out: folder to write to
        number: of clusters
        seed: decides what k-means starts from
        centre: subtract the mean of the embeddings first
        restarts: of k-means from different seeds, of which the one with the lowest inertia is taken
        iterations: at most, of each restart
        tolerance: a restart ends when its inertia falls by less than this share; 0: when nothing changes
        keep: share of each cluster that is kept, those nearest to its centre
        min_utts: clusters with fewer utterances are left out, and their utterances
        speakers: table of who really speaks, for a report on how well the clusters agree with it; it decides nothing
        device: cpu, cuda, or auto (a GPU if there is one)
    """
    from wespk.embedding.loading import pick_device
    from wespk.scoring.pseudo_labels import make_pseudo_labels

    found = make_pseudo_labels(embeddings, out, number, seed, centre, restarts, iterations, tolerance, keep, min_utts,
                               pick_device(device), speakers)  # fmt: skip
    print(f"{out}: {found['utterances_kept']} of {found['utterances']} utterances in {found['clusters_kept']} "
          f"of {found['clusters']} clusters of {found['sizes_kept'][-1]} to {found['sizes_kept'][0]}; mean cosine with "
          f"the centres {found['mean_cosine']:.3f}, after {found['iterations']} iterations"
          f"{'' if found['converged'] else ', when it still changed'}")
    if speakers:
        true = found["with_speakers"]
        print(f"{true['speakers']} speakers (for this report alone): normalised mutual information {true['nmi']:.3f}, "
              f"purity {true['purity']:.3f}")


if __name__ == "__main__":
    main(cluster_embeddings)
