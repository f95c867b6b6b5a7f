"""A reader sees the old file or the new one, never half of either."""

import resource
import subprocess
import sys

import pytest

from wespk.io.atomic import open_atomic, write_text


def test_a_file_appears_only_when_it_is_whole(tmp_path):
    path = tmp_path / "deep" / "table"
    with open_atomic(path) as file:
        file.write("half")
        file.flush()
        assert not path.exists()
    assert path.read_text() == "half"


def test_an_exception_leaves_the_old_file_and_no_rubbish(tmp_path):
    path = tmp_path / "table"
    write_text(path, "old")
    with pytest.raises(RuntimeError), open_atomic(path) as file:
        file.write("new")
        raise RuntimeError
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["table"]


def test_a_full_disk_leaves_the_old_file(tmp_path):
    path = tmp_path / "table"
    write_text(path, "old")
    script = (
        "import sys, signal\n"
        "from wespk.io.atomic import write_text\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        f"write_text({str(path)!r}, 'x' * 100000)\n"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False,
                         preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000)))
    assert run.returncode != 0 and "OSError" in run.stderr
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["table"]
