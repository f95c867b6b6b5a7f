"""tools/stages.sh: what is done again, what is refused, and what the commands are given; entry points are fakes."""

import re
import shutil
import time

import pytest
import yaml

from tests.tools.staged_recipe import COPIES, CURRENT, words_of


def test_scores_that_the_last_run_of_stage_five_did_not_make_are_refused(scored):
    (scored.exp / "embeddings" / "eval" / "xvector.scp").unlink()
    scored.only(4, text="other embeddings")
    scored.only(5, "--trials", "A")
    status, _, errors = scored.only(6, check=False)
    assert status == 1
    assert f"stage 6 builds on stage 5, which is out of date ({scored.exp}/scores/B.cosine is not of its last" in errors
    scored.only(5)
    scored.only(6)


def test_a_list_of_averaged_enrolments_is_scored_and_normalised_by_its_table(scored):
    table = scored.data / "eval" / "enroll_maps" / "B"
    table.parent.mkdir()
    table.write_text("id1-model id1-a id1-b\n")
    for number, name in ((5, "score_cosine"), (6, "score_norm")):
        _, said, _ = scored.only(number)
        assert f"input {table} was not there before" in " ".join(said)
        calls = scored.calls_of(name)
        assert ["--models" in call for call in calls] == [False, True] and str(table) in calls[1]
    table.write_text("id1-model id1-a\n")
    assert f"stage 5 runs: input {table} has changed" in " ".join(scored.only(5)[1])


def test_another_kind_of_average_is_other_scores_and_the_report_is_told(scored):
    status, _, errors = scored.only(5, "--enroll-mean", "plain", check=False)
    assert status == 1 and "no list here has any" in errors
    table = scored.data / "eval" / "enroll_maps" / "B"
    table.parent.mkdir()
    table.write_text("id1-model id1-a id1-b\n")
    scored.run("--stage", 5, "--stop-stage", 7)
    for number in (6, 7):
        status, _, errors = scored.only(number, "--enroll-mean", "plain", check=False)
        assert status == 1 and "stage 5, which is out of date (option enroll_mean was 'normalised', is 'plain'" in errors
    scored.run("--stage", 5, "--stop-stage", 7, "--enroll-mean", "plain")
    for name in ("score_cosine", "score_norm", "compute_metrics"):
        assert words_of(scored.calls(), name, "--enroll-mean") == ["plain"], name
    assert CURRENT.format(5) not in scored.only(5)[1]


def test_normalised_scores_of_two_makes_are_not_mixed(scored):
    scored.only(6, "--top-n", 100, "--trials", "A")
    status, _, errors = scored.only(7, "--top-n", 100, check=False)
    assert status == 1 and f"{scored.exp}/scores/B.cosine.asnorm is not of its last run" in errors
    assert "run --stage 6 first" in errors


@pytest.mark.parametrize("later, path, earlier", [(5, "embeddings/eval/xvector.ark", 4), (6, "scores/A.cosine", 5),
                                                  (7, "scores/B.cosine.asnorm", 6), (4, "checkpoints/epoch_0001.pt", 3)])
def test_a_file_changed_since_its_stage_is_refused(scored, later, path, earlier):
    (scored.exp / path).write_text("someone else's\n")
    status, _, errors = scored.only(later, check=False)
    assert status == 1
    assert f"stage {later} builds on stage {earlier}, which is out of date" in errors
    assert f"{scored.exp}/{path} has changed" in errors and f"run --stage {earlier} first" in errors


def test_metrics_of_another_top_n_than_the_scores_have_are_refused(scored):
    status, _, errors = scored.only(7, "--top-n", 100, check=False)
    assert status == 1 and "(option top_n was '300', is '100'): give the options that it was run with, or run --stage 6 " in errors
    scored.only(7)


def test_top_n_means_nothing_to_other_norms(scored):
    scored.only(6, "--score-norm", "snorm", "--default-top-n", 100)
    scored.only(7, "--score-norm", "snorm", "--default-top-n", 200)


