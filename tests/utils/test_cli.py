"""The command-line helper: what fire would guess, accept or ignore is refused before any work is done."""

import re
import signal
import subprocess
import sys
import textwrap

import pytest

from wespk.utils import cli
from wespk.utils.errors import InputError


def command(scp: str, nj: int = 4, rate: float = 0.5, on: bool = False, top: int | None = None):
    """Do a thing.

    Args:
        scp: the table
        nj: number of jobs, which may
            take two lines to say
    """
    return scp, nj, rate, on, top


def parsed(*words):
    return cli.parse(command, list(words), "prog")


@pytest.mark.parametrize("value", ["1e5", "001", "2024_01", "a,b", "[1]", "None", "-", "a=b", "12#3", "~/x", "True"])
def test_a_string_option_keeps_its_characters(value):
    assert parsed("--scp", value) == {"scp": value}
    assert parsed(f"--scp={value}") == {"scp": value}


def test_values_take_the_declared_type():
    got = parsed("--scp", "x", "--nj", "3", "--rate", "-1e-3", "--on", "true", "--top", "none")
    assert got == {"scp": "x", "nj": 3, "rate": -1e-3, "on": True, "top": None}
    assert parsed("--scp", "x", "--on=no", "--top=7") == {"scp": "x", "on": False, "top": 7}


@pytest.mark.parametrize("words, says", [
    (["--spc", "x"], "unknown option --spc (did you mean 'scp'?)"),
    (["--scp"], "option --scp needs a value"),
    (["--scp", "--nj", "3"], "option --scp needs a value"),
    (["--scp", "a", "--scp", "b"], "given twice"),
    (["x", "--scp", "a"], "unexpected word 'x'"),
    (["--nj", "3"], "option --scp is required"),
    (["--scp", "x", "--nj", "3.0"], "--nj takes an integer, not '3.0'"),
    (["--scp", "x", "--on", "maybe"], "--on takes true or false"),
    (["--scp", "x", "-n", "3"], "unexpected word '-n'"),
    (["--scp", "x", "--", "--trace"], "unexpected word '--'"),
])
def test_a_wrong_command_line_is_refused(words, says):
    with pytest.raises(InputError) as error:
        parsed(*words)
    assert says in str(error.value)


def test_dashes_and_underscores_are_the_same():
    def function(num_jobs: int = 1):
        """Nothing."""

    assert cli.parse(function, ["--num-jobs", "2"], "prog") == {"num_jobs": 2}
    for words, says in ((["--num_jbs", "2"], "option --num-jbs (did you mean 'num-jobs'?)"), (["--num_jobs"], "--num-jobs needs"),
                        (["--num_jobs", "x"], "--num-jobs takes an integer")):  # fmt: skip
        with pytest.raises(InputError, match=re.escape(says)):
            cli.parse(function, words, "prog")


@pytest.mark.parametrize("program, said", [("wespk.bin.embed", "-m wespk.bin.embed"), ("bench", "tools/bench/metrics.py")])
def test_help_names_the_command_that_can_be_given_again(program, said, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["tools/bench/metrics.py", "--help"])
    with pytest.raises(SystemExit):
        cli.parse(command, ["--help"], program)
    assert f"usage: python {said} --option value ..." in capsys.readouterr().out


def test_help_lists_meanings_and_defaults(capsys):
    with pytest.raises(SystemExit) as stop:
        parsed("--help")
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert "--scp  the table (required)" in text
    assert "--nj  number of jobs, which may take two lines to say (default: 4)" in text


@pytest.mark.parametrize("body, words, status, says", [
    ("raise InputError('a.scp:3: no such file; fix it')", ["--x", "1"], 1, "error: a.scp:3: no such file; fix it"),
    ("raise OSError(28, 'No space left on device', 'out.ark')", ["--x", "1"], 1, "No space left on device: 'out.ark'"),
    ("raise RuntimeError('a defect of ours')", ["--x", "1"], 1, "Traceback"),
    ("open('done', 'w').close()", ["--y", "1"], 2, "unknown option --y"),
    ("open('done', 'w').close()", ["--x", "1"], 0, ""),
])
def test_exit_status_and_message_of_a_whole_command(tmp_path, body, words, status, says):
    script = tmp_path / "prog.py"
    script.write_text(textwrap.dedent(f"""
        from wespk.utils.cli import listed, main
        from wespk.utils.errors import InputError
        def prog(x: int = 0):
            '''P.'''
            {body}
        main(prog)
    """))
    run = subprocess.run([sys.executable, str(script), *words], cwd=tmp_path, capture_output=True, text=True,
                         check=False)
    assert run.returncode == status, run.stderr
    assert says in run.stderr
    assert (tmp_path / "done").exists() == (status == 0)
    if says != "Traceback":
        assert "Traceback" not in run.stderr


STOPPABLE = """
    import time
    from wespk.io.atomic import open_atomic
    from wespk.utils.cli import main
    def prog():
        '''P.'''
        with open_atomic("out") as file:
            print("writing", flush=True)
            time.sleep(60)
    main(prog)
"""


def test_sigterm_ends_a_command_with_143_and_takes_its_unfinished_files_along(tmp_path):
    (tmp_path / "prog.py").write_text(textwrap.dedent(STOPPABLE))
    with subprocess.Popen([sys.executable, "prog.py"], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True) as run:
        assert run.stdout.readline() == "writing\n"
        run.send_signal(signal.SIGTERM)
        said = run.communicate(timeout=60)[1]
    assert run.returncode == 143 and said == "stopped by SIGTERM\n"
    assert [path.name for path in tmp_path.iterdir()] == ["prog.py"]


def test_handlers_are_put_back_and_an_ignored_sigterm_stays_ignored():
    found = []

    def prog():
        """P."""
        found.append(signal.getsignal(signal.SIGTERM))

    before = signal.getsignal(signal.SIGTERM)
    try:
        for handler in (signal.SIG_DFL, signal.SIG_IGN):
            signal.signal(signal.SIGTERM, handler)
            cli.main(prog, [])
            assert signal.getsignal(signal.SIGTERM) is handler
    finally:
        signal.signal(signal.SIGTERM, before)
    assert callable(found[0]) and found[1] is signal.SIG_IGN


def test_a_listing_option_has_its_words_in_order_and_none_that_are_empty():
    assert cli.listed("b,a,,c,") == ["b", "a", "c"] and cli.listed("") == []
