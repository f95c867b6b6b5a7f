"""From embeddings to calibrated scores through the command lines, and the quality measures worked out by hand."""

import json

import numpy as np
import pytest

from tests.bin.test_scoring_commands import run
from tests.scoring.conftest import every_pair, random_set, write_set
from wespk.bin.apply_calibration import apply_calibration
from wespk.bin.make_calibration_trials import make_calibration_trials
from wespk.bin.measure_quality import measure_quality
from wespk.bin.score_cosine import score_cosine
from wespk.bin.train_calibration import train_calibration
from wespk.data.stored import write_stamp
from wespk.io.ark import ArkWriter, read_scp
from wespk.io.tables import Trials, read_numbers, read_scores, read_trials, write_scores, write_table, write_trials
from wespk.metrics import cllr


@pytest.fixture
def place(tmp_path):
    """Embeddings of 60 training speakers and of 8 others, a list of every pair of these, durations and features."""
    training, evaluation = random_set("t", 60, 6, seed=4), random_set("e", 8, 4, seed=3)
    write_set(tmp_path / "train", *training)
    write_set(tmp_path / "eval", *evaluation)
    keys = sorted(evaluation[0])
    write_trials(tmp_path / "hard", every_pair(evaluation[1]))
    draw = np.random.default_rng(0)
    for name, ids in (("train", training[0]), ("eval", keys)):
        write_table(tmp_path / name / "utt2dur", {key: f"{draw.uniform(1, 9):.3f}" for key in ids})
    with ArkWriter(tmp_path / "feats.ark", tmp_path / "feats.scp") as ark:
        for key in keys:
            ark.write(key, draw.normal(size=(50, 4)))
    return tmp_path


def prepare(place, **changes):
    options = {"utt2spk": place / "train/utt2spk", "embeddings": place / "train/xvector.scp", "out_dir": place / "cal"}
    return run(make_calibration_trials, **{**options, **changes})


def score(place, trials, part):
    run(score_cosine, trials=trials, embeddings=place / part / "xvector.scp", out=place / f"{part}.cosine",
        mean_embeddings=place / "train/xvector.scp")  # fmt: skip


def measure(place, trials, part, **changes):
    options = {"trials": trials, "embeddings": place / part / "xvector.scp", "utt2dur": place / part / "utt2dur",
               "mean_embeddings": place / "train/xvector.scp", "cohort_scp": place / "cal/cohort.scp",
               "cohort_utt2spk": place / "train/utt2spk", "top_n": 10,
               "out_dir": place / f"{part}.quality"}  # fmt: skip
    return run(measure_quality, **{**options, **changes})


def tables(place, part, *names):
    return ",".join(f"{place}/{part}.quality/{name}" for name in names)


@pytest.fixture
def measured(place):
    """The same with calibration trials, scores and measures of both lists."""
    assert prepare(place) == 0
    for trials, part in ((place / "cal/trials", "train"), (place / "hard", "eval")):
        score(place, trials, part)
        assert measure(place, trials, part) == 0
    return place


@pytest.mark.parametrize("names", [(), ("duration", "magnitude", "cohort")], ids=str)
def test_calibrated_scores_are_log_likelihood_ratios(measured, names, capsys):
    options = {"quality": tables(measured, "train", *names)} if names else {}
    assert run(train_calibration, scores=measured / "train.cosine", trials=measured / "cal/trials", p_target=0.5,
               out=measured / "model.json", **options) == 0
    assert "Cllr after" in capsys.readouterr().out
    options = {"quality": tables(measured, "eval", *names)} if names else {}
    assert run(apply_calibration, model=measured / "model.json", scores=measured / "eval.cosine",
               out=measured / "hard.llr", **options) == 0
    enroll, test, ratios = read_scores(measured / "hard.llr")
    trials = read_trials(measured / "hard")
    assert (enroll, test) == (trials.enroll, trials.test)
    assert cllr(ratios, trials.labels) < 0.7 * cllr(read_scores(measured / "eval.cosine")[2], trials.labels)
    assert len(json.loads((measured / "model.json").read_text())["weights"]) == 1 + 2 * len(names)