def test_a_second_run_in_the_folders_of_another_is_refused(scored):
    with scored.waiting_in("train", "--stage", 3, "--seed", 7, "--exp", scored.folder / "new"):
        status, _, errors = scored.run("--seed", 7, "--exp", scored.folder / "new", check=False)
        assert status == 1 and f"another run is at work in {scored.folder}/new:" in errors
        status, _, errors = scored.only(2, "--set", "features.num_mel_bins=40", check=False)
        assert status == 1 and f"another run is at work in {scored.data}:" in errors
        _, said, _ = scored.run()  # another experiment on the same data, whose stages 1 to 6 are done
        assert [line for line in said if " runs: " in line] == ["stage 7 runs: not done yet"]


def test_what_a_killed_run_leaves_behind_keeps_its_folder(scored):
    words = ("--stage", 3, "--stop-stage", 3, "--seed", 7, "--exp", scored.folder / "new")
    with scored.waiting_in("train", *words) as process:
        process.kill()
        process.wait()
        status, _, errors = scored.run(*words, check=False)
        assert status == 1 and f"another run is at work in {scored.folder}/new:" in errors
    deadline = time.monotonic() + 60
    while scored.run(*words, check=False)[0] and time.monotonic() < deadline:
        time.sleep(0.1)
    scored.run(*words)


def test_without_flock_the_work_is_done_with_a_warning(scored):
    scored.env["NO_FLOCK"] = "yes"
    assert f"flock is not installed, so nothing keeps a second run out of {scored.exp}" in scored.only(7)[2]


def test_two_names_of_one_corpus_folder_are_the_same(stages):
    stages.only(1, "--voxceleb1", stages.folder / "vox")
    _, said, _ = stages.only(1, "--voxceleb1", f"{stages.folder}/conf/..//vox/")
    assert CURRENT.format(1) in said


def test_the_users_paths_reach_the_array_jobs_as_they_are(stages):
    stages.run("--stop-stage", 2)
    calls = [line for line in stages.calls().splitlines() if "compute_fbank" in line]
    assert len(calls) == 3
    for line in calls:
        name = re.search(r" (\w+)=1:1 ", line)[1]
        assert name not in str(stages.folder) and f"fbank.{name}.log" in line and f"--job {name} " in line


def test_what_is_done_on_reading_does_not_redo_the_features(stages):
    stages.run("--stop-stage", 2)
    assert CURRENT.format(2) in stages.only(2, "--set", "features.cmn=mean_var")[1]
    assert CURRENT.format(2) not in stages.only(2, "--set", "features.num_mel_bins=40")[1]


def test_a_configuration_without_copies_leaves_those_of_another_alone(stages):
    stages.run("--stop-stage", 2, "--set", COPIES, "--musan", stages.folder / "vox")
    assert CURRENT.format(2) in stages.only(2)[1]
    assert CURRENT.format(2) in stages.only(2, "--set", COPIES)[1]
    assert CURRENT.format(2) not in stages.only(2, "--set", COPIES + " copies.noise_snr=[5,10]")[1]
    (stages.data / "musan" / "noise.scp").write_text("another\n")
    assert CURRENT.format(2) in stages.only(2)[1]
    stages.run("--stage", 3, "--stop-stage", 4)  # they read no copies
    assert stages.only(3, "--exp", stages.folder / "other", "--set", COPIES, check=False)[0] == 1
    assert CURRENT.format(2) not in stages.only(2, "--set", COPIES)[1]
    assert CURRENT.format(2) not in stages.only(2, "--set", "features.num_mel_bins=40")[1]


@pytest.mark.parametrize("number, words", [(2, ("--dev-speakers", 7)), (2, ("--train_sets=vox2_dev",)),
                                           (3, ("--musan", "/other"))])
def test_other_options_of_stage_one_after_stage_one_are_refused(scored, number, words):
    status, _, errors = scored.only(number, *words, check=False)
    assert status == 1
    assert f"stage {number} builds on stage 1, which is out of date (option {words[0][2:5]}" in errors.replace("-", "_")


def test_options_of_stage_one_that_were_given_to_it_need_not_be_given_again(stages):
    stages.only(1, "--dev-speakers", 7)
    stages.only(2)
    stages.only(2, "--dev-speakers", 7)


