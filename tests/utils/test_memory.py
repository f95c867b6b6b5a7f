"""Freed memory is kept where it is asked for, and the user's own settings of the C library win."""

import os
import subprocess
import sys

import pytest

# pages that are touched anew by 20 arrays of 64 MB, one after the other
COUNT = """
import ctypes, resource, sys
import numpy as np
from wespk.utils.memory import keep_freed_memory
real = ctypes.CDLL(None).mallopt
class Older:
    def mallopt(self, name, value):
        return 0 if name == -3 and value > 32 << 20 else real(name, value)
if sys.argv[1] == "keep in older":
    ctypes.CDLL = lambda _: Older()
done = keep_freed_memory() if sys.argv[1].startswith("keep") else None
np.ones(1 << 23)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    np.ones(1 << 23)
print(done, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def count(word, **environment):
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    run = subprocess.run([sys.executable, "-c", COUNT, word], env={**clean, **environment}, capture_output=True,
                         text=True, check=True)  # fmt: skip
    done, faults = run.stdout.split()
    return done, int(faults)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="mallopt is GNU's")
@pytest.mark.parametrize("how", ["keep", "keep in older"])  # older GNU libraries refuse thresholds beyond 32 MiB
def test_memory_that_is_freed_is_used_again_without_the_kernel(how):
    done, faults = count(how)
    assert done == "True" and faults < count("return")[1] / 5


def test_settings_in_the_environment_stay_as_they_are():
    assert count("keep", MALLOC_TRIM_THRESHOLD_="131072")[0] == "False"
