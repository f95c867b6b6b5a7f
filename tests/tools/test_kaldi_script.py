"""tools/submit/kaldi_script.py and cmd.sh: Kaldi's own scripts stand in for ours, and arguments still arrive exactly."""

import os
import stat
import subprocess
import sys

import pytest

from tests.conftest import ROOT

# Our own imitation of how these scripts read their line: options take one value, words with blanks are put in double
# quotes (in single ones if they hold double quotes), the rest is left bare, JOB is replaced anywhere, and bash reads it all
KALDI_LIKE = '''#!{python}
import re, subprocess, sys
words, options = sys.argv[1:], []
while words[0].startswith("-"):
    options += words[:2]
    words = words[2:]
name, jobs = None, [1]
found = re.fullmatch(r"(\\w+)=(\\d+):(\\d+)", words[0])
if found:
    name, jobs, words = found[1], range(int(found[2]), int(found[3]) + 1), words[1:]
log, line = words[0], ""
for word in words[1:]:
    line += word + " " if re.fullmatch(r"\\S+", word) else "'" + word + "' " if '"' in word else '"' + word + '" '
failed = 0
for job in jobs:
    ours, theirs = (text.replace(name, str(job)) if name else text for text in (line, log))
    script = "( " + ours + ") >>" + theirs + " 2>&1"
    head = "# " + " ".join(options) + chr(10)
    open(theirs, "w").write(head)
    failed += subprocess.run(["bash", "-c", script], env={{"PATH": "/usr/bin:/bin"}}).returncode != 0
sys.exit(1 if failed else 0)
'''
WORDS = ["a  b", "", "$HOME", "`id`", "it's", '"q"', '"a b"', "*", "back\\slash", "new\nline", "--flag=x y", "ü", "(x)"]
SHOW = "import os, sys; print(ascii([sys.argv[1:], os.environ['OMP_NUM_THREADS'], os.environ.get('PYTHONPATH')]))"


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "my kaldi" / "run.pl"
    path.parent.mkdir()
    path.write_text(KALDI_LIKE.format(python=sys.executable))
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def submit(script, *words, **options):
    line = [sys.executable, ROOT / "tools" / "submit" / "kaldi_script.py", script, *map(str, words)]
    return subprocess.run(line, capture_output=True, text=True, check=False, timeout=60, **options)


def test_arguments_and_environment_arrive_exactly(script, tmp_path):
    line = ["--", "--num-threads", 3, "JOB=1:2", "log/x.JOB.log", sys.executable, "-c", SHOW, "part JOB", *WORDS]
    done = submit(script, "--queue", "all.q", *line, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    for job in "12":
        told, shown = (tmp_path / "log" / f"x.{job}.log").read_text().splitlines()
        assert told == "# --queue all.q --num-threads 3"
        assert shown == ascii([[f"part {job}", *WORDS], "3", os.environ["PYTHONPATH"]])


def test_a_number_is_put_where_ours_put_it_even_by_a_variable(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "tools" / "submit"))
    from array_job import ArrayJob
    from kaldi_script import word

    words = ["JOB", "a JOB b", "x_JOB_y", "x.JOB.ark", "MYJOB", "JOBS JOB", "it's", ""]
    for number in ("7", "$TASK"):
        line = " ".join(word(text, "JOB").replace("JOB", number) for text in words)
        code = "import sys; print(ascii(sys.argv[1:]))"
        command = f"{sys.executable} -c '{code}' {line} " + word("/JOB/bin", "JOB", numbered=False).replace("JOB", number)
        said = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True, env={"TASK": "7"}).stdout
        expected = ArrayJob("x.JOB.log", tuple(words), "JOB", range(7, 8)).task(7)[1]
        assert said == ascii([*expected, "/JOB/bin"]) + "\n"


def test_gpus_are_called_gpu_there(script, tmp_path):
    show = ["bash", "-c", "echo [$CUDA_VISIBLE_DEVICES]"]
    assert submit(script, "--", "--gpus", 2, "x.log", *show, cwd=tmp_path).returncode == 0
    assert (tmp_path / "x.log").read_text() == "# --gpu 2\n[]\n"


def test_the_script_s_own_exit_status_is_ours(script, tmp_path):
    assert submit(script, "--", "JOB=1:2", "x.JOB.log", "bash", "-c", "exit JOB", cwd=tmp_path).returncode == 1


@pytest.mark.parametrize(
    "words, message",
    [
        (["--nodes", "2", "x.log", "true"], "--nodes is beyond"),
        (["a folder/x.log", "true"], "takes no log with blanks"),
        (["--mam", "2", "x.log", "true"], "did you mean --mem?"),
    ],
)
def test_what_those_scripts_cannot_do_is_refused(script, tmp_path, words, message):
    done = submit(script, "--", *words, cwd=tmp_path)
    assert done.returncode == 2 and message in done.stderr


def test_cmd_sh_takes_a_word_of_ours_or_a_script_with_its_options(script):
    def submitter(cmd):
        code = f'WESPK_ROOT="{ROOT}"; cmd=$1; . "{ROOT}/tools/cmd.sh"; printf "%s\\n" "${{submit[@]}}"'
        path = os.pathsep.join([str(script.parent), os.environ["PATH"]])
        line = ["bash", "-euo", "pipefail", "-c", code, "run.sh", cmd]
        done = subprocess.run(line, capture_output=True, text=True, check=False, env={**os.environ, "PATH": path})
        return done.stdout.splitlines() or done.stderr

    ours = f"{ROOT}/tools/submit"
    assert submitter("slurm") == ["python", f"{ours}/slurm.py"]
    assert submitter(str(script)) == ["python", f"{ours}/kaldi_script.py", str(script), "--"]
    with_options = ["python", f"{ours}/kaldi_script.py", str(script), "--mem", "2G", "--"]
    assert submitter("run.pl --mem 2G") == with_options
    for wrong in ("slrm", "", "no.pl --mem 2G", "array_job"):
        assert "there is: local sge slurm; nor is there such a script" in submitter(wrong)
