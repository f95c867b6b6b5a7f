"""tools/submit/training_job.py with commands in place of a training, and with a make-believe srun and scontrol."""

import contextlib
import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import ROOT

sys.path.insert(0, str(ROOT / "tools" / "submit"))  # as for the programs there

import training_job

JOB = ROOT / "tools" / "submit" / "training_job.py"
# on SIGUSR1 it writes what a trainer leaves of a checkpoint, and the status that it leaves with
TRAINER = """
import signal, sys, time
from pathlib import Path
exp, says = Path(sys.argv[1]), sys.argv[2]
def stop(*_):
    (exp / "requeue").write_text(f"stopped by a signal after step {says}\\n")
    sys.exit(85)
signal.signal(signal.SIGUSR1, stop if says else lambda *_: None)
(exp / "ready").touch()
time.sleep(60)
"""
SLURM = {"SLURM_JOB_ID": "17", "SLURM_JOB_NODELIST": "n[1-2]", "SLURM_CPUS_PER_TASK": "6"}
ANOTHER = "Slurm job 12 on n4 since yesterday"


@pytest.fixture
def exp(tmp_path):
    folder = tmp_path / "an exp"
    folder.mkdir()
    return folder


@pytest.fixture
def cluster(tmp_path):
    """The environment of a job on the nodes n1 and n2, whose srun only writes down what it is given."""
    folder = tmp_path / "bin"
    folder.mkdir()
    scripts = {
        "scontrol": 'case "$*" in "show hostnames n[1-2]") printf "n1\\nn2\\n" ;; *"show node n1") echo '
                    'NodeName=n1 Arch=x NodeAddr=10.1.2.3 ;; *) exit 1 ;; esac',
        "srun": f'printf "%s\\n" "$@" >"{tmp_path}/words"; exit "${{STATUS:-0}}"',
    }  # fmt: skip
    for name, text in scripts.items():
        (folder / name).write_text(f"#!/bin/bash\n{text}\n")
        (folder / name).chmod(0o755)
    return {**os.environ, **SLURM, "PATH": f"{folder}:{os.environ['PATH']}"}


@contextlib.contextmanager
def another_job(exp):
    """Another job has the experiment; the value is its lock file."""
    path = exp / ".stages" / "training.lock"
    path.parent.mkdir()
    with open(path, "w") as held:
        print(ANOTHER, file=held, flush=True)
        fcntl.flock(held, fcntl.LOCK_EX)
        yield held


def line(exp, *words):
    return [sys.executable, str(JOB), "--exp", str(exp), *map(str, words)]


def start(exp, *words, **options):
    return subprocess.Popen(line(exp, *words), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)


def wait_for(path, process):
    while not path.exists():
        assert process.poll() is None, process.stdout.read()
        time.sleep(0.02)


def stopped(exp, says, number=signal.SIGTERM):
    """(exit status, output) of a job whose trainer, told to stop, leaves word of step ``says``; nothing: it is killed."""
    (exp / "ready").unlink(missing_ok=True)
    script = exp / "trainer.py"
    script.write_text(TRAINER if says else TRAINER.replace("signal.signal", "# "))
    process = start(exp, "--", script, exp, says)
    wait_for(exp / "ready", process)
    process.send_signal(number)
    output, _ = process.communicate(timeout=60)
    return process.returncode, output


def test_on_several_nodes_each_has_one_task_which_is_told_where_the_first_is(exp, cluster, tmp_path):
    process = start(exp, "--nodes", 2, "--processes", 3, "--", "-m", "some.module", "--option", "a b", env=cluster)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    words = (tmp_path / "words").read_text().splitlines()
    assert {"--nodes=2", "--ntasks=2", "--ntasks-per-node=1", "--cpus-per-task=6", "--kill-on-bad-exit=1"} <= set(words)
    assert "--export=ALL" in words  # whatever the site's options for the job say
    port = words[words.index("--port") + 1]
    assert words[words.index("--address") + 1] == "10.1.2.3" and int(port) in training_job.PORTS
    assert words[words.index("--processes") + 1] == "3" and words[-5:] == ["--", "-m", "some.module", "--option", "a b"]


def test_a_job_that_fails_on_the_nodes_fails_and_leaves_no_word_of_going_on(exp, cluster):
    (exp / "requeue").write_text("stopped by a signal after step 3\n")  # of an earlier job
    process = start(exp, "--nodes", 2, "--", "x.py", env={**cluster, "STATUS": "85"})
    process.communicate(timeout=60)
    assert process.returncode == 1