def test_scores_that_say_the_contrary_are_warned_of(measured, capsys):
    enroll, test, scores = read_scores(measured / "train.cosine")
    write_scores(measured / "train.distance", enroll, test, -scores)
    assert run(train_calibration, scores=measured / "train.distance", trials=measured / "cal/trials", out=measured / "m") == 0
    assert "WARNING" in (err := capsys.readouterr().err) and "weight of score is negative" in err


def test_two_systems_are_fused_in_their_order(measured):
    enroll, test, scores = read_scores(measured / "train.cosine")
    other = scores + np.random.default_rng(0).normal(size=len(scores))
    write_scores(measured / "train.other", enroll, test, other)
    files = f"{measured}/train.cosine,{measured}/train.other"
    options = {"trials": measured / "cal/trials", "out": measured / "model.json"}
    assert run(train_calibration, scores=files, **options) == 0
    assert run(apply_calibration, model=measured / "model.json", scores=files, out=measured / "both.llr") == 0
    kept = json.loads((measured / "model.json").read_text())
    expected = np.column_stack([scores, other]) @ kept["weights"] + kept["offset"]
    assert kept["names"] == ["score1", "score2"]
    assert read_scores(measured / "both.llr")[2] == pytest.approx(expected, abs=1e-5)


def test_the_measures_are_those_worked_out_by_hand(place):
    assert prepare(place) == 0 and measure(place, place / "hard", "eval", feats=place / "feats.scp") == 0
    vectors = random_set("e", 8, 4, seed=3)[0]
    training, utt2spk = random_set("t", 60, 6, seed=4)
    key = "e003-s0-002"
    found = {name: read_numbers(place / "eval.quality" / name, float)[key]
             for name in ("duration", "magnitude", "cohort", "snr")}  # fmt: skip
    assert found["duration"] == pytest.approx(np.log(read_numbers(place / "eval/utt2dur", float)[key]))
    assert found["magnitude"] == pytest.approx(np.log(np.linalg.norm(vectors[key])))

    def unit(vector):
        return vector / np.linalg.norm(vector)

    mean = np.mean([v.astype(float) for v in training.values()], axis=0)
    groups = {}
    for other in read_scp(place / "cal/cohort.scp"):
        groups.setdefault(utt2spk[other], []).append(unit(training[other] - mean))
    cosines = sorted(unit(np.sum(group, axis=0)) @ unit(vectors[key] - mean) for group in groups.values())
    assert len(groups) == 48 and found["cohort"] == pytest.approx(np.mean(cosines[-10:]), abs=1e-6)
    assert 1 < found["snr"] < 15


def test_the_snr_is_the_level_between_loud_and_quiet_frames(place):
    """White noise of one level half of the time and 20 dB more in the other half."""
    from wespk.scoring.quality import levels

    with ArkWriter(place / "loud.ark", place / "loud.scp") as ark:
        quiet = np.random.default_rng(0).normal(0, 1e-3, size=(100, 8))
        ark.write("utterance", quiet + np.repeat([0, 2 * np.log(10)], 50)[:, None])
    assert levels([["utterance"]], place / "loud.scp") == pytest.approx([20], abs=0.05)


def test_the_snr_is_not_measured_on_cepstra(place, capsys):
    assert prepare(place) == 0
    write_stamp(place, {"type": "mfcc"})
    assert measure(place, place / "hard", "eval", feats=place / "feats.scp") == 1
    assert "feats.scp: features of type mfcc, but snr is measured on log-mel ones" in capsys.readouterr().err
    write_stamp(place, {"type": "fbank"})
    assert measure(place, place / "hard", "eval", feats=place / "feats.scp") == 0


def test_enrolments_of_several_utterances_are_measured_as_one(place):
    keys = sorted(random_set("e", 8, 4, seed=3)[0])
    write_table(place / "models", {"m": " ".join(keys[:3])})
    write_trials(place / "list", Trials(["m"] * 2, keys[4:6], None))
    assert prepare(place) == 0 and measure(place, place / "list", "eval", models=place / "models") == 0
    found = {name: read_numbers(place / "eval.quality" / name, float) for name in ("duration", "magnitude", "cohort")}
    assert all(sorted(table) == [*keys[4:6], "m"] for table in found.values())
    vectors, seconds = random_set("e", 8, 4, seed=3)[0], read_numbers(place / "eval/utt2dur", float)
    assert found["duration"]["m"] == pytest.approx(np.log(sum(seconds[key] for key in keys[:3])))
    assert found["magnitude"]["m"] == pytest.approx(np.mean([np.log(np.linalg.norm(vectors[key])) for key in keys[:3]]))
    write_table(place / "models", {keys[4]: " ".join(keys[:3])})
    write_trials(place / "list", Trials([keys[4]], [keys[4]], None))
    assert measure(place, place / "list", "eval", models=place / "models") == 1


