"""From features without a label to a network trained on clusters of another's embeddings."""

import torch

from tests.training.test_run import SETS, make_set
from wespk.bin.average_checkpoints import average_checkpoints
from wespk.bin.cluster_embeddings import cluster_embeddings
from wespk.bin.extract_embeddings import extract_embeddings
from wespk.io.tables import read_table
from wespk.training.run import train
from wespk.utils import config

SDPN = (" objective.name=sdpn loss.name=none objective.prototypes=6 objective.head_hidden=8 objective.head_dim=4 "
        "crops.teacher_frames=40 crops.student_frames=20 crops.student_number=2")


def test_a_round_of_pseudo_labels_needs_nobody_who_knows_the_speakers(tmp_path):
    make_set(tmp_path / "train", 4, 6, 1)
    (tmp_path / "train" / "utt2spk").unlink()
    data, sets = str(tmp_path / "train"), SETS.replace("num_workers=1", "num_workers=0")
    assert train(config.load(sets=sets + SDPN), tmp_path / "base", data, None, "cpu")
    average_checkpoints(str(tmp_path / "base"))
    embeddings = tmp_path / "base" / "embeddings" / "train"
    extract_embeddings(exp=str(tmp_path / "base"), data=data, out=str(embeddings), device="cpu")
    extract_embeddings(data=data, out=str(embeddings), merge=True)
    given = tmp_path / "round" / "pseudo_labels"
    cluster_embeddings(str(embeddings / "xvector.scp"), str(given), 6, restarts=2, min_utts=2)
    labels = read_table(given / "utt2spk")
    conf = config.load(sets=f"{sets} loss.name=sphereface2 labels.file={given / 'utt2spk'}")
    assert train(conf, tmp_path / "round", data, None, "cpu")
    found = torch.load(tmp_path / "round" / "checkpoints" / "epoch_0002.pt", weights_only=True)
    assert found["speakers"] == sorted(set(labels.values())) and 2 <= len(found["speakers"]) <= 6
    log = (tmp_path / "round" / "train.log").read_text()
    left_out = f"{24 - len(labels)} left out as not in labels.file, " if len(labels) < 24 else ""
    assert f"{len(labels)} utterances of {len(found['speakers'])} speakers ({left_out}0 left out as too short" in log
    assert f"the labels are those of {given / 'utt2spk'}, not the data's own" in log
