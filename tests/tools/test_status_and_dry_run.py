"""run.sh --status and --dry-run: what they tell is what a run would find and do, and they leave no trace."""

import fcntl
import os
import re
import subprocess

import pytest


def traces(folder):
    """Every file below ``folder`` with its time of change."""
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def states(stages, *words):
    """{stage: (state, why)} as --status says."""
    rows = {}
    _, said, errors = stages.run("--status", *words)
    assert errors == "" and not stages.calls()
    for line in said:
        found = re.search(r"(whole|stale|running|interrupted|missing) *(.*)", line)
        if found:
            rows[len(rows) + 1] = found.groups()
    return rows


def test_a_table_says_what_is_whole_and_what_is_missing_and_changes_nothing(scored):
    before = traces(scored.folder)
    before.pop(scored.log)
    assert states(scored) == {**{n: ("whole", "") for n in range(1, 7)}, 7: ("missing", "")}
    assert traces(scored.folder) == before


def test_a_stage_whose_input_changed_is_stale_and_those_behind_it_are_told_from_whole_ones(scored):
    (scored.exp / "embeddings" / "eval" / "xvector.ark").write_text("others")
    found = states(scored)
    assert found[3] == ("whole", "")
    assert found[4] == ("stale", f"output {scored.exp}/embeddings/eval/xvector.ark has changed")
    assert found[5] == ("stale", f"input {scored.exp}/embeddings/eval/xvector.ark has changed")
    (scored.exp / "embeddings" / "eval" / "xvector.ark").unlink()
    assert states(scored, "--top-n", 7)[6][0] == "stale"


def test_an_option_that_differs_makes_a_stage_stale_and_the_next_says_so(scored):
    found = states(scored, "--set", "optimizer.lr=0.07")
    assert found[3][0] == "stale" and "option optimizer.lr was" in found[3][1]
    assert found[4] == ("whole", "but not so stage 3, which comes before it")
    assert states(scored, "--exp", scored.exp)[3] == ("whole", "")
    hint = "by the options given: ask about an experiment with those that it was run with)"
    assert scored.run("--status", "--set", "optimizer.lr=0.07")[1][-1].endswith(hint)
    assert not any(hint in line for line in scored.run("--status")[1])


def test_a_stage_at_work_names_its_process_and_one_that_was_killed_is_interrupted(scored):
    (scored.exp / "requeue").write_text("stopped by a signal after step 12\n")
    with scored.waiting_in("train", "--stage", 3, "--stop-stage", 3, "--force", "true") as process:
        found = states(scored)
        assert found[3][0] == "running" and re.match(rf"process {process.pid} on \S+ since 2", found[3][1])
        assert found[1] == ("whole", "")
        process.kill()
        process.wait()
    (scored.exp / "requeue").write_text("stopped by a signal after step 12\n")
    for _ in range(100):
        found = states(scored)
        if found[3][0] != "running":  # until what it left behind has ended too
            break
    assert found[3] == ("interrupted", "stopped by a signal after step 12")


def test_options_of_stage_one_need_not_be_given_again_but_must_not_be_others(scored):
    scored.only(1, "--dev-speakers", 7)
    assert states(scored)[1] == ("whole", "")
    assert states(scored, "--dev-speakers", 8)[1] == ("stale", "option dev_speakers was '7', is '8'")
    (scored.data / "eval" / "trials" / "A").write_text("others")
    assert states(scored)[1] == ("stale", f"its output {scored.data}/eval/trials has changed")


def test_an_experiment_that_there_is_not_is_missing(scored):
    found = states(scored, "--exp", scored.folder / "none")
    assert found[2] == ("whole", "") and {found[n][0] for n in (3, 4, 5, 6, 7)} == {"missing"}


def site(stages, text):
    """Have the stages' submitters find the settings ``text``."""
    (stages.folder / "site.yaml").write_text(text)
    stages.env["WESPK_SITE"] = str(stages.folder / "site.yaml")


def dry(stages, *words):
    """(exit status, lines, errors) of --dry-run; fails if it runs anything but checks of the configuration, or writes."""
    stages.log.unlink(missing_ok=True)
    before = traces(stages.folder)
    done = subprocess.run(stages.line("--dry-run", *words), capture_output=True, text=True, env=stages.env, cwd="/",
                          check=False, timeout=120)
    calls = stages.calls().splitlines()
    assert all("wespk.bin.check_config" in call for call in calls)
    stages.log.unlink(missing_ok=True)
    assert traces(stages.folder) == before
    return done.returncode, done.stdout.splitlines(), done.stderr


