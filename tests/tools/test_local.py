"""tools/submit/local.py: Kaldi's command line, exact arguments, honest exit status, nothing left running."""

import os
import signal
import subprocess
import sys
import time

import pytest

from tests.conftest import ROOT

LOCAL = [sys.executable, str(ROOT / "tools" / "submit" / "local.py")]


def submit(*words, **options):
    line = [*LOCAL, *map(str, words)]
    return subprocess.run(line, capture_output=True, text=True, timeout=60, check=False, **options)


def alive(pid):
    """Whether a process runs (a zombie does not)."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_for(condition):
    for _ in range(2400):
        if condition():
            return
        time.sleep(0.025)
    raise AssertionError("waited in vain")


def test_each_job_gets_its_number_and_its_log(tmp_path):
    done = submit("JOB=1:3", tmp_path / "log dir" / "x.JOB.log", "echo", "part JOB of", "JOBS", "x_JOB.ark", "MYJOB")
    assert (done.returncode, done.stderr) == (0, "")
    for job in "123":
        lines = (tmp_path / "log dir" / f"x.{job}.log").read_text().splitlines()
        assert lines[0] == f"# echo 'part {job} of' JOBS x_{job}.ark MYJOB"
        assert lines[2] == f"part {job} of JOBS x_{job}.ark MYJOB"
        assert lines[-1].startswith("# Ended (code 0) at ")


def test_arguments_arrive_exactly(tmp_path):
    words = ["a  b", "", "$HOME", "`id`", "it's", '"q"', "*", "back\\slash", "new\nline", "--flag=x y"]
    code = "import sys; print(ascii(sys.argv[1:]))"
    assert submit(tmp_path / "x.log", sys.executable, "-c", code, *words).returncode == 0
    assert (tmp_path / "x.log").read_text().splitlines()[-2] == ascii(words)


def test_job_three_of_seven_failing_is_named_and_the_others_run(tmp_path):
    done = submit("JOB=1:7", tmp_path / "x.JOB.log", "bash", "-c", "echo reason JOB; [ JOB != 3 ]")
    assert done.returncode == 1
    assert "local.py: 1 of 7 jobs failed: 3" in done.stderr
    assert f"job 3 exited with status 1; end of its log {tmp_path}/x.3.log" in done.stderr
    assert "reason 3" in done.stderr and "reason 2" not in done.stderr
    logs = [(tmp_path / f"x.{job}.log").read_text() for job in range(1, 8)]
    assert [("code 0" in log, "code 1" in log) for log in logs] == [(job != 3, job == 3) for job in range(1, 8)]


def test_failed_jobs_that_agree_hand_on_their_status(tmp_path):
    assert submit(tmp_path / "x.log", "bash", "-c", "exit 85").returncode == 85
    assert submit("JOB=1:3", tmp_path / "x.JOB.log", "bash", "-c", "exit JOB").returncode == 1
    assert submit(tmp_path / "x.log", "bash", "-c", "kill -9 $$").returncode == 137


def test_an_unknown_command_is_a_failed_job(tmp_path):
    done = submit(tmp_path / "x.log", "no-such-command", "x")
    assert done.returncode == 127
    assert "no-such-command: No such file" in done.stderr


def test_max_jobs_run_limits_what_runs_at_once(tmp_path):
    code = f"cd '{tmp_path}'; touch running.JOB; ls running.* | wc -l; sleep 0.15; rm running.JOB"
    assert submit("--max-jobs-run", 1, "JOB=1:4", tmp_path / "x.JOB.log", "bash", "-c", code).returncode == 0
    assert [(tmp_path / f"x.{job}.log").read_text().splitlines()[2] for job in range(1, 5)] == ["1"] * 4


def test_a_job_over_its_time_is_stopped_and_failed(tmp_path):
    done = submit("--time", "0:00:01", tmp_path / "x.log", "sleep", "60")
    assert done.returncode == 143
    assert "# Stopped: over its time limit of 1 s" in done.stderr


def test_threads_and_gpus_are_what_was_asked_for(tmp_path):
    show = ["bash", "-c", "echo $OMP_NUM_THREADS:$CUDA_VISIBLE_DEVICES; sleep 0.2"]
    four = {**os.environ, "CUDA_VISIBLE_DEVICES": "0,1,2,GPU-7"}
    assert submit("--gpus", 2, "--num-threads", 3, "JOB=1:4", tmp_path / "x.JOB.log", *show, env=four).returncode == 0
    seen = [(tmp_path / f"x.{job}.log").read_text().splitlines()[2] for job in range(1, 5)]
    assert sorted(seen) == ["3:0,1", "3:0,1", "3:2,GPU-7", "3:2,GPU-7"]
    assert submit(tmp_path / "y.log", *show, env=four).returncode == 0
    assert (tmp_path / "y.log").read_text().splitlines()[2] == "1:"
    assert "--gpus 5, but this machine shows 4" in submit("--gpus", 5, tmp_path / "z.log", *show, env=four).stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_jobs_and_their_children(tmp_path, number):
    code = f"sleep 300 & echo $! >'{tmp_path}/pid.JOB'; wait"
    process = subprocess.Popen([*LOCAL, "JOB=1:1", f"{tmp_path}/x.JOB.log", "bash", "-c", code], stderr=subprocess.PIPE)
    pid_file = tmp_path / "pid.1"
    wait_for(lambda: pid_file.is_file() and pid_file.read_text().strip())
    process.send_signal(number)
    assert process.wait(timeout=30) == 128 + number
    assert b"stopped by SIG" in process.stderr.read()
    process.stderr.close()
    wait_for(lambda: not alive(int(pid_file.read_text())))


def test_a_job_does_not_outlive_who_started_it(tmp_path):
    words = ["bash", "-c", f"echo $$ >'{tmp_path}/pid'; exec sleep 300"]
    process = subprocess.Popen([*LOCAL, f"{tmp_path}/x.log", *words])
    pid_file = tmp_path / "pid"
    wait_for(lambda: pid_file.is_file() and pid_file.read_text().strip())
    process.kill()
    process.wait(timeout=30)
    wait_for(lambda: not alive(int(pid_file.read_text())))


@pytest.mark.parametrize(
    "words, message",
    [
        (["--mam", "3", "l", "c"], "unknown option --mam (did you mean --mem?)"),
        (["--mem", "lots", "l", "c"], "'lots' is not"),
        (["--mem", "0G", "l", "c"], "'0G' is not"),
        (["--time", "0:00:00", "l", "c"], "'0:00:00' is not"),
        (["--time", "1:30", "l", "c"], "MINUTES, HH:MM:SS or DAYS-HH:MM:SS; '1:30' is not"),
        (["--time", "24h", "l", "c"], "'24h' is not"),
        (["--gpus", "-1", "l", "c"], "'-1' is not"),
        (["--max-jobs-run", "0", "l", "c"], "'0' is not"),
        (["--mem"], "--mem needs a value"),
        (["JOB=1:3", "x.log", "c"], "3 jobs would write one log"),
        (["JOB=0:3", "x.JOB.log", "c"], "jobs are counted from 1 up"),
        (["JOB=3:1", "x.JOB.log", "c"], "jobs are counted from 1 up"),
        (["x.log", "JOB=1:3", "c"], "JOB=1:3 belongs before the log file"),
        (["JOB=1:3", "x.JOB.log"], "needs [options]"),
        (["x.log", "cat", "a", "|", "sort"], "bash -c"),
        ([], "needs [options]"),
    ],
)
def test_a_wrong_command_line_stops_with_status_two(tmp_path, words, message):
    done = submit(*words, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("local.py: error: ") and message in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_memory_and_time_are_read_as_documented(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "tools" / "submit"))
    from array_job import parse

    def option(name, text):
        return parse([f"--{name}={text}", "x.log", "c"], "p")

    assert [option("mem", t).mem_bytes for t in ("8G", "8", "500M", "1.5G")] == [2**33, 2**33, 500 * 2**20, 3 * 2**29]
    times = {"30": 1800, "1:00:00": 3600, "0:05:01": 301, "1-0": 86400, "2-12:00:00": 216000, "1-1:30": 91800}
    assert {t: option("time", t).time_seconds for t in times} == times