def test_another_number_of_nodes_than_asked_for_is_refused(exp, cluster):
    process = start(exp, "--nodes", 3, "--", "x.py", env=cluster)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 1 and "Slurm job 17 has 2 nodes (n1 n2) where --nodes 3 are to be used" in output


def test_a_job_of_grid_engine_knows_its_node_by_the_host_file(tmp_path, monkeypatch):
    (tmp_path / "hosts").write_text("node7.site 4 main@node7 <NULL>\n")
    monkeypatch.setenv("PE_HOSTFILE", str(tmp_path / "hosts"))
    monkeypatch.setenv("JOB_ID", "99")
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    assert training_job.allocation() == ("Grid Engine job 99", ["node7.site"])
    assert training_job.address_of(["node7.site"]) == "127.0.0.1"


def test_each_job_has_a_port_of_its_own_and_none_that_is_in_use():
    ports = {training_job.free_port(f"Slurm job {i}") for i in range(50)}
    assert len(ports) > 45 and ports <= set(training_job.PORTS)
    port = training_job.free_port("Slurm job 1")
    with socket.socket() as taken:
        taken.bind(("", port))
        other = training_job.free_port("Slurm job 1")
    assert other != port and other in training_job.PORTS


def test_a_second_job_for_one_experiment_is_refused_by_the_name_of_the_first(exp):
    with another_job(exp):
        process = start(exp, "--lock-seconds", 0.2, "--", "-c", "pass")
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 1 and f"another job trains here already ({ANOTHER})" in output
    assert start(exp, "--lock-seconds", 0, "--", "-c", "pass").wait(timeout=60) == 0


def test_a_lock_that_comes_to_an_end_is_waited_for_and_its_holder_is_told_once(exp):
    with another_job(exp):
        process = start(exp, "--", "-c", "print('trained')")
        first = process.stdout.readline()
        assert first == f"another job trains here ({ANOTHER}): waiting 180 s for its end, or for its lock's\n"
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0 and output == "trained\n"
    assert (exp / ".stages" / "training.lock").read_text().startswith("process ")


def test_a_glance_at_the_lock_does_not_keep_a_job_out_and_is_not_told_of(exp, monkeypatch, capsys):
    class Signals:
        received = None

    with another_job(exp) as held:
        glances = iter((lambda: None, lambda: fcntl.flock(held, fcntl.LOCK_UN)))
        monkeypatch.setattr(training_job.time, "sleep", lambda _: next(glances)())
        monkeypatch.setattr(training_job, "GLANCE_SECONDS", 60)
        training_job.lock(Path(held.name), "Slurm job 13", 120, Signals).close()
        assert Path(held.name).read_text() == "Slurm job 13\n" and capsys.readouterr().out == ""


def test_a_signal_ends_the_wait_for_another_job_and_leaves_that_ones_account_alone(exp):
    with another_job(exp):
        process = start(exp, "--", "-c", "pass")
        process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 85 and output == "SIGTERM while waiting for the other job; to be run again\n"
        assert (exp / ".stages" / "training.lock").read_text() == f"{ANOTHER}\n" and not (exp / "stops.json").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2])
def test_a_stopped_training_is_to_be_run_again(exp, number):
    status, output = stopped(exp, "7", number)
    assert status == 85 and f"{number.name}: asking the training to write a checkpoint" in output
    assert "stopped by a signal after step 7; to be run again, when it goes on from there" in output


def test_stops_without_a_step_between_come_to_an_end_and_progress_begins_the_count_anew(exp):
    assert [stopped(exp, says)[0] for says in ("4", "4", "", "5", "5", "5")] == [85] * 6
    status, output = stopped(exp, "")
    assert status == 1 and "stopped before it could write a checkpoint, 3 times in a row" in output and "--time" in output


def test_the_exit_of_a_training_that_fails_by_itself_is_a_failure_though_an_earlier_one_was_stopped(exp):
    assert stopped(exp, "7")[0] == 85
    assert start(exp, "--", "-c", "raise SystemExit(85)").wait(timeout=60) == 1
    assert start(exp, "--", "-c", "raise SystemExit(3)").wait(timeout=60) == 1


def test_when_the_job_itself_is_killed_its_training_ends(exp):
    script = exp / "trainer.py"
    script.write_text("import os, sys, time; open(sys.argv[1], 'w').write(f'{os.getpid()} '); time.sleep(60)")
    process = start(exp, "--", script, exp / "number")
    wait_for(exp / "number", process)
    while not (number := (exp / "number").read_text()).endswith(" "):
        time.sleep(0.02)
    process.kill()
    process.wait()
    for _ in range(1000):
        try:
            os.kill(int(number), 0)
        except ProcessLookupError:
            return
        time.sleep(0.02)
    raise AssertionError("it trains on")