def test_without_any_data_all_stages_are_told_and_nothing_is_made(stages):
    folders = set(os.listdir(stages.folder))
    status, said, errors = dry(stages, "--nj", 40)
    assert (status, errors) == (0, "") and set(os.listdir(stages.folder)) == folders
    assert [line.partition(",")[0] for line in said if line.startswith("stage")] == [f"stage {n}" for n in range(1, 8)]
    arrays = [line for line in said if line.startswith("  submit")]
    assert arrays[0] == f"  submit  local: 40 jobs, N = 1 to 40, log {stages.data}/train/log/fbank.N.log"
    assert len(arrays) == 7 and arrays[3].startswith("  submit  local: 40 jobs, N = 1 to 40, gpus 0, log ")
    trained, = [line for line in said if "wespk.bin.train " in line]
    assert "--dev-data" in trained and "a\\ JOB" in trained
    assert [line for line in said if "make_report" in line and line.startswith("  run ")]


def test_what_is_current_is_told_from_what_would_be_done_and_from_what_may_follow(scored):
    status, said, _ = dry(scored, "--set", "optimizer.lr=0.07", "--exp", scored.folder / "new")
    assert status == 0 and said.count("  nothing: done already and current") == 2
    assert [line for line in said if "wespk.bin.train " in line and str(scored.folder / "new").replace(" ", "\\ ") in line]
    status, said, _ = dry(scored, "--dev-speakers", 7, "--stop-stage", 2, "--nj", 3)
    assert said[1] == "  because: option dev_speakers was '40', is '7'"
    assert "  because: if what stage 1 writes comes out different" in said
    assert [line for line in said if line.startswith("  submit  local: 1 job, log ")]  # there is one utterance


def test_by_force_it_is_told_what_would_be_removed(scored):
    _, said, _ = dry(scored, "--stage", 3, "--stop-stage", 3, "--force", "true")
    folder = str(scored.exp / "checkpoints").replace(" ", "\\ ")
    assert f"  remove  {folder}" in said and "  because: current, but --force" in said


def test_trial_lists_are_dealt_to_at_most_nj_jobs(scored):
    words = ("--stage", 5, "--stop-stage", 6, "--force", "true", "--cmd", "slurm", "--threads", 7)
    for number, jobs in ((1, "1 job"), (40, "2 jobs, N = 1 to 2")):
        said = dry(scored, *words, "--nj", number)[1]
        for name, entry in (("scoring", "score_cosine"), ("score_norm", "score_norm")):
            at = said.index(f"  submit  slurm: {jobs}, num-threads 7, log {scored.exp}/log/{name}.N.log")
            assert f"share_of.sh N {jobs[0]} python -m wespk.bin.{entry} " in said[at + 1] and said[at + 1].endswith(" ::: \\")
            assert said[at + 2].startswith(f"            python -m wespk.bin.{entry} ")


def test_an_earlier_stage_that_is_missing_is_refused_as_in_a_real_run(scored):
    (scored.exp / "embeddings" / "eval" / "xvector.scp").unlink()
    status, _, errors = dry(scored, "--stage", 5)
    assert status == 1 and "which stage 4 makes: run --stage 4 first" in errors


def test_training_by_a_scheduler_is_one_job_on_all_nodes(scored):
    words = ("--stage", 3, "--stop-stage", 4, "--exp", scored.folder / "new", "--cmd", "slurm", "--gpus", 4, "--nodes", 2)
    site(scored, "slurm: {partition: p}")
    status, said, errors = dry(scored, *words, "--time", "4:00:00", "--threads", 5)
    assert (status, errors) == (0, "")
    at = said.index("  submit  slurm: 1 job, gpus 4, nodes 2, num-threads 20, time 4:00:00, grace 120, "
                    f"log {scored.folder}/new/log/training.log")
    assert "training_job.py --exp " in said[at + 1] and " --nodes 2 --processes 4 -- -m wespk.bin.train " in said[at + 1]
    assert said[at + 1].endswith(" --device cuda")
    asked = "--partition=p --nodes=2 --ntasks=2 --cpus-per-task=20 --ntasks-per-node=1 --gres=gpu:4 --time=240"
    assert said[at + 2] == f"          each asks for: {asked}"
    arrays = [line for line in said if line.startswith("  submit")]
    assert len(arrays) == 3 and arrays[1].startswith("  submit  slurm: 1 job, gpus 1, ")  # of one utterance each