def test_a_recipes_own_minimum_length_holds_unless_another_is_given_and_is_not_asked_for_again(stages):
    own = ("--default-min-seconds", 5)
    stages.only(1, *own)
    assert "--min-seconds 5" in stages.calls()
    stages.only(1, *own, "--min-seconds", 0)
    assert "--min-seconds 0" in stages.calls()
    stages.only(2, *own)
    _, _, errors = stages.only(2, *own, "--min-seconds", 5, check=False)
    assert "stage 2 builds on stage 1, which is out of date (option min_seconds was '0'" in errors


def test_later_stages_compare_training_options_with_the_default_configuration(stages):
    words = ("--seed", 7, "--set", "model.embed_dim=64")
    stages.run("--stop-stage", 4, *words)
    assert CURRENT.format(4) in stages.only(4, *words)[1]
    status, _, errors = stages.only(4, "--exp", stages.folder / "exp" / "plain-seed7", "--seed", 8, check=False)
    assert status == 1 and "seed: 7 there, 8 asked for" in errors and "train.num_epochs" not in errors


NOISE = "labels.noise=class_wise labels.rate=0.3 labels.seed=5"


def test_wrong_labels_are_made_before_training_and_nothing_else_sees_the_right_ones(stages):
    stages.run("--stop-stage", 2)
    stages.run("--stop-stage", 6, "--set", NOISE)
    calls, table = stages.calls(), stages.data / "train" / "label_noise" / "class_wise-30-seed5" / "utt2spk"
    assert "compute_fbank" not in calls  # stage 2 does not mind
    assert words_of(calls, "relabel", "--train-data") == words_of(calls, "relabel", "--originals") == [str(stages.data / "train")]
    assert words_of(calls, "relabel", "--set") == [NOISE]
    assert calls.index("wespk.bin.relabel") < calls.index("wespk.bin.train ")
    assert words_of(calls, "extract_embeddings", "--utt2spk") == [str(table)]
    assert words_of(calls, "score_norm", "--cohort-utt2spk") == [str(table)] * 2
    assert f"{stages.data}/train/utt2spk" not in calls
    assert CURRENT.format(3) in stages.only(3, "--set", NOISE)[1]
    table.write_text("u other\n")
    for number in (4, 6):
        status, _, errors = stages.only(number, check=False)
        assert status == 1 and f"{table} has changed" in errors
    assert f"stage 3 runs: output {table} has changed" in stages.only(3, "--set", NOISE)[1]
    assert table.read_text() == "u t\n"
    stages.only(6)


def test_copies_are_relabelled_by_their_originals(stages):
    stages.run("--stop-stage", 3, "--set", f"{COPIES} {NOISE}", "--musan", stages.folder / "vox")
    calls = stages.calls()
    assert words_of(calls, "relabel", "--train-data") == [f"{stages.data}/train_aug"]
    assert words_of(calls, "relabel", "--originals") == [f"{stages.data}/train"]
    stages.run("--stage", 4, "--stop-stage", 6)
    table = f"{stages.data}/train_aug/label_noise/class_wise-30-seed5/utt2spk"
    assert words_of(stages.calls(), "score_norm", "--cohort-utt2spk") == [table] * 2


def test_without_wrong_labels_none_are_made(scored):
    scored.run("--stage", 3, "--stop-stage", 6, "--exp", scored.folder / "new")
    calls = scored.calls()
    assert "relabel" not in calls and "label_noise" not in calls
    assert words_of(calls, "score_norm", "--cohort-utt2spk") == [f"{scored.data}/train/utt2spk"] * 2


def test_lost_features_do_not_stop_stage_1_and_stage_2_makes_them_again(stages):
    stages.run("--stop-stage", 2)
    (stages.data / "train" / "feats" / "feats.1.ark").unlink()
    stages.only(1, "--check-audio", "false")  # other options, so that it is done again
    _, said, _ = stages.only(2)
    assert f"stage 2 runs: output {stages.data}/train/feats/feats.1.ark has gone" in said
    stages.run("--stop-stage", 2, "--check-audio", "false")


@pytest.mark.parametrize("number, entry, words", [(1, "prepare_corpus", ("--dev-speakers", 7)),
                                                  (3, "check_config", ("--exp", "/nowhere/new"))])
