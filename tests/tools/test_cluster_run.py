"""tools/submit/cluster_run.py against a scheduler whose answers and whose clock are ours."""

import json
import sys

import pytest

from tests.conftest import ROOT


class Clock:
    now = 0.0

    def monotonic(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


class SlowScheduler:
    """Its job is never in the queue, and each answer takes 30 s; ``results`` maps a number of the answer to a job's result."""

    away_for = 0
    program, title, untraced, position = "slow.py", "Slow", "no trace of it", "1"

    def __init__(self, clock, results):
        self.clock, self.results, self.answers, self.submitted = clock, results, 0, 0

    def words(self, batch, submission):
        self.batch = batch
        return []

    def submit(self, words, folder):
        if self.away_for and self.submitted:
            self.away_for -= 1
            import cluster_run

            raise cluster_run.refusal("Slow", "Unable to contact slurm controller (connect failure)")
        self.submitted += 1
        return str(self.submitted)

    def present(self):
        self.clock.sleep(30)
        self.answers += 1
        if self.answers in self.results:
            name = f"{self.submitted}.1.end"
            (self.batch.folder / name).write_text(json.dumps(self.results[self.answers]))
        return {}

    def cancel(self, targets):
        pass

    def fates(self, id):
        return {}

    def largest_array(self):
        return 10


@pytest.fixture
def slow_run(monkeypatch, tmp_path):
    """(failures, scheduler) of one job whose results come with certain answers."""
    monkeypatch.syspath_prepend(str(ROOT / "tools" / "submit"))
    monkeypatch.chdir(tmp_path)
    import cluster_run
    from array_job import ArrayJob

    clock = Clock()
    monkeypatch.setattr(cluster_run, "time", clock)
    settings = {"retries": 1, "requeues": 1, "max_array_size": 5, "poll_seconds": 1, "queue_seconds": 0, "settle_seconds": 5}

    def run(results, away_for=0):
        scheduler = SlowScheduler(clock, results)
        scheduler.away_for = away_for
        return cluster_run.run(scheduler, ArrayJob("x.log", ("true",)), settings), scheduler

    yield run
    for name in ("slurm", "sge", "cluster_task", "logged_task", "cluster_run", "cluster_batch", "submitter_main", "array_job"):
        sys.modules.pop(name, None)


def test_the_time_for_a_result_to_appear_begins_when_the_scheduler_has_answered(slow_run):
    failures, scheduler = slow_run({2: {"status": 0, "late": False, "killed": False, "host": "h"}})
    assert (failures, scheduler.submitted) == ([], 1)


def test_a_job_without_a_result_is_run_again_as_often_as_told(slow_run, capsys):
    failures, scheduler = slow_run({})
    assert [failure.what for failure in failures] == ["was lost, 2 times (Slow: no trace of it)"]
    assert scheduler.submitted == 2 and "the job was lost" in capsys.readouterr().err


def test_a_scheduler_that_is_away_for_a_while_is_waited_for(slow_run, capsys):
    failures, scheduler = slow_run({5: {"status": 0, "late": False, "killed": False, "host": "h"}}, away_for=2)
    assert (failures, scheduler.submitted, scheduler.away_for) == ([], 2, 0)
    assert "Slow cannot be reached; waiting on" in capsys.readouterr().err


@pytest.mark.parametrize("text, kind, said", [
    ("error: resolve_ctls_from_dns_srv: x\nfatal: Could not establish a configuration source", "Unreachable",
     "no controller of T was reached (Could not establish a configuration source): submit from a machine of the cluster, "),
    ("Unable to contact slurm controller (connect failure)", "Unreachable", "no controller of T was reached (Unable "),
    ("Unable to contact slurm controller (receive failure)", "ClusterError", "T gave no answer to the submission (Unable "),
    ("qsub did not answer in 120 s", "ClusterError", "T gave no answer to the submission (qsub did not "),
    ("invalid partition specified: x", "ClusterError", "T refused the job: invalid partition specified: x"),
])  # fmt: skip
def test_a_refusal_is_told_from_no_answer_and_from_nobody_there(slow_run, text, kind, said):
    import cluster_run

    error = cluster_run.refusal("T", text)
    assert type(error).__name__ == kind and str(error).startswith(said)


@pytest.mark.parametrize("module, scheduler, output, expected", [
    ("sge", "GridEngine", "<job_info><job_list><JB_name>a & b", None),
    ("slurm", "Slurm", "12 N/A R \n13 4 PD BadConstraints\n", {("12", 1): "", ("13", 4): "BadConstraints"}),
])  # fmt: skip
def test_what_a_queue_says_is_read_or_known_to_be_no_answer(slow_run, monkeypatch, module, scheduler, output, expected):
    module = __import__(module)
    monkeypatch.setattr(module, "call", lambda words: (0, output, ""))
    found = getattr(module, scheduler)(None, {}).present()
    assert (found and {key: seen.reason for key, seen in found.items()}) == expected


def test_the_job_s_environment_is_the_submitter_s_but_for_what_the_scheduler_sets(slow_run, monkeypatch):
    import cluster_task

    monkeypatch.setenv("JOB_ID", "there")
    ours = {"PERL5LIB": "p", "JOB_DIR": "d", "JOB_ID": "here", "SLURM_JOB_ID": "here", "PE": "here", "OMP_NUM_THREADS": "9"}
    merged = cluster_task.environment({"environment": ours, "num_threads": 2, "gpus": 0})
    shown = {name: merged.get(name) for name in [*ours, "CUDA_VISIBLE_DEVICES"]}
    assert shown == {"PERL5LIB": "p", "JOB_DIR": "d", "JOB_ID": "there", "SLURM_JOB_ID": None, "PE": None,
                     "OMP_NUM_THREADS": "2", "CUDA_VISIBLE_DEVICES": ""}  # fmt: skip


def test_a_folder_left_behind_by_one_of_the_same_number_is_told_and_not_in_the_way(slow_run, tmp_path, monkeypatch, capsys):
    import cluster_batch

    monkeypatch.setattr(cluster_batch.os, "getpid", lambda: 77)
    for name in (".submit-x-77", ".submit-x-y-78"):
        (tmp_path / name).mkdir()
    failures, _ = slow_run({1: {"status": 0, "late": False, "killed": False, "host": "h"}})
    assert failures == [] and sorted(path.name for path in tmp_path.iterdir()) == [".submit-x-77", ".submit-x-y-78"]
    said = capsys.readouterr().err
    assert f"{tmp_path}/.submit-x-77 is of a call that was killed, or still runs" in said and "x-y" not in said