def test_training_on_this_machine_is_by_torchrun_if_there_are_several_processes(scored):
    words = ("--stage", 3, "--stop-stage", 3, "--exp", scored.folder / "new")
    for more, launcher in (((), "python -m wespk.bin.train "), (
            ("--processes", 2), "python -m torch.distributed.run --standalone --nproc-per-node 2 -m wespk.bin.train ")):
        assert [line for line in dry(scored, *words, *more)[1] if line.startswith(f"  run     {launcher}")], more


@pytest.mark.parametrize("words, says", [
    (("--nodes", 2), "--nodes is for jobs of a scheduler, and --cmd is local"),
    (("--time", "1:00"), "--time is for jobs of a scheduler, and --cmd is local"),
    (("--cmd", "slurm", "--gpus", 2, "--processes", 2), "--processes is for training without GPUs"),
    (("--cmd", "slurm.pl --mem 2G", "--time", "1:00:00"), "--time is not for Kaldi's scripts"),
    (("--cmd", "slurm", "--gpus", 1, "--time", "24h"), "--cmd slurm: --time is the time limit of each job: MINUTES, "),
    (("--cmd", "slurm", "--stop-stage", 2, "--time", "tomorrow"), "--cmd slurm: --time is the time limit of each job: MINUTES, "),
    (("--cmd", "sge", "--gpus", 1, "--nodes", 2), "--cmd sge: --nodes 2, but a job has one node here"),
    (("--cmd", "slurm", "--nodes", 0), "--nodes takes a number, 1 or more, not '0'"),
])
def test_options_of_jobs_that_cannot_be_honoured_are_refused(stages, words, says):
    status, _, errors = dry(stages, *words)
    assert status != 0 and says in errors


@pytest.mark.parametrize("words", [("--stop-stage", 2), ("--stage", 4, "--stop-stage", 4), ("--stage", 6)])
def test_wrong_settings_of_the_site_are_refused_by_a_dry_run_too(scored, words):
    site(scored, "slurm: {partiton: x}")
    status, said, errors = dry(scored, "--cmd", "slurm", *words)
    assert (status, said) == (1, []) and "site.yaml: slurm: unknown key 'partiton' (did you mean 'partition'?)" in errors


@pytest.mark.parametrize("probe, says", [(None, "there is no command 'sbatch' here: submit from a machine of the cluster, or"),
                                         ("echo nobody >&2; exit 1", "no controller of Slurm was reached (nobody): submit ")])
def test_a_scheduler_that_does_not_answer_is_found_out_before_the_first_stage(stages, probe, says):
    tools = stages.folder / "tools"
    tools.mkdir()
    for name in os.listdir("/usr/bin"):
        if name not in ("sbatch", "sinfo"):
            (tools / name).symlink_to(f"/usr/bin/{name}")
    if probe:
        for name in ("sbatch", "sinfo"):
            (tools / name).write_text(f"#!/bin/bash\n{probe}\n")
            (tools / name).chmod(0o755)
    stages.env["PATH"] = f"{os.path.dirname(stages.env['PYTHON'])}:{tools}"
    status, said, errors = stages.run("--cmd", "slurm", "--stop-stage", 2, check=False)
    assert (status, said, stages.calls()) == (1, [], "") and f"--cmd slurm: {says}" in errors
    assert not stages.data.exists() and "refused" not in errors


def test_what_only_checks_is_told_as_a_check(stages):
    told = [line.split()[0] for line in dry(stages, "--stop-stage", 1)[1] if "wespk.bin.prepare_corpus" in line]
    assert told == ["check", "run"]


@pytest.mark.parametrize("words", [(), ("--stage", 8), ("--stage", 4, "--stop-stage", 4)])
def test_a_scheduler_must_be_told_the_number_of_gpus_where_it_counts(stages, words):
    line = ["bash", str(stages.folder / "run.sh"), "--cmd", "slurm", *map(str, words)]
    done = subprocess.run(line, capture_output=True, text=True, env=stages.env, check=False, timeout=120)
    assert done.returncode == 1
    assert "--cmd slurm: how many GPUs the nodes have cannot be seen from here: give --gpus N" in done.stderr


def test_a_training_job_that_outlives_its_run_is_told(scored):
    with open(scored.exp / ".stages" / "training.lock", "w") as held:
        print("Slurm job 12 on n4,n5 since yesterday", file=held, flush=True)
        fcntl.flock(held, fcntl.LOCK_EX)
        assert states(scored)[3] == ("running", "Slurm job 12 on n4,n5 since yesterday, left behind by a run that has ended")
    assert states(scored)[3] == ("whole", "")
