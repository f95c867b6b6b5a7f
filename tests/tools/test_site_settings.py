"""The submitters' site settings, and what they print or refuse before any scheduler is asked."""

import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT

SUBMIT = ROOT / "tools" / "submit"


def submit(scheduler, *words, site="", **options):
    folder = options["cwd"]
    (folder / "site.yaml").write_text(site)
    environment = {**os.environ, "WESPK_SITE": str(folder / "site.yaml"), **options.pop("env", {})}
    line = [sys.executable, SUBMIT / f"{scheduler}.py", *map(str, words)]
    return subprocess.run(line, capture_output=True, text=True, check=False, timeout=60, env=environment, **options)


def test_the_file_in_the_tree_says_what_holds_without_it(monkeypatch):
    monkeypatch.syspath_prepend(str(SUBMIT))
    monkeypatch.delenv("WESPK_SITE", raising=False)
    from site_settings import KEYS, PATH, site_settings

    from wespk.utils.config import read_yaml

    written = read_yaml(PATH)
    for scheduler, keys in KEYS.items():
        assert list(written[scheduler]) == list(keys)
        assert site_settings(scheduler) == {key: default for key, (default, _) in keys.items()}


@pytest.mark.parametrize(
    "site, message",
    [
        ("slrum: {}", "unknown section 'slrum' (did you mean 'slurm'?)"),
        ("slurm: {partiton: x}", "slurm: unknown key 'partiton' (did you mean 'partition'?)"),
        ("slurm: {retries: -1}", "slurm: retries must be a whole number, 0 or more, not -1"),
        ("slurm: {retries: true}", "retries must be a whole number"),
        ("slurm: {max_array_size: 0}", "max_array_size must be"),
        ("slurm: {poll_seconds: 0}", "poll_seconds must be a number, 0 or more, and not 0, not 0"),
        ("slurm: {queue_seconds: .inf}", "queue_seconds must be a number, 0 or more, not inf"),
        ("slurm: {options: --x}", "options must be a list of words"),
        ("slurm: [x]", "'slurm' must hold 'key: value' lines"),
        ("slurm: {gpu: '--gres=gpu:{m}'}", "gpu: '--gres=gpu:{m}' is wrong at 'm'; it may hold {n}"),
    ],
)
def test_a_wrong_file_is_refused_by_name(tmp_path, site, message):
    done = submit("slurm", "--dry-run", "--gpus", 1, "x.log", "true", site=site, cwd=tmp_path)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1 and message in done.stderr