def test_a_stage_refused_for_its_options_stays_as_done_as_it_was(scored, number, entry, words):
    words = [str(word).replace("/nowhere", str(scored.folder)) for word in words]
    refuse = scored.folder / f"log.{entry}.status"
    refuse.write_text("1")
    status, _, _ = scored.only(number, *words, check=False)
    calls = scored.calls().splitlines()
    assert status == 1 and entry in calls[-1] and not (scored.folder / "new").exists()
    assert scored.only(number)[0] == 0 and entry not in scored.calls()  # current, which the fake cannot refuse
    refuse.unlink()


WAVES = "data.input=waves augment.prob=0.6"


@pytest.mark.parametrize("words, option", [
    (("--stop-stage", 2, "--set", "copies.kinds=[reverb,babble]"), "--musan"),
    (("--stop-stage", 2, "--set", "copies.kinds=[reverb,babble]", "--musan", "/tmp"), "--rirs"),
    (("--set", f"{WAVES} augment.reverb_share=1.0 augment.both_share=0.4"), "--musan"),
    (("--set", WAVES), "--musan"), (("--set", WAVES, "--musan", "/tmp"), "--rirs"), (("--stage", 3, "--set", WAVES), "--musan"),
])
def test_noises_that_the_configuration_asks_for_are_missed_at_once(stages, words, option):
    status, _, errors = stages.run(*words, check=False)
    cure = "augment.prob=0" if WAVES in " ".join(map(str, words)) else "copies.kinds=[]"
    assert status == 1 and f"{option} DIR, or switch it off: --set '{cure}'" in errors
    assert "wespk.bin.prepare_corpus" not in stages.calls()


@pytest.mark.parametrize("words", [("--set", "copies.kinds=[reverb]"), ("--set", f"{WAVES} augment.reverb_share=1.0")])
def test_noises_that_nothing_asks_for_are_not_missed(stages, words):
    stages.run("--stop-stage", 3, "--rirs", stages.folder / "vox", *words)
    assert stages.only(3, *words)[0] == 0


def test_training_by_force_begins_anew_unless_it_was_not_at_its_end(scored):
    extra = scored.exp / "checkpoints" / "epoch_0000.pt"
    extra.touch()
    stop = scored.folder / "log.train.status"
    stop.write_text("85")
    assert scored.only(3, "--force", "true", check=False)[0] == 85 and not extra.exists()
    extra.parent.mkdir()
    extra.touch()
    stop.unlink()
    _, said, _ = scored.only(3, "--force", "true")
    assert "stage 3 runs: was begun and not finished" in said and extra.exists()


def test_checkpoints_of_other_features_are_not_taken_for_trained_on_these(scored):
    scored.only(2, "--force", "true")  # the same content
    assert CURRENT.format(3) in scored.only(3)[1]
    scored.only(2, "--force", "true", text="other features")
    status, _, errors = scored.only(3, check=False)
    assert status == 1 and f"{scored.exp} was trained on other data than these ({scored.data}/train/feats/feats.1.ark" in errors
    assert "train it anew with --force true" in errors and "wespk.bin.train " not in scored.calls()
    old = scored.exp / "checkpoints" / "epoch_0000.pt"
    old.touch()
    scored.only(3, "--force", "true")
    assert not old.exists() and CURRENT.format(3) in scored.only(3)[1]


def test_a_stopped_training_does_not_go_on_with_other_features(scored):
    stop = scored.folder / "log.train.status"
    stop.write_text("85")
    half = scored.exp / "checkpoints" / "epoch_0000.pt"
    assert scored.only(3, "--force", "true", check=False)[0] == 85
    half.parent.mkdir()
    half.touch()
    scored.only(2, "--force", "true", text="other features")
    assert scored.only(3, check=False)[0] == 1 and "wespk.bin.train " not in scored.calls()
    stop.unlink()
    scored.only(3, "--force", "true")
    assert not half.exists()


