"""Pseudo-labels from embeddings on disk: what is kept, its names, and that true labels decide nothing."""

import json

import numpy as np
import pytest

from wespk.bin.cluster_embeddings import cluster_embeddings
from wespk.io.tables import read_table, write_table
from wespk.scoring.pseudo_labels import make_pseudo_labels, names_of, stays
from wespk.utils.errors import InputError

LABELS = np.array([0, 1, 0, 1, 0, 2, 1, 1])
COSINES = np.array([0.9, 0.5, 0.8, 0.7, 0.8, 1.0, 0.6, 0.4], np.float32)


@pytest.mark.parametrize("keep, min_utts, kept", [
    (1, 1, [1, 1, 1, 1, 1, 1, 1, 1]),
    (1, 2, [1, 1, 1, 1, 1, 0, 1, 1]),
    (1, 4, [0, 1, 0, 1, 0, 0, 1, 1]),
    (0.5, 1, [1, 0, 1, 1, 0, 1, 1, 0]),  # 2 of 3 (of equal ones the first), 2 of 4, 1 of 1
    (0.5, 2, [1, 0, 1, 1, 0, 0, 1, 0]),
    (0.01, 1, [1, 0, 0, 1, 0, 1, 0, 0]),
])
def test_the_nearest_of_each_cluster_stay_and_small_clusters_go(keep, min_utts, kept):
    assert stays(LABELS, COSINES, keep, min_utts).tolist() == list(map(bool, kept))


def test_clusters_are_named_in_the_order_of_their_first_utterances():
    assert names_of(np.array([5, 2, 5, 0])) == ["cl00001", "cl00002", "cl00001", "cl00003"]


def test_every_utterance_of_a_clear_cluster_has_one_label_and_the_figures_say_so(make_set, train_set, tmp_path):
    vectors, utt2spk = train_set
    far = 30 * np.eye(len(next(iter(vectors.values()))))
    scp = make_set("train", {key: value + far[int(utt2spk[key][1:]) % 3] for key, value in vectors.items()})
    truth = tmp_path / "truth"
    write_table(truth, {key: f"n{int(spk[1:]) % 3}" for key, spk in utt2spk.items()})
    figures = make_pseudo_labels(scp, tmp_path / "out", 3, seed=1, restarts=2, speakers=truth)
    given, true = read_table(tmp_path / "out" / "utt2spk"), read_table(truth)
    assert given.keys() == utt2spk.keys() and len(set(given.values())) == 3
    assert len({(given[key], true[key]) for key in given}) == 3
    assert figures == json.loads((tmp_path / "out" / "clusters.json").read_text())
    one = pytest.approx(1)
    assert figures["with_speakers"] == {"speakers": 3, "nmi": one, "purity": 1, "nmi_kept": one, "purity_kept": 1}
    assert sum(figures["sizes"]) == figures["utterances"] == figures["utterances_kept"] == len(given)
    assert len(figures["inertia_of_restarts"]) == 2 and min(figures["inertia_of_restarts"]) == figures["inertia"]


def test_shuffled_speakers_and_none_at_all_give_the_same_labels(make_set, train_set, tmp_path, capsys):
    vectors, utt2spk = train_set
    scp, keys = make_set("train", vectors), sorted(utt2spk)
    write_table(tmp_path / "true", utt2spk)
    shuffled = np.random.default_rng(0).permutation([utt2spk[key] for key in keys])
    write_table(tmp_path / "shuffled", dict(zip(keys, shuffled, strict=True)))
    for name in ("true", "shuffled", ""):
        cluster_embeddings(scp, tmp_path / f"out-{name}", 7, 1, restarts=2, min_utts=2, keep=0.8,
                           speakers=str(tmp_path / name) if name else "")  # fmt: skip
    tables = [(tmp_path / f"out-{name}" / "utt2spk").read_text() for name in ("true", "shuffled", "")]
    assert tables[0] == tables[1] == tables[2]
    assert capsys.readouterr().out.count("normalised mutual information") == 2
    files = [tmp_path / f"out-{name}" / "clusters.json" for name in ("true", "shuffled", "")]
    figures = [json.loads(path.read_text()) for path in files]
    assert figures[0].pop("with_speakers")["nmi"] > figures[1].pop("with_speakers")["nmi"] + 0.1
    assert figures[0] == figures[1] == figures[2]


@pytest.mark.parametrize("options, says", [
    ({"number": 1000}, r"1000 clusters of the \d+ utterances in .* ask for fewer \(clusters.number\)"),
    ({"min_utts": 1000}, "fewer than two have min_utts=1000 utterances"),
    ({"keep": 0.0}, "above 0 and at most 1, not 0"),
])
def test_what_gives_no_labels_is_refused_and_writes_nothing(make_set, train_set, tmp_path, options, says):
    with pytest.raises(InputError, match=says):
        make_pseudo_labels(make_set("train", train_set[0]), tmp_path / "out", **{"number": 3, "seed": 0, **options})
    assert not (tmp_path / "out").exists()


def test_a_table_that_lacks_a_speaker_is_refused_for_the_report(make_set, train_set, tmp_path):
    vectors, utt2spk = train_set
    write_table(tmp_path / "some", dict(list(utt2spk.items())[1:]))
    with pytest.raises(InputError, match="no speaker for"):
        make_pseudo_labels(make_set("train", vectors), tmp_path / "out", 3, seed=0, speakers=tmp_path / "some")
