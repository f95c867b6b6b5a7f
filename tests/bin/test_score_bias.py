"""What SphereFace2's bias says, from a checkpoint to the report."""

import json

import numpy as np
import pytest
import torch

from tests.bin.test_scoring_commands import run
from tests.embedding.tiny_networks import tiny_config
from tests.scoring.conftest import every_pair, random_set, write_set
from wespk.bin.compute_metrics import compute_metrics
from wespk.bin.make_report import make_report
from wespk.bin.score_bias import score_bias
from wespk.io.ark import read_scp, read_vectors
from wespk.io.tables import Trials, join_labels, read_scores, write_trials
from wespk.losses import build_loss
from wespk.metrics import act_dcf, cllr, min_dcf

BIAS, LAM, CLASSES = -1.25, 0.6, 9
BALANCED = build_loss({"name": "sphereface2", "margin": 0.0, "bias_init": "balanced"}, 16, CLASSES).bias.item()


def write_checkpoint(path, speakers=CLASSES, drop=(), loss_conf=None, bias=BIAS, init_head="none"):
    conf = tiny_config()
    conf["train"]["init_head"] = init_head
    conf["loss"] = loss_conf or {"name": "sphereface2", "scale": 20.0, "lam": LAM}
    conf["margin"]["final"] = 1.0 if conf["loss"]["name"] == "spherespeaker" else conf["margin"]["final"]
    loss = build_loss(conf["loss"], 16, CLASSES)
    if hasattr(loss, "bias"):
        loss.bias.data.fill_(bias)
    state = {"format": 1, "config": conf, "speakers": [f"s{i}" for i in range(speakers)], "step": 7, "model": {},
             "loss": loss.state_dict()}  # fmt: skip
    torch.save({key: value for key, value in state.items() if key not in drop}, path)


@pytest.fixture
def stage(tmp_path):
    """A folder with embeddings of 8 speakers, trial lists `easy` and `hard` and the checkpoint `average.pt`."""
    vectors, utt2spk = random_set("e", 8, 4, seed=3)
    write_set(tmp_path / "eval", vectors, utt2spk)
    pairs = every_pair(utt2spk)
    write_trials(tmp_path / "hard", pairs)
    write_trials(tmp_path / "easy", Trials(*(column[::2] for column in pairs)))
    write_checkpoint(tmp_path / "average.pt")
    return tmp_path


def score(stage, name="hard", **changes):
    options = {"trials": stage / name, "embeddings": stage / "eval/xvector.scp", "checkpoint": stage / "average.pt",
               "out": stage / f"scores/{name}.bias.llr"}  # fmt: skip
    return run(score_bias, **{**options, **changes})


def measure(stage, *names, **changes):
    options = {"scores": ",".join(f"{stage}/scores/{name}.bias.llr" for name in names), "p_targets": "0.1",
               "trials": ",".join(f"{stage}/{name}" for name in names), "out": stage / "results/metrics.json",
               "readings": ",".join(f"{stage}/scores/{name}.bias.json" for name in names), "bootstrap": 0}  # fmt: skip
    return run(compute_metrics, **{**options, **changes})


def cosines_of(stage, name="hard"):
    """Cosines of the raw embeddings, by hand, in the order of the trials."""
    table = read_scp(stage / "eval/xvector.scp")
    keys, vectors = read_vectors(table)
    unit = dict(zip(keys, vectors.astype(np.float64) / np.linalg.norm(vectors, axis=1, keepdims=True)))
    return np.array([unit[a] @ unit[b] for a, b, _ in (line.split() for line in (stage / name).open())])


def test_the_ratios_are_those_of_the_raw_cosines_and_the_checkpoints_numbers(stage, capsys):
    assert score(stage) == 0
    ratios = read_scores(stage / "scores/hard.bias.llr")[2]
    zeta = LAM / ((1 - LAM) * (CLASSES - 1))
    z = 20 * (2 * ((cosines_of(stage) + 1) / 2) ** 3 - 1) + BIAS
    assert ratios == pytest.approx(z - np.log(zeta), abs=1e-4)
    c0 = 2 * ((1 - BIAS / 20) / 2) ** (1 / 3) - 1
    assert f"at the training prior of {zeta / (1 + zeta):.3g} accepted from cosine {c0:.4f} on" in capsys.readouterr().out
    reading = json.loads((stage / "scores/hard.bias.json").read_text())
    assert (reading["num_classes"], reading["lam"], reading["bias"]) == (CLASSES, LAM, BIAS)