def test_what_would_be_submitted_is_printed_and_nothing_written(tmp_path):
    options = ["--gpus", 2, "--mem", "1.5G", "--time", "1:30:01", "--num-threads", 3, "--max-jobs-run", 4, "--nodes", 2]
    site = "slurm: {partition: p, account: a, qos: q, options: [--constraint=x y], max_array_size: 30, mem: '--m={mb_per_thread}'}"
    done = submit("slurm", "--dry-run", *options, "JOB=1:40", "d/log/x.JOB.log", "echo", "a b", site=site, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    calls = [line for line in done.stdout.splitlines() if " sbatch " in line]
    assert [call.split("--array=")[1].split()[0] for call in calls] == ["1-30%4", "1-10%4"]
    assert calls[0].index(" --no-requeue ") > calls[0].index("--constraint")  # the site's options cannot undo it
    for word in ("--job-name=x.d", "--partition=p", "--account=a", "--qos=q", "'--constraint=x y'", "--gres=gpu:2",
                 "--m=512", "--time=91", "--cpus-per-task=3", "--nodes=2", "--ntasks-per-node=1"):  # fmt: skip
        assert f" {word} " in calls[0], word
    assert "job 1: echo 'a b' >d/log/x.1.log 2>&1" in done.stdout
    site = "sge: {queue: q, project: p, options: ['-l', 'x=1']}"
    words = [*options[:-2], "JOB=1:40", "d/log/x.JOB.log", "echo", "a b"]
    done = submit("sge", "--dry-run", *words, site=site + "\n", cwd=tmp_path, env={"PATH": "/nowhere"})
    assert "arrays of at most 1000 are assumed" in done.stderr
    for word in ("-N x.d", "-q q", "-P p", "-l x=1", "-l gpu=2", "-l mem_free=1536M", "-l h_rt=5401", "-pe smp 3", "-t 1-40",
                 "-tc 4"):  # fmt: skip
        assert f" {word} " in done.stdout, word
    done = submit("local", "--dry-run", "JOB=1:2", "d/x.JOB.log", "echo", "a JOB", cwd=tmp_path)
    assert done.stdout == "echo 'a 1' >d/x.1.log 2>&1\necho 'a 2' >d/x.2.log 2>&1\n"
    assert os.listdir(tmp_path) == ["site.yaml"]


def test_no_path_confuses_the_scheduler_about_its_own_output(tmp_path):
    folder = tmp_path / "50% a\\b $HOME"
    folder.mkdir()
    done = submit("slurm", "--dry-run", "JOB=1:2", "x.JOB.log", "true", cwd=folder)
    assert " --output=/dev/null " in done.stdout
    folder = tmp_path / "50% a"
    folder.mkdir()
    done = submit("slurm", "--dry-run", "JOB=1:2", "x.JOB.log", "true", cwd=folder)
    assert "/50%% a/.submit-x-" in done.stdout and "/1.%a.out" in done.stdout


def test_no_scheduler_here_is_one_clear_line_and_nothing_is_left(tmp_path):
    for scheduler, command in (("slurm", "sbatch"), ("sge", "qsub")):
        site = f"{scheduler}: {{max_array_size: 9}}"
        words = ["JOB=1:2", "log/x.JOB.log", "true"]
        done = submit(scheduler, *words, site=site, cwd=tmp_path, env={"PATH": str(tmp_path)})
        assert done.returncode == 1
        expected = f"error: there is no command '{command}' here: submit from a machine of the cluster, or run on this one "
        expected += "(--cmd local)\n"
        assert done.stderr == f"{scheduler}.py: {expected}"
        assert os.listdir(tmp_path / "log") == []


FAKES = {"slurm": ("sbatch", "sinfo"), "sge": ("qsub", "qconf")}


@pytest.mark.parametrize("scheduler", FAKES)
def test_a_check_asks_whether_the_scheduler_answers_and_submits_nothing(tmp_path, scheduler):
    submitter, probe = FAKES[scheduler]
    path = {"PATH": f"{tmp_path}:/bin"}
    (tmp_path / submitter).write_text("#!/bin/sh\ntouch submitted\n")
    (tmp_path / probe).write_text("#!/bin/sh\n")
    (tmp_path / submitter).chmod(0o755)
    (tmp_path / probe).chmod(0o755)
    before = sorted([*os.listdir(tmp_path), "site.yaml"])
    done = submit(scheduler, "--check", "JOB=1:2", "log/x.JOB.log", "true", cwd=tmp_path, env=path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    (tmp_path / probe).write_text(f"#!/bin/sh\necho '{probe}: error: a' >&2\necho '{probe}: fatal: b' >&2\nexit 1\n")
    done = submit(scheduler, "--check", "x.log", "true", cwd=tmp_path, env=path)
    assert done.returncode == 1 and " was reached (b): submit from a machine of the cluster, or run on this" in done.stderr
    done = submit(scheduler, "--check", "x.log", "true", cwd=tmp_path, env={"PATH": "/nowhere"})
    assert done.returncode == 1 and f"there is no command '{submitter}' here: " in done.stderr
    done = submit(scheduler, "--check", "--gpus", 1, "x.log", "true", site=f"{scheduler}: {{gpu: '{{m}}'}}", cwd=tmp_path, env=path)
    assert done.returncode == 1 and "it may hold {n}" in done.stderr
    assert sorted(os.listdir(tmp_path)) == before


@pytest.mark.parametrize(
    "scheduler, words, site, message",
    [
        ("sge", ["--nodes", 2], "", "a job has one node here"),
        ("sge", ["--num-threads", 2], "sge: {parallel_environment: ''}", "name no 'parallel_environment'"),
        ("sge", ["--gpus", 1], "sge: {gpu: ''}", "say nothing of 'gpu'"),
        ("slurm", ["--gpus", 1], "slurm: {gpu: ''}", "say nothing of 'gpu'"),
        ("local", ["--nodes", 2], "", "this is one machine"),
    ],
)
def test_what_a_scheduler_cannot_give_is_refused(tmp_path, scheduler, words, site, message):
    done = submit(scheduler, *words, "x.log", "true", site=site, cwd=tmp_path)
    assert done.returncode in (1, 2) and message in done.stderr
    assert os.listdir(tmp_path) == ["site.yaml"]
