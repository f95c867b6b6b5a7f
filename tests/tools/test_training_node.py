"""tools/submit/training_node.py: a signal reaches the processes that are there, whatever ends while it is handed on."""

import os
import signal
import subprocess
import sys

import pytest

from tools.submit import training_node

ENDED = 2**22 + 1  # no process or thread has this number


@pytest.fixture
def child():
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    yield process
    process.kill()
    process.wait()


def test_children_are_found_though_a_thread_ends_meanwhile(child, monkeypatch):
    tasks = os.listdir("/proc/self/task")
    monkeypatch.setattr(os, "listdir", lambda _: [str(ENDED), *tasks])
    assert child.pid in training_node.children()


def test_a_system_that_does_not_tell_of_children_is_not_taken_for_one_without_any(monkeypatch):
    monkeypatch.setattr(os, "listdir", lambda _: [str(ENDED)])
    monkeypatch.setattr(os, "getpid", lambda: ENDED)
    with pytest.raises(FileNotFoundError):
        training_node.children()


def test_a_signal_is_handed_on_to_the_others_when_one_has_just_ended(child, monkeypatch):
    monkeypatch.setattr(training_node, "children", lambda: [ENDED, child.pid])
    training_node.hand_on(signal.SIGUSR2, None)
    assert child.wait(timeout=60) == -signal.SIGUSR1