def test_an_experiments_folder_stands_for_its_average(stage):
    (stage / "exp/checkpoints").mkdir(parents=True)
    write_checkpoint(stage / "exp/checkpoints/average.pt")
    assert score(stage) == 0
    text = (stage / "scores/hard.bias.llr").read_text()
    assert score(stage, checkpoint=stage / "exp") == 0
    assert (stage / "scores/hard.bias.llr").read_text() == text


def test_the_report_tells_the_thresholds_as_cosines_with_their_errors(stage):
    for name in ("easy", "hard"):
        score(stage, name)
    assert measure(stage, "easy", "hard") == 0
    assert run(make_report, metrics=stage / "results/metrics.json", out_dir=stage / "results") == 0
    results = json.loads((stage / "results/metrics.json").read_text())
    for entry, name in zip(results["lists"], ("easy", "hard"), strict=True):
        (system,) = entry["systems"]
        ratios, labels = join_labels(stage / f"scores/{name}.bias.llr", stage / name)
        assert system["metrics"]["cllr"]["value"] == pytest.approx(cllr(ratios, labels))
        cosines, points = cosines_of(stage, name), system["log_odds"]["points"]
        assert [point["p_target"] for point in points] == [system["log_odds"]["training_prior"], 0.1]
        for point in points:
            accepted = cosines >= point["cosine"]
            assert point["miss"] == pytest.approx(1 - accepted[labels == 1].mean())
            assert point["false_alarm"] == pytest.approx(accepted[labels == 0].mean())
            assert point["act_dcf"] == pytest.approx(act_dcf(ratios, labels, point["p_target"]))
            assert point["min_dcf"] == pytest.approx(min_dcf(ratios, labels, point["p_target"]))
        equal = system["log_odds"]["equal_error_cosine"]
        rates = [(cosines[labels == 1] < equal).mean(), (cosines[labels == 0] >= equal).mean()]
        assert rates[0] == pytest.approx(rates[1], abs=0.05)
    text, page = ((stage / "results" / name).read_text() for name in ("RESULTS.md", "report.html"))
    section = text[text.index("## What the bias says"):]
    assert "b = -1.2500" in section and "With a margin (type C, 0.2 at the end)" in section
    assert f"| hard   | 0.1              | {points[1]['cosine']:.4f} " in section
    assert section.count("## ") == 1 and page.count("<h2>What the bias says</h2>") == 1


@pytest.mark.parametrize("changes, begun, hardly", [
    ({}, "b = -1.2500 (it began at 0.0000)", False),
    ({"bias": 0.2}, "b = 0.2000 (it began at 0.0000)", True),
    ({"bias": 0.2, "init_head": "by_name"}, "b = 0.2000 was trained", False),
    ({"bias": 8.0, "loss_conf": {"name": "sphereface2", "bias_init": "balanced"}}, f"b = 8.0000 (it began at {BALANCED:.4f})", False),
])
def test_the_report_tells_how_far_the_bias_has_come(stage, changes, begun, hardly):
    write_checkpoint(stage / "average.pt", **changes)
    assert score(stage) == 0 and measure(stage, "hard") == 0
    assert run(make_report, metrics=stage / "results/metrics.json", out_dir=stage / "results") == 0
    text = (stage / "results/RESULTS.md").read_text()
    assert begun in text and ("b has hardly moved from 0" in text) == hardly


