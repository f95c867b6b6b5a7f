"""Rounds of pseudo-labels as Markdown: what the clusters were, and what the networks trained on them reach."""

from wespk.metrics.report import markdown_table, result_rows, rows_of


def rounds_markdown(rounds):
    """The contents of ROUNDS.md.

    rounds: [{"name": experiment, "results": contents of its metrics.json or None, "clusters": contents of its
    clusters.json or None}, ...]; the first is the one that the rounds began with, which has no clusters of its own.
    """
    parts = ["# Rounds of pseudo-labels\n\n", markdown_table(*_cluster_rows(rounds)), "\n"]
    header, rows = _metric_rows(rounds)
    parts += [markdown_table(header, rows), "\n"] if rows else []
    parts += [f"{entry['name']} has no results (stage 7).\n" for entry in rounds if not entry["results"]]
    if any("with_speakers" in (entry["clusters"] or {}) for entry in rounds):
        parts.append("NMI (normalised mutual information) and purity compare all clusters, before any are left out, "
                     "with the true speakers; training does not see these.\n")
    return "".join(parts)


def _cluster_rows(rounds):
    header = ["round", "experiment", "clusters kept", "utterances kept", "largest", "mean cosine", "NMI", "purity"]
    rows = []
    for number, entry in enumerate(rounds):
        found = entry["clusters"]
        cells = ["-"] * 6
        if found:
            true = found.get("with_speakers")
            cells = [
                f"{found['clusters_kept']} of {found['clusters']}",
                f"{found['utterances_kept']} of {found['utterances']}",
                f"{found['sizes_kept'][0]}", f"{found['mean_cosine']:.3f}",
                *([f"{true['nmi']:.3f}", f"{true['purity']:.3f}"] if true else ["-", "-"]),
            ]  # fmt: skip
        rows.append([str(number), entry["name"], *cells])
    return header, rows


def _metric_rows(rounds):
    """Header and rows, by trial list and kind of scores, then by round."""
    found = {}
    for number, entry in enumerate(rounds):
        for trials, system in rows_of(entry["results"] or {"lists": []}):
            found.setdefault((trials["name"], system["name"]), []).append((number, {**trials, "systems": [system]}))
    lines = [line for of_one in found.values() for line in of_one]
    header, rows = result_rows({"lists": [trials for _, trials in lines]})
    numbered = [[*row[:2], str(number), *row[2:]] for (number, _), row in zip(lines, rows, strict=True)]
    return [*header[:2], "round", *header[2:]], numbered
