"""The table of rounds of pseudo-labels."""

import json

import pytest

from wespk.bin.report_rounds import report_rounds
from wespk.utils.errors import InputError


def results(eer):
    metrics = {"eer": {"value": eer, "interval": [eer / 2, eer * 2]}}
    return {"lists": [{"name": "A", "systems": [{"name": "cosine", "metrics": metrics}]}]}


def clusters(kept, nmi=None):
    found = {"clusters": 9, "clusters_kept": kept, "utterances": 40, "utterances_kept": 30, "sizes_kept": [7, 3],
             "mean_cosine": 0.5}  # fmt: skip
    return found | ({"with_speakers": {"nmi": nmi, "purity": 0.25}} if nmi else {})


def test_rounds_stand_below_one_another_and_the_first_has_no_clusters(tmp_path):
    for name, eer, found in (("exp", 0.2, None), ("exp-pl1", None, clusters(8)), ("exp-pl2", 0.1, clusters(6, 0.75))):
        for path, content in (("results/metrics.json", eer and results(eer)), ("pseudo_labels/clusters.json", found)):
            (tmp_path / name / path).parent.mkdir(parents=True)
            if content:
                (tmp_path / name / path).write_text(json.dumps(content))
    report_rounds(",".join(str(tmp_path / name) for name in ("exp", "exp-pl1", "exp-pl2")), str(tmp_path / "out.md"))
    text = (tmp_path / "out.md").read_text()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|")]
    assert rows[2:5] == [["0", "exp", *["-"] * 6], ["1", "exp-pl1", "8 of 9", "30 of 40", "7", "0.500", "-", "-"],
                         ["2", "exp-pl2", "6 of 9", "30 of 40", "7", "0.500", "0.750", "0.250"]]
    assert rows[5] == ["trials", "system", "round", "EER %"]
    assert rows[7:] == [["A", "cosine", "0", "20.000 [10.000, 40.000]"], ["A", "cosine", "2", "10.000 [5.000, 20.000]"]]
    assert "exp-pl1 has no results (stage 7)." in text and "training does not see these" in text
    with pytest.raises(InputError, match="no such folder: .*exp-pl3"):
        report_rounds(str(tmp_path / "exp-pl3"), str(tmp_path / "out.md"))