def test_an_experiment_that_there_is_not_is_answered_by_those_there_are(scored):
    scored.run("--stage", 3, "--stop-stage", 3, "--seed", 7)
    shutil.rmtree(scored.exp)
    status, _, errors = scored.run("--stage", 5, check=False)
    assert status == 1 and f"or name its folder with --exp; there is {scored.exp}-seed7\n" in errors


def test_a_short_training_keeps_the_proportions_of_its_schedules_and_has_a_folder_of_its_own(scored):
    (scored.folder / "conf" / "long.yaml").write_text("train: {num_epochs: 20}\nschedule: {warmup_epochs: 4}\n"
                                                      "margin: {start_epoch: 10, end_epoch: 15}\n")
    words = ("--config", scored.folder / "conf" / "long.yaml", "--epochs", 3, "--set", "optimizer.lr=0.02")
    scored.run("--stage", 3, "--stop-stage", 4, *words)
    conf = yaml.safe_load((scored.folder / "exp" / "long-epochs3" / "config.yaml").read_text())
    assert conf["train"]["num_epochs"] == 3 and conf["optimizer"]["lr"] == 0.02
    assert [conf["schedule"]["warmup_epochs"], conf["margin"]["start_epoch"], conf["margin"]["end_epoch"]] == [0.6, 1.5, 2.25]
    assert CURRENT.format(4) in scored.only(4, *words)[1]
    status, _, errors = scored.run("--epochs", 3, "--set", "train.num_epochs=4", check=False)
    assert status == 1 and "--epochs and --set train.num_epochs say one thing twice" in errors


@pytest.mark.parametrize("number", [0, 9])
def test_a_stage_that_there_is_not_is_refused_by_name(stages, number):
    status, _, errors = stages.run("--stage", number, check=False)
    assert status == 1 and f"there is no stage {number}; the stages are 1 to 8" in errors


def test_a_loss_with_a_bias_is_scored_by_it_too_and_others_are_not(scored):
    assert not list((scored.exp / "scores").glob("*.bias.*"))
    words = ("--exp", scored.folder / "new", "--set", "loss.name=sphereface2")
    scored.run("--stage", 3, *words)
    new, calls = scored.folder / "new", scored.calls().splitlines()
    assert sum(f"score_bias --trials {scored.data}/eval/trials/" in line for line in calls) == 2
    (measure,) = (line for line in calls if "compute_metrics" in line)
    assert all(f"{new}/scores/{name}.cosine.asnorm,{new}/scores/{name}.bias.llr," in measure for name in "AB")
    assert measure.endswith(f"--readings {new}/scores/A.bias.json,{new}/scores/B.bias.json,")
    assert CURRENT.format(5) in scored.only(5, *words)[1] and CURRENT.format(7) in scored.only(7, *words)[1]
    (new / "scores" / "B.bias.json").write_text("another\n")
    status, _, errors = scored.only(7, *words, check=False)
    assert status == 1 and f"{new}/scores/B.bias.json has changed" in errors and "run --stage 5 first" in errors
    (new / "checkpoints" / "average.pt").write_text("another\n")
    status, _, errors = scored.only(5, *words, check=False)
    assert status == 1 and f"{new}/checkpoints/average.pt has changed" in errors and "run --stage 4 first" in errors


def test_a_report_on_some_of_the_lists_says_which_it_leaves_out(scored):
    line = "stage 7 reports on A alone (--trials): without B"
    assert line in scored.only(7, "--trials", "A")[1]
    assert not any("reports on" in said for said in scored.only(7)[1])


def test_spherespeaker_is_scored_by_its_bias_unless_it_mines_which_is_told(scored):
    told = {}
    for name, sets in (("plain", "loss.top_k=0"), ("mined", "loss.top_k=10 loss.positive_power=0.5")):
        words = ("--exp", scored.folder / name, "--set", f"loss.name=spherespeaker margin.final=1 {sets}")
        told[name] = "".join(map(str, scored.run("--stage", 3, "--stop-stage", 5, *words)))
        assert len(list((scored.folder / name / "scores").glob("?.bias.llr"))) == (2 if name == "plain" else 0)
    assert "makes no LIST.bias.llr" not in told["plain"]
    assert "makes no LIST.bias.llr: with mining (loss.positive_power=0.5 loss.top_k=10) the loss's bias" in told["mined"]
