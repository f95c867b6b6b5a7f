"""The benchmark of starts: entry points load nothing slow for --help, and one that did would be told."""

import pytest

from wespk.utils.errors import InputError


def test_what_a_start_loads_is_told(bench):
    plain, loaded = bench("start").start("score_cosine")
    assert loaded == [] and "--mean-embeddings" in plain.found
    assert bench("start").start("score_cosine", "import yaml\n")[1] == ["yaml"]


def test_an_entry_point_that_there_is_not_is_refused(bench):
    with pytest.raises(InputError, match="there is no score_cosines"):
        bench("start").bench("score_cosines")