def test_few_trials_for_measures_of_quality_are_warned_of(measured, capsys):
    given = {"scores": measured / "train.cosine", "trials": measured / "cal/trials", "out": measured / "model.json"}
    for quality, warned in (("", False), (tables(measured, "train", "duration"), True)):
        assert run(train_calibration, quality=quality, **given) == 0
        assert ("too few to learn from measures of quality as well (3 weights)" in capsys.readouterr().err) == warned


@pytest.mark.parametrize("counts, warned", [((199, 900), True), ((900, 199), True), ((200, 200), False)])
def test_few_trials_are_warned_of(tmp_path, capsys, counts, warned):
    number = sum(counts)
    labels, ids = np.repeat(np.array([1, 0], np.int8), counts), [f"u{i:05d}" for i in range(number)]
    write_trials(tmp_path / "trials", Trials(ids, ids, labels))
    write_scores(tmp_path / "scores", ids, ids, labels + np.random.default_rng(0).normal(size=number))
    assert run(train_calibration, scores=tmp_path / "scores", trials=tmp_path / "trials", out=tmp_path / "model.json") == 0
    said = capsys.readouterr().err
    assert (f"WARNING {tmp_path}/model.json: {counts[0]} target and {counts[1]} nontarget trials are few" in said) == warned
    assert said.count("WARNING") == warned


def test_a_trial_has_the_same_ratio_whichever_side_comes_first(measured):
    names = ("duration", "magnitude", "cohort")
    run(train_calibration, scores=measured / "train.cosine", trials=measured / "cal/trials",
        out=measured / "model.json", quality=tables(measured, "train", *names))  # fmt: skip
    enroll, test, scores = read_scores(measured / "eval.cosine")
    write_scores(measured / "swapped.cosine", test, enroll, scores)
    found = []
    for name in ("eval", "swapped"):
        assert run(apply_calibration, model=measured / "model.json", scores=measured / f"{name}.cosine",
                   out=measured / f"{name}.llr", quality=tables(measured, "eval", *names)) == 0
        found.append(read_scores(measured / f"{name}.llr")[2])
    assert np.array_equal(*found)


def test_files_that_do_not_fit_are_named(measured, capsys):
    def training(**changes):
        options = {"scores": measured / "train.cosine", "trials": measured / "cal/trials"}
        options["out"] = measured / "model.json"
        status = run(train_calibration, **{**options, **changes})
        return status, capsys.readouterr().err

    def applying(**changes):
        options = {"model": measured / "model.json", "scores": measured / "eval.cosine", "out": measured / "hard.llr"}
        status = run(apply_calibration, **{**options, **changes})
        return status, capsys.readouterr().err

    assert training()[0] == 0
    status, error = training(trials=measured / "hard")
    assert status == 1 and "train.cosine" in error and "hard" in error
    status, error = training(scores=f"{measured}/train.cosine,{measured}/eval.cosine")
    assert status == 1 and f"{measured}/eval.cosine:1: not the trial that" in error
    status, error = training(quality=tables(measured, "eval", "duration"))
    assert status == 1 and "eval.quality/duration: no value for 't" in error
    status, error = applying(quality=tables(measured, "eval", "cohort"))
    assert status == 1 and "was trained with score, but given are score, cohort.min, cohort.difference" in error
    status, error = applying(out=measured / "hard.cal")
    assert status == 1 and "must end in .llr" in error
    assert measure(measured, measured / "hard", "eval", utt2dur=measured / "train/utt2dur") == 1
    assert "train/utt2dur: no positive value for 'e000-s0-000'" in capsys.readouterr().err
    write_table(measured / "few", {"t000-s0-000": "t000", "strange": "t001"})
    assert prepare(measured, utt2spk=measured / "few") == 1
    write_table(measured / "more", {**{f"{s}-{u}": s for s in "abcdef" for u in (1, 2)}})
    assert prepare(measured, utt2spk=measured / "more") == 1
    assert "no embedding of" in capsys.readouterr().err