def test_what_no_cosine_reaches_is_said_so(stage, capsys):
    state = torch.load(stage / "average.pt", weights_only=True)
    state["loss"]["bias"].fill_(-30.0)
    torch.save(state, stage / "average.pt")
    assert score(stage) == 0 and "no cosine is accepted" in capsys.readouterr().out
    assert measure(stage, "hard") == 0
    assert run(make_report, metrics=stage / "results/metrics.json", out_dir=stage / "results") == 0
    text = (stage / "results/RESULTS.md").read_text()
    assert "holds for no cosine" in text and "| none               | 100.000  | 0.000  |" in text


def test_without_readings_nothing_is_said_of_a_bias(stage):
    score(stage)
    assert measure(stage, "hard", readings="") == 0
    assert run(make_report, metrics=stage / "results/metrics.json", out_dir=stage / "results") == 0
    assert "bias says" not in (stage / "results/RESULTS.md").read_text()


def broken(stage, **options):
    write_checkpoint(stage / "average.pt", **options)
    return score(stage)


@pytest.mark.parametrize("work, says", [
    (lambda s: broken(s, speakers=8), "average.pt: its loss's weights do not fit its own config's loss"),
    (lambda s: broken(s, drop=["loss"]), "average.pt lacks 'loss'"),
    (lambda s: score(s, out=s / "scores/hard.bias"), "hard.bias: files of log-likelihood ratios must end in .llr"),
    (lambda s: score(s, checkpoint=s / "nowhere"), "nowhere: no such experiment folder or checkpoint file"),
    (lambda s: measure(s, "hard", readings=s / "hard"), "hard: cannot be read"),
    (lambda s: measure(s, "hard", readings=s / "other.json"), "not written by this score_bias (no format 1)"),
    (lambda s: measure(s, "hard", readings=s / "scores/easy.bias.json"), "easy.bias.llr, which is not among --scores"),
])  # fmt: skip
def test_wrong_input_is_one_line_and_a_failure(stage, capsys, work, says):
    for name in ("easy", "hard"):
        assert score(stage, name) == 0
    (stage / "other.json").write_text('{"format": 0}')
    capsys.readouterr()
    assert work(stage) == 1
    error = capsys.readouterr().err
    assert says in error and error.count("\n") == 1


@pytest.mark.parametrize("options, sentence", [
    ({}, "With margins (combined, m1 1.1, m2 0.1, m3 0.1 at the end), z, taken without it, is a log-odds only roughly"),
    ({"reading": "alternate"}, "With margins (alternate, m1 1.2, m2 0.15, m3 0.2 at the end)"),
    ({"m1": 1, "m2": 0, "m3": 0}, None),
])
def test_spherespeaker_without_mining_is_read_like_sphereface2_and_its_margins_are_told(stage, options, sentence):
    write_checkpoint(stage / "average.pt", loss_conf={"name": "spherespeaker", "scale": 20.0, "lam": LAM, **options})
    assert score(stage) == 0
    ratios = read_scores(stage / "scores/hard.bias.llr")[2]
    z = 20 * (2 * ((cosines_of(stage) + 1) / 2) ** 3 - 1) + BIAS
    assert ratios == pytest.approx(z - np.log(LAM / ((1 - LAM) * (CLASSES - 1))), abs=1e-4)
    assert measure(stage, "hard") == 0
    assert run(make_report, metrics=stage / "results/metrics.json", out_dir=stage / "results") == 0
    text = (stage / "results/RESULTS.md").read_text()
    assert sentence in text if sentence else "With margins" not in text


def test_spherespeaker_with_mining_is_refused(stage, capsys):
    write_checkpoint(stage / "average.pt", loss_conf={"name": "spherespeaker", "top_k": 3})
    assert score(stage) == 1
    assert "average.pt was trained with loss.name=spherespeaker: loss spherespeaker with mining" in capsys.readouterr().err


def test_a_checkpoint_of_another_loss_is_refused_by_its_name(stage, capsys):
    write_checkpoint(stage / "average.pt", loss_conf={"name": "am_softmax"})
    assert score(stage) == 1
    error = capsys.readouterr().err
    assert "average.pt was trained with loss.name=am_softmax: loss AMSoftmax trains no threshold" in error
    assert not (stage / "scores").exists()
